// SPDX-License-Identifier: MIT
// What the core tells without being asked. The core never calls into a connection: whoever implements
// this may note the event, and must not call the broker back from it.
#pragma once
#include "proto/inspect/decision.hpp"

namespace dmb {

class EventSink {
public:
    virtual ~EventSink() = default;
    virtual void image_revoked(ClientId, HandleId) = 0;
    virtual void image_replaced(ClientId, HandleId, ImageId successor, RequestId) = 0;
};

} // namespace dmb
