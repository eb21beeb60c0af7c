// SPDX-License-Identifier: MIT
// vkAllocateMemory takes over the descriptor on success only, so a duplicate is offered and kept until
// then. The requirements of an image with explicit plane offsets do not count those offsets (Mesa);
// the sum is what must fit into the file.
#include "libclient/import/vulkan_memory.hpp"

#include "libclient/import/proc.hpp"
#include "proto/base/checked.hpp"

#include <bit>
#include <utility>

namespace dmb::import {

Result<VulkanImage> VulkanImage::create(const Vulkan& vulkan, const VkImageCreateInfo& info)
{
    VkImage image = VK_NULL_HANDLE;
    const VkResult result = vulkan.create_image(vulkan.device, &info, nullptr, &image);
    if (result != VK_SUCCESS) return fail_vulkan("vkCreateImage", result);
    return VulkanImage(vulkan, image);
}

VulkanImage::VulkanImage(VulkanImage&& other) noexcept : vulkan_(other.vulkan_)
{
    const Handles handles = other.release();
    image_ = handles.image;
    memory_ = handles.memory;
}

VulkanImage::~VulkanImage()
{
    if (image_) vulkan_->destroy_image(vulkan_->device, image_, nullptr);
    if (memory_) vulkan_->free_memory(vulkan_->device, memory_, nullptr);
}

VulkanImage::Handles VulkanImage::release()
{
    return {std::exchange(image_, VkImage(VK_NULL_HANDLE)), std::exchange(memory_, VkDeviceMemory(VK_NULL_HANDLE))};
}

Result<std::uint32_t> VulkanImage::choose_type(const VulkanMemory& memory, const VkMemoryRequirements& requirements) const
{
    std::uint32_t types = requirements.memoryTypeBits & memory.allowed_types;
    if (memory.type == VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT) {
        VkMemoryFdPropertiesKHR properties{.sType = VK_STRUCTURE_TYPE_MEMORY_FD_PROPERTIES_KHR};
        const VkResult result = vulkan_->get_fd_properties(vulkan_->device, memory.type, memory.fd, &properties);
        if (result != VK_SUCCESS) return fail_vulkan("vkGetMemoryFdPropertiesKHR", result);
        types &= properties.memoryTypeBits;
    }
    if (types == 0)
        return fail(Errc::import_failed, "no memory type of this Vulkan device fits both the image and the descriptor");
    return static_cast<std::uint32_t>(std::countr_zero(types));
}

Result<> VulkanImage::import_memory(const VulkanMemory& memory, std::uint32_t type)
{
    UniqueFd fd = TRY(duplicate(memory.fd));
    VkMemoryDedicatedAllocateInfo dedicated{.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO, .image = image_};
    const VkImportMemoryFdInfoKHR import{.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR,
                                         .pNext = memory.dedicated ? &dedicated : nullptr,
                                         .handleType = memory.type,
                                         .fd = fd.get()};
    const VkMemoryAllocateInfo info{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                    .pNext = &import,
                                    .allocationSize = memory.size,
                                    .memoryTypeIndex = type};
    const VkResult result = vulkan_->allocate_memory(vulkan_->device, &info, nullptr, &memory_);
    if (result != VK_SUCCESS) {
        memory_ = VK_NULL_HANDLE;
        return fail_vulkan("vkAllocateMemory", result);
    }
    [[maybe_unused]] const int owned_by_vulkan = fd.release();
    return {};
}

Result<> VulkanImage::bind(const VulkanMemory& memory)
{
    VkMemoryRequirements requirements{};
    vulkan_->get_requirements(vulkan_->device, image_, &requirements);
    if (memory.offset % requirements.alignment != 0)
        return fail(Errc::import_refused, "the image begins at {}, this driver wants a multiple of {}", memory.offset,
                    requirements.alignment);
    if (!(Checked(memory.offset) + requirements.size).fits_in(memory.size))
        return fail(Errc::import_refused, "this driver wants {} bytes from {}, the memory has {}; pad the rows",
                    requirements.size, memory.offset, memory.size);
    const std::uint32_t type = TRY(choose_type(memory, requirements));
    TRY(import_memory(memory, type));
    const VkResult result = vulkan_->bind_image(vulkan_->device, image_, memory_, memory.offset);
    if (result != VK_SUCCESS) return fail_vulkan("vkBindImageMemory", result);
    return {};
}

} // namespace dmb::import
