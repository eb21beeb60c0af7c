// SPDX-License-Identifier: MIT
// The IN_FORMATS blob of a KMS plane: which formats it scans out in which modifiers.
#pragma once
#include "proto/base/result.hpp"
#include "proto/image/types.hpp"

#include <cstddef>
#include <span>
#include <vector>

namespace dmb::import {

struct ListedFormat {
    FourCC format;
    Modifier modifier;
};
/// A struct drm_format_modifier_blob (drm_mode.h). It comes from the kernel, and yet every offset in it is checked.
Result<std::vector<ListedFormat>> parse_in_formats(std::span<const std::byte> blob);

} // namespace dmb::import
