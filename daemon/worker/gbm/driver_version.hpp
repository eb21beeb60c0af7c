// SPDX-License-Identifier: MIT
// What tells one build of a device's driver from the next, for GBM, which itself has no word for it.
#pragma once
#include <string>

namespace dmb::worker {

/// "virtio_gpu 0.1.0, libgallium-25.0.7-2.so 1a2b3c4d": the kernel's driver, and those files of the user's driver that
/// are loaded by now, each with the beginning of its build id. Changes with every update of either.
std::string gbm_driver_version(int drm_fd);

} // namespace dmb::worker
