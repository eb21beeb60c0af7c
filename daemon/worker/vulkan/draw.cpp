// SPDX-License-Identifier: MIT
// How proofs draw: vkCmdClearAttachments inside a render pass goes through the same attachment, layout and compression
// as a drawn quad and needs no pipeline. One call per colour that occurs: at most 16. A PrivateImage is what sampled
// pixels are blitted into; both live for one submission of VulkanImport, which does the barriers.
#include "daemon/worker/vulkan/draw.hpp"

#include <map>

namespace dmb::worker {
namespace {

VkImageCreateInfo private_image_info(VkFormat format, Extent size)
{
    VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
    info.imageType = VK_IMAGE_TYPE_2D;
    info.format = format;
    info.extent = {size.width, size.height, 1};
    info.mipLevels = info.arrayLayers = 1;
    info.samples = VK_SAMPLE_COUNT_1_BIT;
    info.tiling = VK_IMAGE_TILING_OPTIMAL;
    info.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
    info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
    return info;
}

Result<OwnedRenderPass> make_pass(VkDevice device, VkFormat format)
{
    VkAttachmentDescription colour{};
    colour.format = format;
    colour.samples = VK_SAMPLE_COUNT_1_BIT;
    colour.loadOp = VK_ATTACHMENT_LOAD_OP_LOAD;
    colour.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
    colour.stencilLoadOp = VK_ATTACHMENT_LOAD_OP_DONT_CARE;
    colour.stencilStoreOp = VK_ATTACHMENT_STORE_OP_DONT_CARE;
    colour.initialLayout = colour.finalLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL;
    const VkAttachmentReference reference{0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
    VkSubpassDescription subpass{};
    subpass.pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS;
    subpass.colorAttachmentCount = 1;
    subpass.pColorAttachments = &reference;
    VkRenderPassCreateInfo info{VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO};
    info.attachmentCount = info.subpassCount = 1;
    info.pAttachments = &colour;
    info.pSubpasses = &subpass;
    VkRenderPass pass{};
    if (const VkResult r = vkCreateRenderPass(device, &info, nullptr, &pass); r != VK_SUCCESS)
        return fail_vulkan("vkCreateRenderPass", r);
    return OwnedRenderPass(device, pass);
}

Result<OwnedView> make_view(VkDevice device, VkImage image, VkFormat format)
{
    VkImageViewCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO};
    info.image = image;
    info.viewType = VK_IMAGE_VIEW_TYPE_2D;
    info.format = format;
    info.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    VkImageView view{};
    if (const VkResult r = vkCreateImageView(device, &info, nullptr, &view); r != VK_SUCCESS)
        return fail_vulkan("vkCreateImageView", r);
    return OwnedView(device, view);
}

/// One bit per component of a VkClearValue.
using Colour = unsigned;
using Blocks = std::map<Colour, std::vector<VkClearRect>>;

Colour colour_at(const FormatInfo& format, std::size_t plane, std::uint32_t x, std::uint32_t y, ProofPattern pattern)
{
    const auto channels = channels_of(format, plane);
    Colour colour = 0;
    for (std::size_t i = 0; i < channels.size(); ++i) {
        const auto component =
            format.model == ColourModel::rgb ? static_cast<unsigned>(channels[i].channel) : static_cast<unsigned>(i);
        if (proof_bit(channels[i].channel, x, y, pattern)) colour |= 1u << component;
    }
    return colour;
}

Blocks blocks_of(const FormatInfo& format, std::size_t plane, Extent extent, ProofPattern pattern)
{
    const PlaneFormat& shape = format.planes[plane];
    const std::uint32_t width = proof_block / shape.horizontal, height = proof_block / shape.vertical;
    Blocks blocks;
    for (std::uint32_t y = 0; y < extent.height; y += height)
        for (std::uint32_t x = 0; x < extent.width; x += width) {
            const VkRect2D rect{{static_cast<std::int32_t>(x), static_cast<std::int32_t>(y)},
                                {std::min(width, extent.width - x), std::min(height, extent.height - y)}};
            blocks[colour_at(format, plane, x * shape.horizontal, y * shape.vertical, pattern)].push_back({rect, 0, 1});
        }
    return blocks;
}

} // namespace

Result<PrivateImage> PrivateImage::create(const VulkanDevice& device, VkFormat format, Extent size)
{
    const VkImageCreateInfo info = private_image_info(format, size);
    PrivateImage out;
    VkImage image{};
    if (const VkResult r = vkCreateImage(device.get(), &info, nullptr, &image); r != VK_SUCCESS)
        return fail_vulkan("vkCreateImage", r);
    out.image_ = OwnedImage(device.get(), image);
    VkMemoryRequirements needs{};
    vkGetImageMemoryRequirements(device.get(), image, &needs);
    VkMemoryAllocateInfo allocate{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
    allocate.allocationSize = needs.size;
    allocate.memoryTypeIndex = device.memory_type(needs.memoryTypeBits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    VkDeviceMemory memory{};
    if (const VkResult r = vkAllocateMemory(device.get(), &allocate, nullptr, &memory); r != VK_SUCCESS)
        return fail_vulkan("vkAllocateMemory", r);
    out.memory_ = OwnedMemory(device.get(), memory);
    if (const VkResult r = vkBindImageMemory(device.get(), image, memory, 0); r != VK_SUCCESS)
        return fail_vulkan("vkBindImageMemory", r);
    return out;
}

Result<Attachment> Attachment::create(const VulkanDevice& device, VkImage image, VkFormat format, Extent extent)
{
    Attachment out;
    out.extent_ = extent;
    out.pass_ = TRY(make_pass(device.get(), format));
    out.view_ = TRY(make_view(device.get(), image, format));
    const VkImageView view = out.view_.get();
    VkFramebufferCreateInfo info{VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO};
    info.renderPass = out.pass_.get();
    info.attachmentCount = info.layers = 1;
    info.pAttachments = &view;
    info.width = extent.width;
    info.height = extent.height;
    VkFramebuffer framebuffer{};
    if (const VkResult r = vkCreateFramebuffer(device.get(), &info, nullptr, &framebuffer); r != VK_SUCCESS)
        return fail_vulkan("vkCreateFramebuffer", r);
    out.framebuffer_ = OwnedFramebuffer(device.get(), framebuffer);
    return out;
}

void Attachment::draw(VkCommandBuffer commands, const FormatInfo& format, std::size_t plane, ProofPattern pattern) const
{
    VkRenderPassBeginInfo begin{VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO};
    begin.renderPass = pass_.get();
    begin.framebuffer = framebuffer_.get();
    begin.renderArea.extent = {extent_.width, extent_.height};
    vkCmdBeginRenderPass(commands, &begin, VK_SUBPASS_CONTENTS_INLINE);
    for (const auto& [colour, rects] : blocks_of(format, plane, extent_, pattern)) {
        VkClearAttachment clear{VK_IMAGE_ASPECT_COLOR_BIT, 0, {}};
        for (unsigned i = 0; i < 4; ++i) clear.clearValue.color.float32[i] = (colour >> i & 1) ? 1.0F : 0.0F;
        vkCmdClearAttachments(commands, 1, &clear, static_cast<std::uint32_t>(rects.size()), rects.data());
    }
    vkCmdEndRenderPass(commands);
}

} // namespace dmb::worker
