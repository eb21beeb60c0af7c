// SPDX-License-Identifier: MIT
// What drawing and sampling for a proof need of Vulkan: an image of one's own, a colour attachment without shaders.
#pragma once
#include "daemon/worker/vulkan/device.hpp"
#include "proto/image/proof_pattern.hpp"

namespace dmb::worker {

/// Optimally tiled, never shared; to blit into and to copy from.
class PrivateImage {
public:
    static Result<PrivateImage> create(const VulkanDevice&, VkFormat, Extent);
    VkImage get() const { return image_.get(); }

private:
    OwnedMemory memory_; // freed after the image
    OwnedImage image_;
};

/// Draws into an image that is in COLOR_ATTACHMENT_OPTIMAL. Borrows it.
class Attachment {
public:
    static Result<Attachment> create(const VulkanDevice&, VkImage, VkFormat, Extent);
    /// The plane of `format` that the image holds, block by block: rasterised as vkCmdClearAttachments does.
    void draw(VkCommandBuffer, const FormatInfo& format, std::size_t plane, ProofPattern) const;

private:
    Extent extent_;
    OwnedRenderPass pass_;
    OwnedView view_; // destroyed after the framebuffer
    OwnedFramebuffer framebuffer_;
};

} // namespace dmb::worker
