// SPDX-License-Identifier: MIT
// A VkImage or VkBuffer bound to imported memory, destroyed unless it is released to the caller.
#pragma once
#include "libclient/import/vulkan_loader.hpp"

namespace dmb::import {

/// What is put behind an image or a buffer.
struct VulkanMemory {
    int fd = -1; ///< borrowed; a duplicate goes to the driver
    VkExternalMemoryHandleTypeFlagBits type = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
    std::uint64_t size = 0;   ///< bytes to import
    std::uint64_t offset = 0; ///< where it is bound
    bool dedicated = true;
    std::uint32_t allowed_types = ~0u; ///< bits of memory types
};
/// All of one memory object of a dma-buf or memfd, with the file's own size: drivers compare with it.
VulkanMemory whole_memory(const dmabroker_image&, std::size_t index);
/// Opaque memory, as its exporter allocated it.
VulkanMemory opaque_memory(const dmabroker_image&);

/// `Handle`: VkImage or VkBuffer.
template <class Handle> class VulkanBound {
public:
    VulkanBound(const Vulkan& vulkan, Handle handle) : vulkan_(&vulkan), handle_(handle) {}
    VulkanBound(VulkanBound&&) noexcept;
    VulkanBound& operator=(VulkanBound&&) = delete;
    ~VulkanBound();

    Handle get() const { return handle_; }
    Result<> bind(const VulkanMemory&);

    struct Handles {
        Handle handle;
        VkDeviceMemory memory;
    };
    Handles release();

private:
    const Vulkan* vulkan_;
    Handle handle_ = VK_NULL_HANDLE;
    VkDeviceMemory memory_ = VK_NULL_HANDLE;
};
using VulkanImage = VulkanBound<VkImage>;
using VulkanBuffer = VulkanBound<VkBuffer>;

Result<VulkanImage> create_image(const Vulkan&, const VkImageCreateInfo&);
Result<VulkanBuffer> create_buffer(const Vulkan&, const VkBufferCreateInfo&);

} // namespace dmb::import
