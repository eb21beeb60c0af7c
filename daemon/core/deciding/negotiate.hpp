// SPDX-License-Identifier: MIT
// Which ways there are to serve everybody, best first, and why the others are not. A pure function: the
// same question has the same answer, in whatever order the participants are listed.
#pragma once
#include "daemon/core/deciding/layouts.hpp"

namespace dmb {

struct Choice {
    std::size_t allocator = 0;
    std::uint8_t device = 0;
    std::size_t offer = 0;
    FourCC format;
    /// The layouts that fit everybody, best first; empty: everybody takes any.
    BoundedVector<Modifier, limits::modifiers> modifiers;
    bool settled = false; ///< it must be the first of them; else its driver may choose among all
    Usage usage;          ///< what its allocator must make it for
};

struct Plan {
    std::vector<Choice> choices;    ///< best first
    LayoutRules rules;              ///< of all whom the choices serve, as far as they can be combined
    Usage usage;                    ///< of the same
    std::vector<Candidate> refused; ///< offers that are no choice, in the same order of preference
    /// Those of them that the request would have accepted and that come before the first choice: why it
    /// was not something better.
    std::vector<Candidate> passed_over;

    std::vector<Modifier> common;  ///< layouts in every table, demands aside
    std::vector<Removal> removals; ///< of what would be better than the first choice, or came nearest to one
    /// When nothing serves everybody: if these went, something would. Empty when the request itself is in the way.
    std::vector<Who> culprits;
    BoundedText<240> nearest; ///< when nothing serves everybody: the smallest change after which something would
    /// Parties that nothing can serve together with the rest but for whom a copy can be made; the choices serve the rest.
    std::vector<Who> copied;
};

Plan negotiate(const Question&);

Candidate candidate(const Exporter&, Verdict, std::string_view reason);

} // namespace dmb
