// SPDX-License-Identifier: MIT
// Somebody's dma-buf as a buffer of a GBM device.
#pragma once
#include "daemon/worker/gbm/device.hpp"

#include <dmabroker/dmabroker.hpp>

namespace dmb::worker {

/// `flags`: GBM_BO_USE_*. The descriptors are borrowed for the call.
Result<Bo> import_bo(gbm_device*, const dmabroker::Image&, std::uint32_t flags);
/// The only plane through gbm_bo_map, tightly packed.
Result<> read_bo(gbm_bo*, const FormatInfo&, Extent, std::span<std::byte> to);
/// gbm_bo_map writes through the driver, which tiles or transfers. The first plane; without contents, zeros.
Result<> write_bo(gbm_bo*, const FormatInfo&, Extent, const Contents*);

} // namespace dmb::worker
