// SPDX-License-Identifier: MIT
// What a Vulkan device can really do: planning images, and trying them.
#pragma once
#include "daemon/worker/vulkan/image.hpp"

namespace dmb::worker {

/// The image that a usage needs.
struct VulkanWish {
    const FormatInfo* format = nullptr;
    Extent size;
    Usage usage;
    bool opaque = false;
    std::vector<Modifier> modifiers; ///< dma-bufs: any of these
};
/// The VkImageCreateInfo for it, as generous to importers as the driver lets it be; or why there is none.
Result<VulkanPlan> make_plan(const VulkanDevice&, const VulkanWish&);

/// Formats (buffers, too) that were created and exported, with every usage the driver supports for them together.
struct VulkanProof {
    std::vector<FormatSupport> formats; ///< `device` is not set
    BoundedText<160> problem;           ///< first failure, when there is no format
};
VulkanProof prove_opaque(VulkanDevice&);
VulkanProof prove_dma_buf(VulkanDevice&);

} // namespace dmb::worker
