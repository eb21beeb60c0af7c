// SPDX-License-Identifier: MIT
// One queue, one submission at a time, waited for: the matrix wants to know about memory, not about
// speed. Every copy acquires the images from outside first and gives them back after.
#include "tests/drm/matrix/vulkan_context.hpp"

#include <cstring>
#include <fmt/core.h>
#include <stdexcept>
#include <vulkan/vulkan.h>

namespace dmb::matrix {
namespace {

void check(VkResult result, const char* call)
{
    if (result != VK_SUCCESS) throw std::runtime_error(fmt::format("{}: VkResult {}", call, static_cast<int>(result)));
}

/// Planes start on multiples of this in the staging buffer: more than any texel's alignment.
constexpr VkDeviceSize plane_alignment = 256;

std::vector<VkDeviceSize> plane_offsets(FourCC format, Extent size, VkDeviceSize& total)
{
    std::vector<VkDeviceSize> offsets;
    total = 0;
    for (const PlaneShape& shape : shapes(format, size)) {
        offsets.push_back(total);
        total += VkDeviceSize{shape.row()} * shape.texels.height;
        total = (total + plane_alignment - 1) / plane_alignment * plane_alignment;
    }
    return offsets;
}

class Staging {
public:
    Staging(VkPhysicalDevice physical, VkDevice device, VkDeviceSize size) : device_(device)
    {
        VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
        info.size = size;
        info.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
        check(vkCreateBuffer(device, &info, nullptr, &buffer_), "vkCreateBuffer");
        VkMemoryRequirements needs;
        vkGetBufferMemoryRequirements(device, buffer_, &needs);
        VkMemoryAllocateInfo allocate{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
        allocate.allocationSize = needs.size;
        allocate.memoryTypeIndex = host_type(physical, needs.memoryTypeBits);
        check(vkAllocateMemory(device, &allocate, nullptr, &memory_), "vkAllocateMemory");
        check(vkBindBufferMemory(device, buffer_, memory_, 0), "vkBindBufferMemory");
        void* mapped = nullptr;
        check(vkMapMemory(device, memory_, 0, VK_WHOLE_SIZE, 0, &mapped), "vkMapMemory");
        mapped_ = static_cast<std::uint8_t*>(mapped);
    }
    Staging(const Staging&) = delete;
    Staging& operator=(const Staging&) = delete;
    ~Staging()
    {
        vkDestroyBuffer(device_, buffer_, nullptr);
        vkFreeMemory(device_, memory_, nullptr);
    }
    VkBuffer buffer() const { return buffer_; }
    std::uint8_t* data() { return mapped_; }

private:
    static std::uint32_t host_type(VkPhysicalDevice physical, std::uint32_t allowed)
    {
        VkPhysicalDeviceMemoryProperties memory;
        vkGetPhysicalDeviceMemoryProperties(physical, &memory);
        constexpr VkMemoryPropertyFlags wanted = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
        for (std::uint32_t i = 0; i < memory.memoryTypeCount; ++i)
            if ((allowed >> i & 1) && (memory.memoryTypes[i].propertyFlags & wanted) == wanted) return i;
        throw std::runtime_error("no coherent host memory");
    }

    VkDevice device_;
    VkBuffer buffer_ = VK_NULL_HANDLE;
    VkDeviceMemory memory_ = VK_NULL_HANDLE;
    std::uint8_t* mapped_ = nullptr;
};

std::vector<const char*> wanted_extensions(VkPhysicalDevice physical)
{
    static constexpr const char* useful[] = {"VK_KHR_external_memory_fd", "VK_EXT_external_memory_dma_buf",
                                             "VK_EXT_image_drm_format_modifier", "VK_EXT_queue_family_foreign",
                                             "VK_KHR_image_format_list"};
    std::uint32_t count = 0;
    vkEnumerateDeviceExtensionProperties(physical, nullptr, &count, nullptr);
    std::vector<VkExtensionProperties> list(count);
    vkEnumerateDeviceExtensionProperties(physical, nullptr, &count, list.data());
    std::vector<const char*> out;
    for (const char* name : useful)
        for (const auto& extension : list)
            if (std::strcmp(name, extension.extensionName) == 0) out.push_back(name);
    return out;
}

VkImageAspectFlagBits aspect_of(const dmabroker_vulkan_images& images, std::size_t plane, std::size_t planes)
{
    if (images.count > 1 || planes == 1) return VK_IMAGE_ASPECT_COLOR_BIT;
    return plane == 0 ? VK_IMAGE_ASPECT_PLANE_0_BIT : plane == 1 ? VK_IMAGE_ASPECT_PLANE_1_BIT : VK_IMAGE_ASPECT_PLANE_2_BIT;
}

VkExtent3D extent_of(const dmabroker_vulkan_images& images, std::size_t plane, const std::vector<PlaneShape>& all)
{
    if (all.size() == 1) return {images.extents[0].width, images.extents[0].height, 1}; // pixels, also of 2x1 blocks
    return {all[plane].texels.width, all[plane].texels.height, 1};
}

} // namespace

VulkanContext::VulkanContext()
{
    VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO};
    application.apiVersion = VK_API_VERSION_1_1;
    VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    info.pApplicationInfo = &application;
    check(vkCreateInstance(&info, nullptr, &instance_), "vkCreateInstance");
    std::uint32_t count = 1;
    vkEnumeratePhysicalDevices(instance_, &count, &physical_);
    if (count == 0) throw std::runtime_error("no Vulkan device");
    create_device();
    create_pool();
    handles_ = {sizeof(dmabroker_vulkan), instance_, physical_, device_, vkGetInstanceProcAddr};
}

void VulkanContext::create_device()
{
    const float priority = 1;
    VkDeviceQueueCreateInfo queue{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
    queue.queueCount = 1; // family 0: graphics on every driver met so far
    queue.pQueuePriorities = &priority;
    VkPhysicalDeviceSamplerYcbcrConversionFeatures ycbcr{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SAMPLER_YCBCR_CONVERSION_FEATURES};
    VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &ycbcr, {}};
    vkGetPhysicalDeviceFeatures2(physical_, &features);
    features.features = {};
    const auto extensions = wanted_extensions(physical_);
    VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, &features};
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queue;
    info.enabledExtensionCount = static_cast<std::uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    check(vkCreateDevice(physical_, &info, nullptr, &device_), "vkCreateDevice");
    vkGetDeviceQueue(device_, 0, 0, &queue_);
}

void VulkanContext::create_pool()
{
    VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    check(vkCreateCommandPool(device_, &info, nullptr, &pool_), "vkCreateCommandPool");
}

VulkanContext::~VulkanContext()
{
    if (device_) {
        vkDestroyCommandPool(device_, pool_, nullptr);
        vkDestroyDevice(device_, nullptr);
    }
    if (instance_) vkDestroyInstance(instance_, nullptr);
}

void VulkanContext::submit(const std::function<void(VkCommandBuffer)>& record)
{
    VkCommandBufferAllocateInfo allocate{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
    allocate.commandPool = pool_;
    allocate.commandBufferCount = 1;
    VkCommandBuffer commands;
    check(vkAllocateCommandBuffers(device_, &allocate, &commands), "vkAllocateCommandBuffers");
    VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    check(vkBeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
    record(commands);
    check(vkEndCommandBuffer(commands), "vkEndCommandBuffer");
    VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    info.commandBufferCount = 1;
    info.pCommandBuffers = &commands;
    check(vkQueueSubmit(queue_, 1, &info, VK_NULL_HANDLE), "vkQueueSubmit");
    check(vkQueueWaitIdle(queue_), "vkQueueWaitIdle");
    vkFreeCommandBuffers(device_, pool_, 1, &commands);
}

void VulkanContext::barrier(VkCommandBuffer commands, const dmabroker_vulkan_images& images, bool acquire)
{
    for (std::uint32_t i = 0; i < images.count; ++i) {
        VkImageMemoryBarrier change{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
        change.srcAccessMask = change.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
        change.oldLayout = acquire ? images.external_layout : VK_IMAGE_LAYOUT_GENERAL;
        change.newLayout = acquire ? VK_IMAGE_LAYOUT_GENERAL : images.external_layout;
        change.srcQueueFamilyIndex = acquire ? images.external_queue_family : 0;
        change.dstQueueFamilyIndex = acquire ? 0 : images.external_queue_family;
        change.image = images.images[i];
        change.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
        vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, nullptr, 0,
                             nullptr, 1, &change);
    }
}

void VulkanContext::record(VkCommandBuffer commands, const dmabroker_vulkan_images& images, FourCC format, Extent size,
                           Direction direction, VkBuffer buffer)
{
    VkDeviceSize total;
    const auto all = shapes(format, size);
    const auto offsets = plane_offsets(format, size, total);
    for (std::size_t plane = 0; plane < all.size(); ++plane) {
        VkBufferImageCopy region{};
        region.bufferOffset = offsets[plane];
        region.imageSubresource = {static_cast<VkImageAspectFlags>(aspect_of(images, plane, all.size())), 0, 0, 1};
        region.imageExtent = extent_of(images, plane, all);
        const VkImage image = images.images[images.count > 1 ? plane : 0];
        if (direction == Direction::from_image)
            vkCmdCopyImageToBuffer(commands, image, VK_IMAGE_LAYOUT_GENERAL, buffer, 1, &region);
        else vkCmdCopyBufferToImage(commands, buffer, image, VK_IMAGE_LAYOUT_GENERAL, 1, &region);
    }
}

void VulkanContext::copy(const dmabroker_vulkan_images& images, FourCC format, Extent size, Direction direction,
                         std::vector<std::uint8_t>& bytes)
{
    Staging staging(physical_, device_, bytes.size());
    std::memcpy(staging.data(), bytes.data(), bytes.size());
    submit([&](VkCommandBuffer commands) {
        barrier(commands, images, true);
        record(commands, images, format, size, direction, staging.buffer());
        barrier(commands, images, false);
    });
    std::memcpy(bytes.data(), staging.data(), bytes.size());
}

Pixels VulkanContext::read(const dmabroker_vulkan_images& images, FourCC format, Extent size)
{
    VkDeviceSize total;
    const auto offsets = plane_offsets(format, size, total);
    std::vector<std::uint8_t> bytes(total, 0xa5);
    copy(images, format, size, Direction::from_image, bytes);
    Pixels out{format, size, {}};
    const auto all = shapes(format, size);
    for (std::size_t p = 0; p < all.size(); ++p) {
        const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(offsets[p]);
        out.planes.emplace_back(first, first + static_cast<std::ptrdiff_t>(all[p].row() * all[p].texels.height));
    }
    return out;
}

void VulkanContext::write(const dmabroker_vulkan_images& images, const Pixels& pixels)
{
    VkDeviceSize total;
    const auto offsets = plane_offsets(pixels.format, pixels.size, total);
    std::vector<std::uint8_t> bytes(total);
    for (std::size_t p = 0; p < offsets.size(); ++p)
        std::memcpy(bytes.data() + offsets[p], pixels.planes[p].data(), pixels.planes[p].size());
    copy(images, pixels.format, pixels.size, Direction::to_image, bytes);
}

} // namespace dmb::matrix
