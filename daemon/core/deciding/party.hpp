// SPDX-License-Identifier: MIT
// A participant of a negotiation with its table at hand, and what all of them want together.
#pragma once
#include "proto/request/request.hpp"

#include <memory>
#include <vector>

namespace dmb {

/// One copy per content, named by `Participant::capabilities` (state/tables.hpp).
using TablePointer = std::shared_ptr<const Capabilities>;

struct Party {
    Participant demands;
    TablePointer table;    ///< null: none stated; it takes what its demands allow
    std::uint32_t pid = 0; ///< 0: named by somebody else
    ClientId client;       ///< 0: named by somebody else
    friend bool operator==(const Party&, const Party&) = default;
};

/// What is wanted, and by whom.
struct Wish {
    AllocateSpec spec;
    std::vector<FourCC> alternatives;
    std::vector<Party> parties;
    friend bool operator==(const Wish&, const Wish&) = default;
};

} // namespace dmb
