// SPDX-License-Identifier: MIT
// Both ends of every path: who owns the image and the semaphore, and who opens them. The owner is Vulkan's: GL and
// CUDA can make neither. The other end draws or looks with whatever API the path is about.
#pragma once
#include "tests/drm/opaque_paths/processes.hpp"
#include "tests/drm/opaque_paths/vulkan_end.hpp"

#include <optional>

namespace dmb::paths {

inline constexpr dmabroker::Size size{500, 300}; // no multiple of any tile

/// Where a path runs.
struct Setup {
    std::string socket;
    unsigned device = 0; ///< Vulkan's index
};

/// How the second knows that the first is ready.
enum class Sync {
    finished, ///< the first waits for its GPU before it says so
    binary,   ///< an exported binary semaphore, which is submitted and pending when the second waits for it
    timeline  ///< an exported timeline semaphore, waited for before its signal is submitted
};

dmabroker::Client connect(const Setup&, const std::string& name);
/// Opaque memory of the device, AB24.
dmabroker::Image allocate(dmabroker::Client&, const VulkanEnd&, dmabroker::Size);

Pixels pattern(std::uint8_t seed);
/// What is there before, and what the first draws last: who does not wait sees the former.
Pixels before();
Pixels after();
/// Throws with the first pixel that differs.
void compare(const Pixels& seen, const Pixels& drawn);

/// Owns the image; draws it, first `before`, then `after` when the other has opened it.
std::string owner_draws(Link&, const Setup&, Sync);
/// Owns the image; reads what the other has drawn.
std::string owner_reads(Link&, const Setup&, Sync);
/// Another Vulkan device that reads: only binary and timeline semaphores and `finished` again.
std::string vulkan_reads(Link&, const Setup&, Sync);

/// What the end that is not the owner has in hand.
struct Opened {
    dmabroker::Client client;
    dmabroker::Image image;
    UniqueFd semaphore; ///< none for Sync::finished
};
Opened open_shared(Link&, const Setup&, const std::string& name, dmabroker::Rights);

} // namespace dmb::paths
