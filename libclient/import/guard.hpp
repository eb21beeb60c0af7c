// SPDX-License-Identifier: MIT
// What no GPU driver may be handed, whichever API asks: the rules that EGL and Vulkan share. Drivers do
// not check these things themselves; they crash, or show somebody else's pixels.
#pragma once
#include "libclient/handle.hpp"

#include <optional>

namespace dmb::import {

/// What is about to import, as far as it decides what may be handed to it.
struct Driver {
    std::string_view api;  ///< "EGL" or "Vulkan", for the reasons
    bool software = false; ///< reads and writes memory with the CPU, through its own mapping
    /// dev_t of a DRM node (0: not known): it draws in software and maps through this device, which maps only
    /// its own buffers.
    std::optional<std::uint64_t> mapping_device = std::nullopt;
};

/// For importers of pictures: no buffer, flags that go together and are known, a right that the hold has.
Result<> check_picture(const dmabroker_image&, std::uint32_t flags);
/// For importers that cannot cut one: no flag but IMPORT_WRITE.
Result<> check_whole_picture(const dmabroker_image&, std::uint32_t flags);
/// For importers of buffers: a buffer, no flag but IMPORT_WRITE, a right that the hold has.
Result<> check_buffer(const dmabroker_image&, std::uint32_t flags);

/// dma-bufs and memfds: the descriptors as they are now, and a layout that this driver can walk without
/// leaving the memory. `write`: it will also draw.
Result<> check_for_driver(const dmabroker_image&, const Driver&, bool write);

/// Opaque memory belongs to one driver on one device; any other misreads it.
Result<> check_same_device(const dmabroker_image&, std::string_view api, const Uuid& device, const Uuid& driver);

} // namespace dmb::import
