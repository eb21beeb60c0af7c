// SPDX-License-Identifier: MIT
// vkAllocateMemory takes over the descriptor on success only, so a duplicate is offered and kept until
// then. The requirements of an image with explicit plane offsets do not count those offsets (Mesa);
// the sum is what must fit into the file.
#include "libclient/import/vulkan_memory.hpp"

#include "libclient/import/proc.hpp"
#include "proto/base/checked.hpp"
#include "proto/image/fd_identity.hpp"

#include <bit>
#include <utility>

namespace dmb::import {
namespace {

void destroy(const Vulkan& vulkan, VkImage image) { vulkan.destroy_image(vulkan.device, image, nullptr); }
void destroy(const Vulkan& vulkan, VkBuffer buffer) { vulkan.destroy_buffer(vulkan.device, buffer, nullptr); }

VkMemoryRequirements requirements_of(const Vulkan& vulkan, VkImage image)
{
    VkMemoryRequirements out{};
    vulkan.get_image_requirements(vulkan.device, image, &out);
    return out;
}
VkMemoryRequirements requirements_of(const Vulkan& vulkan, VkBuffer buffer)
{
    VkMemoryRequirements out{};
    vulkan.get_buffer_requirements(vulkan.device, buffer, &out);
    return out;
}

Result<> bind_memory(const Vulkan& vulkan, VkImage image, VkDeviceMemory memory, std::uint64_t offset)
{
    const VkResult result = vulkan.bind_image(vulkan.device, image, memory, offset);
    return result == VK_SUCCESS ? Result<>() : fail_vulkan("vkBindImageMemory", result);
}
Result<> bind_memory(const Vulkan& vulkan, VkBuffer buffer, VkDeviceMemory memory, std::uint64_t offset)
{
    const VkResult result = vulkan.bind_buffer(vulkan.device, buffer, memory, offset);
    return result == VK_SUCCESS ? Result<>() : fail_vulkan("vkBindBufferMemory", result);
}

VkMemoryDedicatedAllocateInfo dedicated_to(VkImage image)
{
    return {.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO, .image = image};
}
VkMemoryDedicatedAllocateInfo dedicated_to(VkBuffer buffer)
{
    return {.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO, .buffer = buffer};
}

Result<std::uint32_t> choose_type(const Vulkan& vulkan, const VulkanMemory& memory, const VkMemoryRequirements& requirements)
{
    std::uint32_t types = requirements.memoryTypeBits & memory.allowed_types;
    if (memory.type == VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT) {
        VkMemoryFdPropertiesKHR properties{.sType = VK_STRUCTURE_TYPE_MEMORY_FD_PROPERTIES_KHR};
        const VkResult result = vulkan.get_fd_properties(vulkan.device, memory.type, memory.fd, &properties);
        if (result != VK_SUCCESS) return fail_vulkan("vkGetMemoryFdPropertiesKHR", result);
        types &= properties.memoryTypeBits;
    }
    if (types == 0) return fail(Errc::import_failed, "no memory type of this Vulkan device fits both it and the descriptor");
    return static_cast<std::uint32_t>(std::countr_zero(types));
}

/// `dedicated`: may be null.
Result<VkDeviceMemory> import_memory(const Vulkan& vulkan, const VulkanMemory& memory, std::uint32_t type,
                                     const VkMemoryDedicatedAllocateInfo* dedicated)
{
    UniqueFd fd = TRY(duplicate(memory.fd));
    const VkImportMemoryFdInfoKHR import{
        .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR, .pNext = dedicated, .handleType = memory.type, .fd = fd.get()};
    const VkMemoryAllocateInfo info{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                    .pNext = &import,
                                    .allocationSize = memory.size,
                                    .memoryTypeIndex = type};
    VkDeviceMemory out = VK_NULL_HANDLE;
    const VkResult result = vulkan.allocate_memory(vulkan.device, &info, nullptr, &out);
    if (result != VK_SUCCESS) return fail_vulkan("vkAllocateMemory", result);
    [[maybe_unused]] const int owned_by_vulkan = fd.release();
    return out;
}

} // namespace

VulkanMemory whole_memory(const dmabroker_image& image, std::size_t index)
{
    VulkanMemory memory;
    memory.fd = image.image.fd(index);
    memory.size = identify(memory.fd).size;
    return memory;
}

VulkanMemory opaque_memory(const dmabroker_image& image)
{
    const ImageDesc& desc = image.image.desc();
    VulkanMemory memory;
    memory.fd = image.image.fd(0);
    memory.type = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
    memory.size = desc.memories[0].size;
    memory.dedicated = desc.opaque.dedicated;
    memory.allowed_types = desc.opaque.memory_type < 32 ? 1u << desc.opaque.memory_type : 0;
    return memory;
}

template <class Handle>
VulkanBound<Handle>::VulkanBound(VulkanBound&& other) noexcept
    : vulkan_(other.vulkan_),
      handle_(std::exchange(other.handle_, Handle(VK_NULL_HANDLE))),
      memory_(std::exchange(other.memory_, VkDeviceMemory(VK_NULL_HANDLE)))
{
}

template <class Handle> VulkanBound<Handle>::~VulkanBound()
{
    if (handle_) destroy(*vulkan_, handle_);
    if (memory_) vulkan_->free_memory(vulkan_->device, memory_, nullptr);
}

template <class Handle> VulkanBound<Handle>::Handles VulkanBound<Handle>::release()
{
    return {std::exchange(handle_, Handle(VK_NULL_HANDLE)), std::exchange(memory_, VkDeviceMemory(VK_NULL_HANDLE))};
}

template <class Handle> Result<> VulkanBound<Handle>::bind(const VulkanMemory& memory)
{
    const VkMemoryRequirements requirements = requirements_of(*vulkan_, handle_);
    if (memory.offset % requirements.alignment != 0)
        return fail(Errc::import_refused, "it begins at {}, this driver wants a multiple of {}", memory.offset,
                    requirements.alignment);
    if (!(Checked(memory.offset) + requirements.size).fits_in(memory.size))
        return fail(Errc::import_refused, "this driver wants {} bytes from {}, the memory has {}; pad the rows",
                    requirements.size, memory.offset, memory.size);
    const std::uint32_t type = TRY(choose_type(*vulkan_, memory, requirements));
    const VkMemoryDedicatedAllocateInfo dedicated = dedicated_to(handle_);
    memory_ = TRY(import_memory(*vulkan_, memory, type, memory.dedicated ? &dedicated : nullptr));
    return bind_memory(*vulkan_, handle_, memory_, memory.offset);
}

template class VulkanBound<VkImage>;
template class VulkanBound<VkBuffer>;

Result<VulkanImage> create_image(const Vulkan& vulkan, const VkImageCreateInfo& info)
{
    VkImage image = VK_NULL_HANDLE;
    const VkResult result = vulkan.create_image(vulkan.device, &info, nullptr, &image);
    if (result != VK_SUCCESS) return fail_vulkan("vkCreateImage", result);
    return VulkanImage(vulkan, image);
}

Result<VulkanBuffer> create_buffer(const Vulkan& vulkan, const VkBufferCreateInfo& info)
{
    VkBuffer buffer = VK_NULL_HANDLE;
    const VkResult result = vulkan.create_buffer(vulkan.device, &info, nullptr, &buffer);
    if (result != VK_SUCCESS) return fail_vulkan("vkCreateBuffer", result);
    return VulkanBuffer(vulkan, buffer);
}

} // namespace dmb::import
