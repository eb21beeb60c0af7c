// SPDX-License-Identifier: MIT
// What importers may rely on: every image leaves here in VK_IMAGE_LAYOUT_GENERAL, released from our queue
// family to FOREIGN (dma-bufs; EXTERNAL where the driver lacks that extension) or EXTERNAL (opaque).
// So a Vulkan importer acquires from there with oldLayout GENERAL and releases the same way; GENERAL,
// because it is the one layout that every use, every API and every next importer can live with.
//
// Contents travel through a staging buffer in pieces of whole rows, so that an image of 2 GiB does not
// need another 2 GiB.
#include "daemon/worker/vulkan/upload.hpp"

#include <algorithm>
#include <cstring>

namespace dmb::worker {
namespace {

void begin(VkCommandBuffer commands, const VulkanImage& image)
{
    VkImageMemoryBarrier b = barrier_of(image.get());
    b.srcAccessMask = 0;
    b.oldLayout = VK_IMAGE_LAYOUT_UNDEFINED;
    b.newLayout = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL;
    add_barrier(commands, b);
}

void clear(VkCommandBuffer commands, const VulkanImage& image)
{
    const VkClearColorValue zero{};
    const VkImageSubresourceRange all{VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    vkCmdClearColorImage(commands, image.get(), VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &zero, 1, &all);
}

VkImageAspectFlags plane_aspect(const FormatInfo& format, std::size_t plane)
{
    constexpr VkImageAspectFlagBits aspects[] = {VK_IMAGE_ASPECT_PLANE_0_BIT, VK_IMAGE_ASPECT_PLANE_1_BIT,
                                                 VK_IMAGE_ASPECT_PLANE_2_BIT};
    return format.plane_count == 1 ? VK_IMAGE_ASPECT_COLOR_BIT : aspects[plane];
}

/// Some rows of one plane.
struct Piece {
    std::size_t plane;
    std::uint32_t first;
    std::uint32_t rows;
};

void copy(VkCommandBuffer commands, const VulkanImage& image, const Staging& staging, const Piece& piece)
{
    const FormatInfo& format = *image.plan().format;
    VkBufferImageCopy region{};
    region.imageSubresource = {plane_aspect(format, piece.plane), 0, 0, 1};
    region.imageOffset = {0, static_cast<std::int32_t>(piece.first), 0};
    region.imageExtent = {plane_extent(format, piece.plane, image.plan().size).width, piece.rows, 1};
    vkCmdCopyBufferToImage(commands, staging.buffer, image.get(), VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &region);
}

Result<> upload_plane(VulkanDevice& device, const VulkanImage& image, const Staging& staging, std::size_t plane,
                      const Contents* contents)
{
    const FormatInfo& format = *image.plan().format;
    const std::uint64_t row = row_bytes(format, plane, image.plan().size.width);
    const std::uint32_t height = plane_extent(format, plane, image.plan().size).height;
    const auto rows_at_once = static_cast<std::uint32_t>(std::min<std::uint64_t>(staging.size / row, height));
    for (std::uint32_t y = 0; y < height; y += rows_at_once) {
        const Piece piece{plane, y, std::min(rows_at_once, height - y)};
        const std::span<std::byte> bytes(staging.data, row * piece.rows);
        if (contents) TRY(contents->read(plane, y, piece.rows, bytes));
        else std::memset(bytes.data(), 0, bytes.size());
        TRY(device.run([&](VkCommandBuffer commands) { copy(commands, image, staging, piece); }));
    }
    return {};
}

/// Without contents: zeros.
Result<> upload(VulkanDevice& device, const VulkanImage& image, const Contents* contents)
{
    const FormatInfo& format = *image.plan().format;
    std::uint64_t largest = 0;
    for (std::size_t i = 0; i < format.plane_count; ++i)
        largest = std::max(largest,
                           row_bytes(format, i, image.plan().size.width) * plane_extent(format, i, image.plan().size).height);
    const Staging staging = TRY(device.make_staging(std::min(largest, staging_bytes)));
    TRY(device.run([&](VkCommandBuffer commands) { begin(commands, image); }));
    for (std::size_t i = 0; i < format.plane_count; ++i) TRY(upload_plane(device, image, staging, i, contents));
    return device.run(
        [&](VkCommandBuffer commands) { release_to_outside(commands, device, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL); });
}

} // namespace

void acquire_from_outside(VkCommandBuffer commands, const VulkanDevice& device, const VulkanImage& image, VkImageLayout to)
{
    VkImageMemoryBarrier b = barrier_of(image.get());
    b.srcAccessMask = 0;
    b.oldLayout = VK_IMAGE_LAYOUT_GENERAL;
    b.newLayout = to;
    b.srcQueueFamilyIndex = device.external_family(image.plan().handle_type());
    b.dstQueueFamilyIndex = device.queue_family();
    add_barrier(commands, b);
}

void release_to_outside(VkCommandBuffer commands, const VulkanDevice& device, const VulkanImage& image, VkImageLayout from)
{
    VkImageMemoryBarrier b = barrier_of(image.get());
    b.dstAccessMask = 0;
    b.oldLayout = from;
    b.newLayout = VK_IMAGE_LAYOUT_GENERAL;
    b.srcQueueFamilyIndex = device.queue_family();
    b.dstQueueFamilyIndex = device.external_family(image.plan().handle_type());
    add_barrier(commands, b);
}

Result<> initialise(VulkanDevice& device, const VulkanImage& image, const Contents* contents)
{
    // A software driver's memory comes fresh from the kernel, which zeroes it. A GPU's may not: clear
    // all of it where the CPU can, and the pixels in any case.
    const bool fresh = device.info().software;
    if (!fresh && image.host_visible()) TRY(image.zero_memory());
    // vkCmdClearColorImage does not take Y'CbCr formats.
    if (contents || (!fresh && image.plan().format->model == ColourModel::yuv)) return upload(device, image, contents);
    return device.run([&](VkCommandBuffer commands) {
        begin(commands, image);
        if (!fresh) clear(commands, image);
        release_to_outside(commands, device, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
    });
}

} // namespace dmb::worker
