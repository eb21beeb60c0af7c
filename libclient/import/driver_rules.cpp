// SPDX-License-Identifier: MIT
// AMD: radeonsi and RADV refuse a LINEAR plane whose stride or offset is no multiple of 256 bytes, from GFX9 on (GFX8 has
// smaller strides; GFX10.1 takes the smallest such stride only). Seen with Mesa 25.0.7: tests/drm/shim/shim_test.cpp.
// amdgpu stands for GBM, which is radeonsi, and for displays, whose framebuffers the kernel judges alike (not seen here).
#include "libclient/import/driver_rules.hpp"

#include <algorithm>

namespace dmb::import {
namespace {

constexpr std::uint32_t amd_alignment = 256;
constexpr std::string_view amd_drivers[] = {"radeonsi", "radv", "amdgpu"};

} // namespace

LayoutRules driver_rules(const Device& device)
{
    const std::string_view driver = device.driver.view();
    const bool amd = std::ranges::any_of(amd_drivers, [&](std::string_view name) { return driver.contains(name); });
    return amd ? LayoutRules{amd_alignment, amd_alignment, false} : LayoutRules{};
}

} // namespace dmb::import
