// SPDX-License-Identifier: MIT
// dmabroker_vulkan_import_buffer: a VkBuffer over a buffer's memory. Unlike an image it need not repeat how its
// exporter created it: bytes are bytes. Whether the driver takes them is asked with the very usage before anything is
// created. Buffer and VkDeviceMemory are the caller's, until dmabroker_vulkan_release_buffer; on failure nothing
// remains.
#include "libclient/error.hpp"
#include "libclient/import/guard.hpp"
#include "libclient/import/vulkan_memory.hpp"

namespace dmb::import {
namespace {

constexpr VkBufferUsageFlags reading_a_buffer =
    VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;

struct Support {
    bool importable = false;
    bool dedicated = false; ///< with a dedicated allocation only
};

Support ask(const Vulkan& vulkan, VkBufferUsageFlags usage, VkExternalMemoryHandleTypeFlagBits type)
{
    const VkPhysicalDeviceExternalBufferInfo info{
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO, .usage = usage, .handleType = type};
    VkExternalBufferProperties found{.sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES};
    vulkan.get_external_buffer_properties(vulkan.physical, &info, &found);
    const VkExternalMemoryFeatureFlags features = found.externalMemoryProperties.externalMemoryFeatures;
    return {(features & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT) != 0,
            (features & VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT) != 0};
}

Result<> check_memory(const dmabroker_image& image, const Vulkan& vulkan, bool write)
{
    if (image.image.desc().kind == MemoryKind::opaque)
        return check_same_device(image, "Vulkan", vulkan.device_uuid, vulkan.driver_uuid);
    if (!vulkan.has_extension(VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME))
        return fail(Errc::import_refused, "this Vulkan driver has no VK_EXT_external_memory_dma_buf");
    return check_for_driver(image, vulkan.driver(), write);
}

Result<VulkanMemory> memory_of(const dmabroker_image& image)
{
    const ImageDesc& desc = image.image.desc();
    if (desc.kind == MemoryKind::opaque) return opaque_memory(image);
    VulkanMemory memory = whole_memory(image, desc.planes[0].memory);
    memory.offset = desc.planes[0].offset;
    memory.dedicated = false;
    return memory;
}

Result<> fill(const dmabroker_image& image, const Vulkan& loaded, VkBufferUsageFlags usage, bool write,
              dmabroker_vulkan_buffer& out)
{
    TRY(check_memory(image, loaded, write));
    const ImageDesc& desc = image.image.desc();
    VulkanMemory memory = TRY(memory_of(image));
    if (usage == 0) usage = write ? reading_a_buffer | VK_BUFFER_USAGE_TRANSFER_DST_BIT : reading_a_buffer;
    const Support support = ask(loaded, usage, memory.type);
    if (!support.importable)
        return fail(Errc::import_refused, "this Vulkan driver imports no buffers of usage {:#x} from {}", usage,
                    name(desc.kind));
    memory.dedicated |= support.dedicated;
    const VkExternalMemoryBufferCreateInfo external{.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
                                                    .handleTypes = static_cast<VkExternalMemoryHandleTypeFlags>(memory.type)};
    const VkBufferCreateInfo info{.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                  .pNext = &external,
                                  .size = desc.size.width,
                                  .usage = usage,
                                  .sharingMode = VK_SHARING_MODE_EXCLUSIVE};
    VulkanBuffer buffer = TRY(create_buffer(loaded, info));
    TRY(buffer.bind(memory));
    const VulkanBuffer::Handles handles = buffer.release();
    out.buffer = handles.handle;
    out.memory = handles.memory;
    out.size = info.size;
    out.usage = usage;
    out.external_queue_family = loaded.external_family(desc.kind);
    return {};
}

Result<> import_buffer(const dmabroker_image* image, const dmabroker_vulkan* vulkan, VkBufferUsageFlags usage,
                       std::uint32_t flags, dmabroker_vulkan_buffer* out)
{
    return fill_struct(out, [&](dmabroker_vulkan_buffer& made) -> Result<> {
        TRY(require(image, "image"));
        TRY(check_buffer(*image, flags));
        const Vulkan loaded = TRY(Vulkan::load(vulkan));
        return fill(*image, loaded, usage, (flags & DMABROKER_IMPORT_WRITE) != 0, made);
    });
}

Result<> release(const dmabroker_vulkan* vulkan, dmabroker_vulkan_buffer* given)
{
    const dmabroker_vulkan_buffer buffer = TRY(read_struct(given));
    const Vulkan loaded = TRY(Vulkan::load_release(vulkan));
    loaded.destroy_buffer(loaded.device, buffer.buffer, nullptr);
    loaded.free_memory(loaded.device, buffer.memory, nullptr);
    return write_struct(dmabroker_vulkan_buffer{}, given);
}

} // namespace
} // namespace dmb::import

extern "C" {

DMABROKER_API int dmabroker_vulkan_import_buffer(const dmabroker_image* image, const dmabroker_vulkan* vulkan,
                                                 VkBufferUsageFlags usage, uint32_t flags, dmabroker_vulkan_buffer* buffer,
                                                 dmabroker_error* error)
{
    return dmb::guard(error, [&] { return dmb::import::import_buffer(image, vulkan, usage, flags, buffer); });
}

DMABROKER_API void dmabroker_vulkan_release_buffer(const dmabroker_vulkan* vulkan, dmabroker_vulkan_buffer* buffer)
{
    dmb::guard(nullptr, [&] { return dmb::import::release(vulkan, buffer); });
}
}
