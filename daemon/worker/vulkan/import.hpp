// SPDX-License-Identifier: MIT
// Somebody's image in one of this process's Vulkan devices, imported with libdmabroker's importer: reading, writing,
// copying, drawing into it.
#pragma once
#include "daemon/worker/contents.hpp"
#include "daemon/worker/hold.hpp"
#include "daemon/worker/vulkan/image.hpp"
#include "proto/image/proof_pattern.hpp"

#include <dmabroker/vulkan.hpp>

namespace dmb::worker {

class VulkanImport {
public:
    /// `usage` as dmabroker_vulkan_import takes it; with a usage that writes, for writing.
    static Result<VulkanImport> create(VulkanDevice&, const dmabroker::Image&, VkImageUsageFlags usage);

    /// All planes, tightly packed one after the other.
    Result<> read(std::span<std::byte> to) const;
    Result<> write(const Contents&) const;
    /// Same size and format, imported by the same device.
    Result<> copy_to(const VulkanImport&) const;
    /// As read(), but first through the device's texture unit (vkCmdBlitImage to an image of its own) where the
    /// format allows that.
    Result<> sample(std::span<std::byte> to) const;
    /// Draws the pattern, block by block, as a colour attachment.
    Result<> draw(ProofPattern) const;

private:
    /// Where a plane of the format is to be found.
    struct View {
        VkImage image;
        VkFormat format; ///< of the image
        VkImageAspectFlags aspect;
        Extent extent;
    };
    /// The state in which commands want an image: between acquire and release.
    struct Use {
        VkImageLayout layout;
        VkAccessFlags access;
    };
    VulkanImport(VulkanDevice& device, dmabroker::vulkan::Images images, const FormatInfo& format, Extent size)
        : device_(&device), images_(std::move(images)), format_(&format), size_(size)
    {
    }
    View view(std::size_t plane) const;
    bool is_whole() const { return images_->count == 1 && format_->plane_count > 1; }
    void acquire(VkCommandBuffer, Use) const;
    void release(VkCommandBuffer, Use) const;
    Result<> with(Use, const std::function<void(VkCommandBuffer)>& record) const;
    Result<> read_plane(const View&, std::size_t plane, const Staging&, std::span<std::byte> to) const;
    Result<> write_plane(const View&, std::size_t plane, const Staging&, const Contents&) const;
    bool can_blit(const View&, Modifier) const;
    Result<> sample_plane(std::size_t plane, const Staging&, std::span<std::byte> to) const;
    Result<> draw_plane(std::size_t plane, ProofPattern) const;
    Result<Staging> staging() const;

    VulkanDevice* device_;
    dmabroker::vulkan::Images images_;
    const FormatInfo* format_;
    Extent size_;
    Modifier modifier_;
};

} // namespace dmb::worker
