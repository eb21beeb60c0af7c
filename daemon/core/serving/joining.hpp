// SPDX-License-Identifier: MIT
// One client on its way into an image that exists.
#pragma once
#include "daemon/core/serving/broker.hpp"

namespace dmb {

struct Broker::Joining {
    ClientId client;
    Token token;
    Rights rights;
    Party party;
    ImageId image; ///< the one that the token opens, or its latest successor
    AllocationDone done;
    bool proven = false; ///< the pair was tried, or cannot be
    BoundedText<160> misfit;

    /// The image that is being made for it.
    enum class Making : std::uint8_t { nothing, successor, copy } making = Making::nothing;
    Charge charge;
    Outcome outcome{std::unexpected(Error{}), {}, nullptr, {}};
};

} // namespace dmb
