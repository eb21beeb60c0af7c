// SPDX-License-Identifier: MIT
// What `dmabroker_image *` points at: one hold on an image. It owns its descriptors, so it serves
// mappings and imports whatever became of its client; `client` is null once that was closed.
#pragma once
#include "proto/image/image.hpp"
#include "proto/inspect/snapshot.hpp"

#include <dmabroker/dmabroker.h>

namespace dmb {
class Client;
}

struct dmabroker_image {
    ~dmabroker_image(); ///< gives the handle back if the client is still there

    dmb::Image image; ///< description (checked) and descriptors; real sizes are checked by who maps or imports
    dmb::Rights rights;
    dmb::Protection protection = dmb::Protection::none;
    dmb::HandleId handle;
    dmb::ImageId id;
    dmb::RequestId request;       ///< the negotiation behind it; 0: none
    dmb::ImageId source;          ///< of a copy
    std::uint64_t timeout_ns = 0; ///< its connection's; bounds waits for pending GPU work
    dmabroker_image_info info{};  ///< the same, in the shape of the C ABI

    dmb::Client* client = nullptr; ///< has it in its table
    bool revoked = false;
};
