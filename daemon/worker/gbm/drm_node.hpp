// SPDX-License-Identifier: MIT
// DRM nodes that a request names. Names come from whoever stated a device: they are no paths to follow.
#pragma once
#include "proto/base/unique_fd.hpp"
#include "proto/image/capabilities.hpp"

namespace dmb::worker {

/// dev_t of a character device; 0: no such.
std::uint64_t device_number(const std::string& path);
/// Opens the device's own node: `node` if it lies in /dev/dri and is a DRM node, else the one with the number in `id`.
Result<UniqueFd> open_drm_node(const Device&);
/// domain << 16 | bus << 8 | device << 3 | function; 0: not on PCI.
std::uint32_t pci_address(int drm_fd);

} // namespace dmb::worker
