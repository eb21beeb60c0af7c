// SPDX-License-Identifier: MIT
// Which Vulkan drivers this machine has, found without loading any: the broker never meets a driver.
#pragma once
#include <string>
#include <vector>

namespace dmb {

/// Their manifests (*.json), each once, where the Vulkan loader looks for them: what VK_DRIVER_FILES or the older
/// VK_ICD_FILENAMES names, else vulkan/icd.d in the folders of configuration and data, and what VK_ADD_DRIVER_FILES
/// names besides. (Vulkan-Loader, "Driver Discovery on Linux".) A manifest does not mean that there is a device for it.
std::vector<std::string> find_vulkan_drivers();

} // namespace dmb
