// SPDX-License-Identifier: MIT
// What a Vulkan device can really do: planning images, and trying them.
#pragma once
#include "daemon/worker/vulkan/image.hpp"

namespace dmb::worker {

/// The image that a usage needs.
struct VulkanNeeds {
    const FormatInfo* format = nullptr;
    Extent size;
    Usage usage;
    bool opaque = false;
    std::vector<Modifier> modifiers; ///< dma-bufs: any of these
};
/// The VkImageCreateInfo for it, as generous to importers as the driver lets it be; or why there is none.
Result<VulkanPlan> make_plan(const VulkanDevice&, const VulkanNeeds&);

/// Formats (buffers, too) that were created and exported, with every usage the driver supports for them together.
struct VulkanSupport {
    std::vector<Capability> rows;
    BoundedText<160> problem; ///< first failure, when there is no format
};
VulkanSupport prove_opaque(VulkanDevice&);
VulkanSupport prove_dma_buf(VulkanDevice&);

} // namespace dmb::worker
