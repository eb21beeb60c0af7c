// SPDX-License-Identifier: MIT
// A participant of a negotiation with its table at hand.
#pragma once
#include "proto/wire/messages.hpp"

#include <memory>

namespace dmb {

using TablePointer = std::shared_ptr<const Capabilities>;

struct Party {
    wire::Participant demands;
    TablePointer table;    ///< null: none stated; it takes what its demands allow
    std::uint32_t pid = 0; ///< 0: named by somebody else
    ClientId client;       ///< 0: named by somebody else
    friend bool operator==(const Party&, const Party&) = default;
};

} // namespace dmb
