// SPDX-License-Identifier: MIT
// Which ways there are to serve an allocation, best first, and why the others are not. A pure function.
#pragma once
#include "proto/wire/messages.hpp"

#include <functional>
#include <span>
#include <vector>

namespace dmb {

/// One (device, backend) that might serve.
struct Offer {
    const DeviceInfo* device = nullptr;
    std::span<const FormatSupport> formats; ///< of all devices of its allocator
    std::uint8_t index = 0;                 ///< of this device among them
    std::size_t allocator = 0;              ///< position in the broker's list
};

/// Text when this very request is known to be hopeless there (it crashed the driver before).
using Refusal = std::function<BoundedText<160>(const Offer&)>;

struct Choice {
    std::size_t allocator = 0;
    std::uint8_t device = 0;
    /// The acceptable modifiers of the request that were proven there, in the request's order; empty:
    /// the request accepts any.
    BoundedVector<Modifier, limits::modifiers> modifiers;
};

struct Negotiation {
    std::vector<Choice> choices;          ///< best first
    std::vector<wire::Candidate> refused; ///< in the same order of preference
    /// Those of them that the request would have accepted and that come before the first choice: why it
    /// was not something better.
    std::vector<wire::Candidate> passed_over;
};

Negotiation negotiate(const wire::AllocateSpec&, std::span<const Offer>, const Refusal& = {});

/// Only the CPU will touch it: nothing is to be gained from waiting for a GPU.
bool is_cpu_only(Usage);
wire::Candidate candidate(const DeviceInfo&, wire::Verdict, std::string_view reason);
/// The best an image with this modifier can be; the allocator tells what it became.
Rung best_rung(const DeviceInfo&, Modifier);

} // namespace dmb
