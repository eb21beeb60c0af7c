// SPDX-License-Identifier: MIT
// Pixels of an image, or bytes of a buffer, that the CPU cannot map, read by the driver that can. No GPU
// header is needed here.
#pragma once
#include <cstddef>
#include <dmabroker/dmabroker.hpp>
#include <vector>

namespace dmb::gpu {

// Both try each Vulkan device, and throw std::runtime_error with the last one's reason.

/// The only plane, tightly packed, in the format's own layout.
std::vector<std::byte> read_back(const dmabroker::Image& image, std::size_t bytes_per_pixel);
/// For images of DMABROKER_FORMAT_BUFFER.
std::vector<std::byte> read_back_buffer(const dmabroker::Image& buffer);

} // namespace dmb::gpu
