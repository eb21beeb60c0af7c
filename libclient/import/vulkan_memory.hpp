// SPDX-License-Identifier: MIT
// One VkImage bound to imported memory, destroyed unless it is released to the caller.
#pragma once
#include "libclient/import/vulkan_loader.hpp"

namespace dmb::import {

/// What is put behind an image.
struct VulkanMemory {
    int fd = -1; ///< borrowed; a duplicate goes to the driver
    VkExternalMemoryHandleTypeFlagBits type = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
    std::uint64_t size = 0;   ///< bytes to import
    std::uint64_t offset = 0; ///< where the image is bound
    bool dedicated = true;
    std::uint32_t allowed_types = ~0u; ///< bits of memory types
};

class VulkanImage {
public:
    static Result<VulkanImage> create(const Vulkan&, const VkImageCreateInfo&);
    VulkanImage(VulkanImage&&) noexcept;
    VulkanImage& operator=(VulkanImage&&) = delete;
    ~VulkanImage();

    VkImage image() const { return image_; }
    Result<> bind(const VulkanMemory&);

    struct Handles {
        VkImage image;
        VkDeviceMemory memory;
    };
    Handles release();

private:
    VulkanImage(const Vulkan& vulkan, VkImage image) : vulkan_(&vulkan), image_(image) {}
    Result<std::uint32_t> choose_type(const VulkanMemory&, const VkMemoryRequirements&) const;
    Result<> import_memory(const VulkanMemory&, std::uint32_t type);

    const Vulkan* vulkan_;
    VkImage image_ = VK_NULL_HANDLE;
    VkDeviceMemory memory_ = VK_NULL_HANDLE;
};

} // namespace dmb::import
