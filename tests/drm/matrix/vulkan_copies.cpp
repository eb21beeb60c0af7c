// SPDX-License-Identifier: MIT
// One submission at a time, waited for: the matrix wants to know about memory, not about speed. Every copy acquires the
// images from outside first and gives them back after.
#include "tests/drm/matrix/vulkan_copies.hpp"

#include <cstring>

namespace dmb::matrix {
namespace {

/// Planes start on multiples of this in the staging buffer: more than any texel's alignment.
constexpr VkDeviceSize plane_alignment = 256;

std::vector<VkDeviceSize> plane_offsets(FourCC format, Extent size, VkDeviceSize& total)
{
    std::vector<VkDeviceSize> offsets;
    total = 0;
    for (const PlaneShape& shape : shapes(format, size)) {
        offsets.push_back(total);
        total += VkDeviceSize{shape.row()} * shape.texels.height;
        total = (total + plane_alignment - 1) / plane_alignment * plane_alignment;
    }
    return offsets;
}

VkImageAspectFlagBits aspect_of(const dmabroker_vulkan_images& images, std::size_t plane, std::size_t planes)
{
    if (images.count > 1 || planes == 1) return VK_IMAGE_ASPECT_COLOR_BIT;
    return plane == 0 ? VK_IMAGE_ASPECT_PLANE_0_BIT : plane == 1 ? VK_IMAGE_ASPECT_PLANE_1_BIT : VK_IMAGE_ASPECT_PLANE_2_BIT;
}

VkExtent3D extent_of(const dmabroker_vulkan_images& images, std::size_t plane, const std::vector<PlaneShape>& all)
{
    if (all.size() == 1) return {images.extents[0].width, images.extents[0].height, 1}; // pixels, also of 2x1 blocks
    return {all[plane].texels.width, all[plane].texels.height, 1};
}

} // namespace

void VulkanCopies::barrier(VkCommandBuffer commands, const dmabroker_vulkan_images& images, bool acquire) const
{
    constexpr VkAccessFlags all = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
    const gpu::ImageState outside{images.external_layout, all, images.external_queue_family};
    const gpu::ImageState here = context_.mine(VK_IMAGE_LAYOUT_GENERAL, all);
    for (std::uint32_t i = 0; i < images.count; ++i)
        context_.barrier(commands, images.images[i], acquire ? outside : here, acquire ? here : outside);
}

void VulkanCopies::record(VkCommandBuffer commands, const dmabroker_vulkan_images& images, FourCC format, Extent size,
                          Direction direction, VkBuffer buffer) const
{
    VkDeviceSize total;
    const auto all = shapes(format, size);
    const auto offsets = plane_offsets(format, size, total);
    for (std::size_t plane = 0; plane < all.size(); ++plane) {
        VkBufferImageCopy region{};
        region.bufferOffset = offsets[plane];
        region.imageSubresource = {static_cast<VkImageAspectFlags>(aspect_of(images, plane, all.size())), 0, 0, 1};
        region.imageExtent = extent_of(images, plane, all);
        const VkImage image = images.images[images.count > 1 ? plane : 0];
        if (direction == Direction::from_image)
            context_.vk().CmdCopyImageToBuffer(commands, image, VK_IMAGE_LAYOUT_GENERAL, buffer, 1, &region);
        else context_.vk().CmdCopyBufferToImage(commands, buffer, image, VK_IMAGE_LAYOUT_GENERAL, 1, &region);
    }
}

void VulkanCopies::copy(const dmabroker_vulkan_images& images, FourCC format, Extent size, Direction direction,
                        std::vector<std::uint8_t>& bytes) const
{
    const gpu::HostBuffer staging(context_, bytes.size(), VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    std::memcpy(staging.data(), bytes.data(), bytes.size());
    context_.run([&](VkCommandBuffer commands) {
        barrier(commands, images, true);
        record(commands, images, format, size, direction, staging.buffer());
        barrier(commands, images, false);
    });
    std::memcpy(bytes.data(), staging.data(), bytes.size());
}

Pixels VulkanCopies::read(const dmabroker_vulkan_images& images, FourCC format, Extent size) const
{
    VkDeviceSize total;
    const auto offsets = plane_offsets(format, size, total);
    std::vector<std::uint8_t> bytes(total, 0xa5);
    copy(images, format, size, Direction::from_image, bytes);
    Pixels out{format, size, {}};
    const auto all = shapes(format, size);
    for (std::size_t p = 0; p < all.size(); ++p) {
        const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(offsets[p]);
        out.planes.emplace_back(first, first + static_cast<std::ptrdiff_t>(all[p].row() * all[p].texels.height));
    }
    return out;
}

void VulkanCopies::write(const dmabroker_vulkan_images& images, const Pixels& pixels) const
{
    VkDeviceSize total;
    const auto offsets = plane_offsets(pixels.format, pixels.size, total);
    std::vector<std::uint8_t> bytes(total);
    for (std::size_t p = 0; p < offsets.size(); ++p)
        std::memcpy(bytes.data() + offsets[p], pixels.planes[p].data(), pixels.planes[p].size());
    copy(images, pixels.format, pixels.size, Direction::to_image, bytes);
}

} // namespace dmb::matrix
