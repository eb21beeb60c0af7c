// SPDX-License-Identifier: MIT
// Pixels of an image that the CPU cannot map, read by the driver that can. No GPU header is needed here.
#pragma once
#include <cstddef>
#include <dmabroker/dmabroker.hpp>
#include <vector>

namespace dmb::gpu {

/// The only plane, tightly packed, in the format's own layout. Tries each Vulkan device; throws
/// std::runtime_error with the last one's reason.
std::vector<std::byte> read_back(const dmabroker::Image& image, std::size_t bytes_per_pixel);

} // namespace dmb::gpu
