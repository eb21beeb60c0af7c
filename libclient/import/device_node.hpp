// SPDX-License-Identifier: MIT
// A DRM device as sysfs knows it: which nodes it has, and where it sits.
#pragma once
#include "proto/image/capabilities.hpp"

namespace dmb::import {

/// Sets node, render_node and pci of a device by any of its nodes' dev_t: the render node where it has one. Without
/// sysfs (sandboxes) the number stays as it is and `path`, which may be empty, is believed.
void describe_node(Device&, std::uint64_t number, std::string_view path = {});
/// The same by path; nothing when there is no such node.
void describe_node(Device&, const char* path);
/// Node, driver and version behind an open node. False: it is no DRM device.
bool describe_drm(Device&, int drm);
/// "0000:03:00.1" as DeviceId::pci; 0 for anything else.
std::uint32_t parse_pci(std::string_view);

} // namespace dmb::import
