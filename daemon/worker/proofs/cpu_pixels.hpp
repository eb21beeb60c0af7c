// SPDX-License-Identifier: MIT
// Pixels of images that the CPU can map, through libdmabroker's own mapping: it refuses what would fault, show
// stale memory or make no sense as rows. Blocks until pending GPU work is done, at most half a minute.
#pragma once
#include "daemon/worker/contents.hpp"
#include "daemon/worker/hold.hpp"

namespace dmb::worker {

/// All planes, tightly packed one after the other.
Result<> read_by_cpu(const dmabroker::Image&, std::span<std::byte> to);
Result<> write_by_cpu(const dmabroker::Image&, const Contents&);
/// The same from memory of this process.
Result<> write_by_cpu(const dmabroker::Image&, std::span<const std::byte> packed);
/// Same size and format.
Result<> copy_by_cpu(const dmabroker::Image& from, const dmabroker::Image& to);

} // namespace dmb::worker
