// SPDX-License-Identifier: MIT
/** @file
 * vulkan.h for C++: `auto images = dmabroker::vulkan::import(image, {instance, physical, device, vkGetInstanceProcAddr});`
 */
#ifndef DMABROKER_VULKAN_HPP
#define DMABROKER_VULKAN_HPP

#include <dmabroker/capabilities.hpp>
#include <dmabroker/vulkan.h>

namespace dmabroker::vulkan {

struct Device {
    VkInstance instance = VK_NULL_HANDLE;
    VkPhysicalDevice physical_device = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    PFN_vkGetInstanceProcAddr get_instance_proc_addr = nullptr;
};

/** What the physical device can import; `device` may be null. */
inline Capabilities capabilities(const Device& device)
{
    const dmabroker_vulkan vulkan{sizeof vulkan, device.instance, device.physical_device, device.device,
                                  device.get_instance_proc_addr};
    return Capabilities::made(dmabroker_vulkan_capabilities, &vulkan);
}

/** The VkImages of one image with their memory; destroyed with it. Wait for their last use first. */
class Images {
public:
    Images(Images&& other) noexcept : vulkan_(other.vulkan_), images_(std::exchange(other.images_, {})) {}
    Images& operator=(Images&& other) noexcept
    {
        std::swap(vulkan_, other.vulkan_);
        std::swap(images_, other.images_);
        return *this;
    }
    ~Images()
    {
        if (images_.count) dmabroker_vulkan_release(&vulkan_, &images_);
    }

    VkImage image(std::uint32_t index = 0) const noexcept { return images_.images[index]; }
    const dmabroker_vulkan_images& get() const noexcept { return images_; }
    const dmabroker_vulkan_images* operator->() const noexcept { return &images_; }

private:
    friend Images import(const Image&, const Device&, VkImageUsageFlags, std::uint32_t);
    Images(const Image& image, const Device& device, VkImageUsageFlags usage, std::uint32_t flags)
        : vulkan_{sizeof vulkan_, device.instance, device.physical_device, device.device, device.get_instance_proc_addr}
    {
        images_.struct_size = sizeof images_;
        detail::call(dmabroker_vulkan_import, image.native(), &vulkan_, usage, flags, &images_);
    }
    dmabroker_vulkan vulkan_{};
    dmabroker_vulkan_images images_{};
};

/** `usage` and `flags`: as dmabroker_vulkan_import says. */
inline Images import(const Image& image, const Device& device, VkImageUsageFlags usage = 0, std::uint32_t flags = 0)
{
    return Images(image, device, usage, flags);
}

/** The VkBuffer of one buffer with its memory; destroyed with it. Wait for their last use first. */
class Buffer {
public:
    Buffer(Buffer&& other) noexcept : vulkan_(other.vulkan_), buffer_(std::exchange(other.buffer_, {})) {}
    Buffer& operator=(Buffer&& other) noexcept
    {
        std::swap(vulkan_, other.vulkan_);
        std::swap(buffer_, other.buffer_);
        return *this;
    }
    ~Buffer()
    {
        if (buffer_.buffer) dmabroker_vulkan_release_buffer(&vulkan_, &buffer_);
    }

    VkBuffer buffer() const noexcept { return buffer_.buffer; }
    const dmabroker_vulkan_buffer& get() const noexcept { return buffer_; }
    const dmabroker_vulkan_buffer* operator->() const noexcept { return &buffer_; }

private:
    friend Buffer import_buffer(const Image&, const Device&, VkBufferUsageFlags, std::uint32_t);
    Buffer(const Image& image, const Device& device, VkBufferUsageFlags usage, std::uint32_t flags)
        : vulkan_{sizeof vulkan_, device.instance, device.physical_device, device.device, device.get_instance_proc_addr}
    {
        buffer_.struct_size = sizeof buffer_;
        detail::call(dmabroker_vulkan_import_buffer, image.native(), &vulkan_, usage, flags, &buffer_);
    }
    dmabroker_vulkan vulkan_{};
    dmabroker_vulkan_buffer buffer_{};
};

/** `usage` and `flags`: as dmabroker_vulkan_import_buffer says. */
inline Buffer import_buffer(const Image& image, const Device& device, VkBufferUsageFlags usage = 0, std::uint32_t flags = 0)
{
    return Buffer(image, device, usage, flags);
}

} // namespace dmabroker::vulkan

#endif
