// SPDX-License-Identifier: MIT
// The smallest Vulkan importer: image or buffer, import with the exporter's memory type and dedication, acquire
// from EXTERNAL (in GENERAL), copy each plane out.
#include "tests/drm/opaque_reader.hpp"

#include "daemon/worker/hold.hpp"

namespace dmb::test {
namespace {

using namespace worker;

VkExternalMemoryImageCreateInfo opaque_handle()
{
    VkExternalMemoryImageCreateInfo external{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO};
    external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
    return external;
}

Result<OwnedImage> repeat_image(const VulkanDevice& device, const ImageDesc& desc)
{
    const auto external = opaque_handle();
    VkImageCreateInfo create{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO, &external};
    create.flags = desc.opaque.vk_create_flags;
    create.imageType = VK_IMAGE_TYPE_2D;
    create.format = static_cast<VkFormat>(desc.opaque.vk_format);
    create.extent = {desc.size.width, desc.size.height, 1};
    create.mipLevels = create.arrayLayers = 1;
    create.samples = VK_SAMPLE_COUNT_1_BIT;
    create.tiling = desc.opaque.optimal_tiling ? VK_IMAGE_TILING_OPTIMAL : VK_IMAGE_TILING_LINEAR;
    create.usage = desc.opaque.vk_usage;
    VkImage image{};
    if (const VkResult r = vkCreateImage(device.get(), &create, nullptr, &image); r != VK_SUCCESS)
        return fail_vulkan("vkCreateImage", r);
    return OwnedImage(device.get(), image);
}

/// `dedicated`: to what it is, if its exporter said so.
Result<OwnedMemory> import_memory(const VulkanDevice& device, const ImageDesc& desc,
                                  const VkMemoryDedicatedAllocateInfo& dedicated, UniqueFd fd)
{
    VkImportMemoryFdInfoKHR import{VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR};
    import.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
    import.fd = fd.get();
    if (desc.opaque.dedicated) import.pNext = &dedicated;
    VkMemoryAllocateInfo allocate{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, &import};
    allocate.allocationSize = desc.memories[0].size;
    allocate.memoryTypeIndex = desc.opaque.memory_type;
    VkDeviceMemory memory{};
    if (const VkResult r = vkAllocateMemory(device.get(), &allocate, nullptr, &memory); r != VK_SUCCESS)
        return fail_vulkan("vkAllocateMemory", r);
    static_cast<void>(fd.release()); // Vulkan's now
    return OwnedMemory(device.get(), memory);
}

VkImageAspectFlags aspect(const FormatInfo& format, std::size_t plane)
{
    constexpr VkImageAspectFlagBits planes[] = {VK_IMAGE_ASPECT_PLANE_0_BIT, VK_IMAGE_ASPECT_PLANE_1_BIT,
                                                VK_IMAGE_ASPECT_PLANE_2_BIT};
    return format.plane_count == 1 ? VK_IMAGE_ASPECT_COLOR_BIT : planes[plane];
}

void acquire(VkCommandBuffer commands, const VulkanDevice& device, VkImage image)
{
    VkImageMemoryBarrier b{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
    b.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT;
    b.oldLayout = b.newLayout = VK_IMAGE_LAYOUT_GENERAL;
    b.srcQueueFamilyIndex = VK_QUEUE_FAMILY_EXTERNAL;
    b.dstQueueFamilyIndex = device.queue_family();
    b.image = image;
    b.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 0, nullptr, 0, nullptr,
                         1, &b);
}

/// One copy per plane: a copy's offset in the buffer has to suit the plane's texels and 4, so each starts at 0.
Result<> read_plane(VulkanDevice& device, VkImage image, const ImageDesc& desc, std::size_t plane, std::vector<std::byte>& out)
{
    const FormatInfo& format = *find_format(desc.format);
    const Extent extent = plane_extent(format, plane, desc.size);
    const std::uint64_t bytes = row_bytes(format, plane, desc.size.width) * extent.height;
    const Staging staging = TRY(device.make_staging(bytes));
    TRY(device.run([&](VkCommandBuffer commands) {
        acquire(commands, device, image);
        VkBufferImageCopy all{};
        all.imageSubresource = {aspect(format, plane), 0, 0, 1};
        all.imageExtent = {extent.width, extent.height, 1};
        vkCmdCopyImageToBuffer(commands, image, VK_IMAGE_LAYOUT_GENERAL, staging.buffer, 1, &all);
    }));
    out.insert(out.end(), staging.data, staging.data + bytes);
    return {};
}

Result<OwnedBuffer> make_buffer(const VulkanDevice& device, const ImageDesc& desc)
{
    VkExternalMemoryBufferCreateInfo external{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO};
    external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
    VkBufferCreateInfo create{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, &external};
    create.size = desc.size.width;
    create.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
    VkBuffer buffer{};
    if (const VkResult r = vkCreateBuffer(device.get(), &create, nullptr, &buffer); r != VK_SUCCESS)
        return fail_vulkan("vkCreateBuffer", r);
    return OwnedBuffer(device.get(), buffer);
}

void acquire(VkCommandBuffer commands, const VulkanDevice& device, VkBuffer buffer)
{
    VkBufferMemoryBarrier b{VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER};
    b.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT;
    b.srcQueueFamilyIndex = VK_QUEUE_FAMILY_EXTERNAL;
    b.dstQueueFamilyIndex = device.queue_family();
    b.buffer = buffer;
    b.size = VK_WHOLE_SIZE;
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 0, nullptr, 1, &b, 0,
                         nullptr);
}

Result<std::vector<std::byte>> read_buffer(VulkanDevice& device, const ImageDesc& desc, UniqueFd fd)
{
    OwnedMemory memory; // freed after the buffer
    const OwnedBuffer buffer = TRY(make_buffer(device, desc));
    VkMemoryDedicatedAllocateInfo dedicated{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};
    dedicated.buffer = buffer.get();
    memory = TRY(import_memory(device, desc, dedicated, std::move(fd)));
    if (const VkResult r = vkBindBufferMemory(device.get(), buffer.get(), memory.get(), 0); r != VK_SUCCESS)
        return fail_vulkan("vkBindBufferMemory", r);
    const Staging staging = TRY(device.make_staging(desc.size.width));
    TRY(device.run([&](VkCommandBuffer commands) {
        acquire(commands, device, buffer.get());
        const VkBufferCopy all{0, 0, desc.size.width};
        vkCmdCopyBuffer(commands, buffer.get(), staging.buffer, 1, &all);
    }));
    return std::vector<std::byte>(staging.data, staging.data + desc.size.width);
}

} // namespace

OpaqueReader::OpaqueReader()
{
    const auto count = caught([] { return gpu::VulkanContext::count(); });
    for (unsigned i = 0; count && i < *count; ++i) {
        Exporter info;
        if (auto device = VulkanDevice::create(i, info)) devices_.push_back(std::move(*device));
    }
}

Result<VulkanDevice*> OpaqueReader::find(const DeviceId& id)
{
    for (const auto& device : devices_)
        if (device->info().id == id) return device.get();
    return fail(Errc::not_found, "no Vulkan device has that UUID here");
}

Result<std::vector<std::byte>> OpaqueReader::read(const ImageDesc& desc, UniqueFd fd)
{
    VulkanDevice& device = *TRY(find(desc.device));
    if (desc.is_buffer()) return read_buffer(device, desc, std::move(fd));
    OwnedMemory memory; // freed after the image
    const OwnedImage image = TRY(repeat_image(device, desc));
    VkMemoryDedicatedAllocateInfo dedicated{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};
    dedicated.image = image.get();
    memory = TRY(import_memory(device, desc, dedicated, std::move(fd)));
    if (const VkResult r = vkBindImageMemory(device.get(), image.get(), memory.get(), 0); r != VK_SUCCESS)
        return fail_vulkan("vkBindImageMemory", r);
    std::vector<std::byte> out;
    for (std::size_t i = 0; i < find_format(desc.format)->plane_count; ++i) TRY(read_plane(device, image.get(), desc, i, out));
    return out;
}

} // namespace dmb::test
