// SPDX-License-Identifier: MIT
// First contents of a new VkImage.
#pragma once
#include "daemon/worker/vulkan/image.hpp"

namespace dmb::worker {

/// The image's pixels become `contents`, or 0. It ends in VK_IMAGE_LAYOUT_GENERAL, released to
/// VulkanDevice::external_family().
Result<> initialise(VulkanDevice&, const VulkanImage&, const Contents* contents);

/// Barriers of the agreement with importers.
void acquire_from_outside(VkCommandBuffer, const VulkanDevice&, const VulkanImage&, VkImageLayout to);
void release_to_outside(VkCommandBuffer, const VulkanDevice&, const VulkanImage&, VkImageLayout from);

} // namespace dmb::worker
