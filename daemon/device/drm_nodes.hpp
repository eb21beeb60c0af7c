// SPDX-License-Identifier: MIT
// Which DRM devices this machine has, found without opening any of them: opening may load firmware or
// wake a sleeping GPU, and the broker never meets a driver.
#pragma once
#include <string>
#include <vector>

namespace dmb {

struct DrmDevice {
    std::string primary; ///< "/dev/dri/card0"; may be empty
    std::string render;  ///< "/dev/dri/renderD128"; empty where it has none
    std::string driver;  ///< kernel driver, "i915"; empty when sysfs does not say
};

/// In the order of their node numbers. `dev` and `sys` are "/dev/dri" and "/sys/dev/char" but in tests.
std::vector<DrmDevice> find_drm_devices(const std::string& dev = "/dev/dri", const std::string& sys = "/sys/dev/char");

} // namespace dmb
