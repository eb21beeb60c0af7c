// SPDX-License-Identifier: MIT
// What drivers demand of planes with rows and let nobody ask for: no API names it, an import is refused without reason.
#pragma once
#include "proto/image/capabilities.hpp"

namespace dmb::import {

/// `device.driver`: "radeonsi", "radv", "amdgpu", or a GL_RENDERER that has such a name in it.
LayoutRules driver_rules(const Device& device);

} // namespace dmb::import
