// SPDX-License-Identifier: MIT
// One exportable VkImage with its memory: what a driver can, making it, describing it.
#pragma once
#include "daemon/worker/driver.hpp"
#include "daemon/worker/vulkan/device.hpp"

#include <span>

namespace dmb::worker {

/// One layout a driver lists for a VkFormat.
struct ListedModifier {
    Modifier modifier;
    std::uint32_t planes = 1;          ///< memory planes
    VkFormatFeatureFlags features = 0; ///< with this modifier
    friend bool operator==(const ListedModifier&, const ListedModifier&) = default;
};
std::vector<ListedModifier> list_modifiers(const VulkanDevice&, VkFormat);

/// What is to be made. With modifiers: a dma-buf in one of these layouts. Without: opaque, optimal tiling.
struct VulkanPlan {
    const FormatInfo* format = nullptr;
    Extent size;
    VkImageUsageFlags usage = 0;
    VkImageCreateFlags flags = 0;
    std::vector<std::uint64_t> modifiers;
    std::uint32_t row_pitch = 0; ///< bytes; 0: the driver's choice. Only LINEAR and one plane
    bool host_visible = false;   ///< prefer memory that the CPU reads fast

    VkFormat vk_format() const { return static_cast<VkFormat>(format->vk_format); }
    VkExternalMemoryHandleTypeFlagBits handle_type() const
    {
        return modifiers.empty() ? VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT
                                 : VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
    }
};

struct Exportable {
    bool supported = false;
    bool dedicated_only = false;
};
/// For a plan with at most one modifier.
Exportable ask_support(const VulkanDevice&, const VulkanPlan&);

/// Of a whole image of one plane, between any two accesses; the layouts are UNDEFINED.
VkImageMemoryBarrier barrier_of(VkImage);
/// Everything waits for everything: speed is no matter here.
void add_barrier(VkCommandBuffer, const VkImageMemoryBarrier&);

class VulkanImage {
public:
    static Result<VulkanImage> create(const VulkanDevice&, const VulkanPlan&);

    VkImage get() const { return image_.get(); }
    const VulkanPlan& plan() const { return plan_; }
    bool host_visible() const;
    /// Zeroes the whole allocation, padding included. Only when host_visible().
    Result<> zero_memory() const;
    /// Exports the memory: once, and then this object should go.
    Result<Exported> export_image() const;

private:
    VulkanImage(const VulkanDevice& device, const VulkanPlan& plan) : device_(&device), plan_(plan) {}
    Result<> create_image();
    Result<> allocate_memory();
    Result<> describe_dma_buf(Exported&) const;
    void describe_opaque(Exported&) const;

    const VulkanDevice* device_;
    VulkanPlan plan_;
    OwnedMemory memory_; // freed after the image
    OwnedImage image_;
    std::uint64_t size_ = 0;
    std::uint32_t memory_type_ = 0;
    bool dedicated_ = false;
};

} // namespace dmb::worker
