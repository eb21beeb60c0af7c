// SPDX-License-Identifier: MIT
// Words for the enums of decisions and proofs. Scripts and golden files rely on these spellings, and so does the file
// of proofs. They stand in the order of the enums, which start at 1 and have no gaps; a value of a newer peer is
// "unknown". The sentences of decisions are core/deciding's.
#include "proto/inspect/decision.hpp"
#include "proto/inspect/proof.hpp"

#include <array>

namespace dmb {
namespace {

constexpr std::array<std::string_view, 3> verdict_words{"chosen", "refused", "failed"};
constexpr std::array<std::string_view, 12> demand_words{"backend",     "device",     "format",        "modifier",
                                                        "memory_kind", "usage",      "external_only", "size",
                                                        "rules",       "protection", "rung",          "proof"};
constexpr std::array<std::string_view, 6> proof_words{"works", "refused", "wrong_pixels", "crashed", "hung", "impossible"};

/// Enums of the protocol start at 1; a newer peer's may go on.
template <class E, std::size_t N> std::string_view word_of(E value, const std::array<std::string_view, N>& words)
{
    return is_valid(value) ? words[static_cast<std::size_t>(value) - 1] : "unknown";
}

} // namespace

std::string_view name(Verdict v) { return word_of(v, verdict_words); }
std::string_view name(Demand d) { return word_of(d, demand_words); }
std::string_view name(ProofResult r) { return word_of(r, proof_words); }

} // namespace dmb
