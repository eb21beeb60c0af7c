// SPDX-License-Identifier: MIT
// What `dmabroker_image *` points at: one hold on an image. It owns its descriptors, so it serves
// mappings and imports whatever became of its client.
#pragma once
#include "proto/image/image.hpp"
#include "proto/inspect/snapshot.hpp"

#include <atomic>
#include <dmabroker/dmabroker.h>
#include <memory>

namespace dmb {
class Holds;
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

    std::shared_ptr<dmb::Holds> holds;      ///< its client's; null: adopted
    std::atomic<void*> user_data = nullptr; ///< the caller's
    bool revoked = false;                   ///< and told; in a turn
};
