// SPDX-License-Identifier: MIT
// Every piece of work takes the images over from outside and gives them back: acquired from and released to the
// queue family and layout that the importer named. Planes imported as images of their own and planes of one
// multi-planar image differ only in where a plane's pixels are (View).
//
// Pixels travel through a staging buffer in pieces of whole rows, as initial contents do (upload.cpp).
#include "daemon/worker/vulkan/import.hpp"

#include "daemon/worker/vulkan/draw.hpp"

#include <algorithm>
#include <cstring>

namespace dmb::worker {
namespace {

constexpr VkImageUsageFlags writing =
    VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_STORAGE_BIT;

VkImageMemoryBarrier barrier(VkImage image, VkImageLayout from, VkImageLayout to)
{
    VkImageMemoryBarrier b = barrier_of(image);
    b.oldLayout = from;
    b.newLayout = to;
    return b;
}

VkBufferImageCopy rows_of(VkImageAspectFlags aspect, std::uint32_t width, std::uint32_t first, std::uint32_t rows)
{
    VkBufferImageCopy region{};
    region.imageSubresource = {aspect, 0, 0, 1};
    region.imageOffset = {0, static_cast<std::int32_t>(first), 0};
    region.imageExtent = {width, rows, 1};
    return region;
}

constexpr VkImageAspectFlagBits plane_aspects[] = {VK_IMAGE_ASPECT_PLANE_0_BIT, VK_IMAGE_ASPECT_PLANE_1_BIT,
                                                   VK_IMAGE_ASPECT_PLANE_2_BIT};

/// Runs work(first row, rows, bytes of them) over pieces that fit the staging buffer.
template <class Work> Result<> in_pieces(std::uint64_t row, std::uint32_t height, std::uint64_t room, Work work)
{
    const auto at_once = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(room / row, 1, height));
    for (std::uint32_t y = 0; y < height; y += at_once) {
        const std::uint32_t rows = std::min(at_once, height - y);
        TRY(work(y, rows, row * rows));
    }
    return {};
}

} // namespace

Result<VulkanImport> VulkanImport::create(VulkanDevice& device, const dmabroker::Image& image, VkImageUsageFlags usage)
{
    const dmabroker::vulkan::Device handles{device.instance(), device.physical(), device.get(), vkGetInstanceProcAddr};
    const std::uint32_t flags = usage & writing ? DMABROKER_IMPORT_WRITE : 0;
    auto images = TRY(caught([&] { return dmabroker::vulkan::import(image, handles, usage, flags); }));
    const dmabroker_image_info& info = image.info();
    VulkanImport out(device, std::move(images), *find_format({info.format}), {info.width, info.height});
    out.modifier_ = {info.modifier};
    return out;
}

VulkanImport::View VulkanImport::view(std::size_t plane) const
{
    if (is_whole()) return {images_.image(), images_->formats[0], plane_aspects[plane], plane_extent(*format_, plane, size_)};
    const VkExtent2D extent = images_->extents[plane];
    return {images_.image(static_cast<std::uint32_t>(plane)),
            images_->formats[plane],
            VK_IMAGE_ASPECT_COLOR_BIT,
            {extent.width, extent.height}};
}

void VulkanImport::acquire(VkCommandBuffer commands, Use use) const
{
    for (std::uint32_t i = 0; i < images_->count; ++i) {
        VkImageMemoryBarrier b = barrier(images_.image(i), images_->external_layout, use.layout);
        b.srcAccessMask = 0;
        b.dstAccessMask = use.access;
        b.srcQueueFamilyIndex = images_->external_queue_family;
        b.dstQueueFamilyIndex = device_->queue_family();
        add_barrier(commands, b);
    }
}

void VulkanImport::release(VkCommandBuffer commands, Use use) const
{
    for (std::uint32_t i = 0; i < images_->count; ++i) {
        VkImageMemoryBarrier b = barrier(images_.image(i), use.layout, images_->external_layout);
        b.srcAccessMask = use.access;
        b.dstAccessMask = 0;
        b.srcQueueFamilyIndex = device_->queue_family();
        b.dstQueueFamilyIndex = images_->external_queue_family;
        add_barrier(commands, b);
    }
}

Result<> VulkanImport::with(Use use, const std::function<void(VkCommandBuffer)>& record) const
{
    return device_->run([&](VkCommandBuffer commands) {
        acquire(commands, use);
        record(commands);
        release(commands, use);
    });
}

Result<Staging> VulkanImport::staging() const
{
    std::uint64_t largest = 0;
    for (std::size_t i = 0; i < format_->plane_count; ++i)
        largest = std::max(largest, row_bytes(*format_, i, size_.width) * plane_extent(*format_, i, size_).height);
    return device_->make_staging(std::min(largest, staging_bytes));
}

Result<> VulkanImport::read_plane(const View& from, std::size_t plane, const Staging& staging, std::span<std::byte> to) const
{
    std::uint64_t at = 0;
    const std::uint64_t row = row_bytes(*format_, plane, size_.width);
    return in_pieces(
        row, from.extent.height, staging.size, [&](std::uint32_t y, std::uint32_t rows, std::uint64_t bytes) -> Result<> {
            const VkBufferImageCopy region = rows_of(from.aspect, from.extent.width, y, rows);
            TRY(with({VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, VK_ACCESS_TRANSFER_READ_BIT}, [&](VkCommandBuffer commands) {
                vkCmdCopyImageToBuffer(commands, from.image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, staging.buffer, 1, &region);
                let_host_read(commands);
            }));
            std::memcpy(to.subspan(at, bytes).data(), staging.data, bytes);
            at += bytes;
            return {};
        });
}

Result<> VulkanImport::read(std::span<std::byte> to) const
{
    const Staging buffer = TRY(staging());
    for (std::size_t i = 0; i < format_->plane_count; ++i)
        TRY(read_plane(view(i), i, buffer, to.subspan(plane_start(*format_, size_, i))));
    return {};
}

Result<> VulkanImport::write_plane(const View& to, std::size_t plane, const Staging& staging, const Contents& contents) const
{
    const std::uint64_t row = row_bytes(*format_, plane, size_.width);
    return in_pieces(
        row, to.extent.height, staging.size, [&](std::uint32_t y, std::uint32_t rows, std::uint64_t bytes) -> Result<> {
            TRY(contents.read(plane, y, rows, {staging.data, bytes}));
            const VkBufferImageCopy region = rows_of(to.aspect, to.extent.width, y, rows);
            return with({VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_ACCESS_TRANSFER_WRITE_BIT}, [&](VkCommandBuffer commands) {
                vkCmdCopyBufferToImage(commands, staging.buffer, to.image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &region);
            });
        });
}

Result<> VulkanImport::write(const Contents& contents) const
{
    const Staging buffer = TRY(staging());
    for (std::size_t i = 0; i < format_->plane_count; ++i) TRY(write_plane(view(i), i, buffer, contents));
    return {};
}

Result<> VulkanImport::copy_to(const VulkanImport& to) const
{
    const Use source{VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, VK_ACCESS_TRANSFER_READ_BIT};
    const Use target{VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_ACCESS_TRANSFER_WRITE_BIT};
    return device_->run([&](VkCommandBuffer commands) {
        acquire(commands, source);
        to.acquire(commands, target);
        for (std::size_t i = 0; i < format_->plane_count; ++i) {
            const View a = view(i), b = to.view(i);
            VkImageCopy region{};
            region.srcSubresource = {a.aspect, 0, 0, 1};
            region.dstSubresource = {b.aspect, 0, 0, 1};
            region.extent = {a.extent.width, a.extent.height, 1};
            vkCmdCopyImage(commands, a.image, source.layout, b.image, target.layout, 1, &region);
        }
        release(commands, source);
        to.release(commands, target);
    });
}

bool VulkanImport::can_blit(const View& from, Modifier modifier) const
{
    if (from.aspect != VK_IMAGE_ASPECT_COLOR_BIT) return false;
    VkFormatProperties own{};
    vkGetPhysicalDeviceFormatProperties(device_->physical(), from.format, &own);
    constexpr VkFormatFeatureFlags both = VK_FORMAT_FEATURE_BLIT_SRC_BIT | VK_FORMAT_FEATURE_BLIT_DST_BIT;
    if ((own.optimalTilingFeatures & both) != both) return false;
    for (const ListedModifier& listed : list_modifiers(*device_, from.format))
        if (listed.modifier == modifier) return (listed.features & VK_FORMAT_FEATURE_BLIT_SRC_BIT) != 0;
    return (own.linearTilingFeatures & VK_FORMAT_FEATURE_BLIT_SRC_BIT) != 0; // without modifiers, or opaque
}

Result<> VulkanImport::sample_plane(std::size_t plane, const Staging& staging, std::span<std::byte> to) const
{
    const View from = view(plane);
    if (!can_blit(from, modifier_)) return read_plane(from, plane, staging, to);
    const PrivateImage copy = TRY(PrivateImage::create(*device_, from.format, from.extent));
    TRY(with({VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, VK_ACCESS_TRANSFER_READ_BIT}, [&](VkCommandBuffer commands) {
        add_barrier(commands, barrier(copy.get(), VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL));
        const VkOffset3D end{static_cast<std::int32_t>(from.extent.width), static_cast<std::int32_t>(from.extent.height), 1};
        VkImageBlit all{};
        all.srcSubresource = all.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
        all.srcOffsets[1] = all.dstOffsets[1] = end;
        vkCmdBlitImage(commands, from.image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, copy.get(),
                       VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &all, VK_FILTER_NEAREST);
        add_barrier(commands, barrier(copy.get(), VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL));
    }));
    // The copy stays in that layout and is nobody else's: only the imported images are handed back and forth.
    return read_plane({copy.get(), from.format, VK_IMAGE_ASPECT_COLOR_BIT, from.extent}, plane, staging, to);
}

Result<> VulkanImport::sample(std::span<std::byte> to) const
{
    const Staging buffer = TRY(staging());
    for (std::size_t i = 0; i < format_->plane_count; ++i)
        TRY(sample_plane(i, buffer, to.subspan(plane_start(*format_, size_, i))));
    return {};
}

Result<> VulkanImport::draw_plane(std::size_t plane, ProofPattern pattern) const
{
    const View to = view(plane);
    const Attachment attachment = TRY(Attachment::create(*device_, to.image, to.format, to.extent));
    return with(
        {VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT | VK_ACCESS_COLOR_ATTACHMENT_READ_BIT},
        [&](VkCommandBuffer commands) { attachment.draw(commands, *format_, plane, pattern); });
}

Result<> VulkanImport::draw(ProofPattern pattern) const
{
    if (is_whole()) return fail(Errc::import_refused, "a multi-planar VkImage is no colour attachment");
    for (std::size_t i = 0; i < format_->plane_count; ++i) TRY(draw_plane(i, pattern));
    return {};
}

} // namespace dmb::worker
