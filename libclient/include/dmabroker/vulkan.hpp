// SPDX-License-Identifier: MIT
/** @file
 * vulkan.h for C++: `auto images = dmabroker::vulkan::import(image, {instance, physical, device, vkGetInstanceProcAddr});`
 */
#ifndef DMABROKER_VULKAN_HPP
#define DMABROKER_VULKAN_HPP

#include <dmabroker/capabilities.hpp>
#include <dmabroker/export.hpp>
#include <dmabroker/import.hpp>
#include <dmabroker/vulkan.h>

namespace dmabroker::vulkan {

struct Device {
    VkInstance instance = VK_NULL_HANDLE;
    VkPhysicalDevice physical_device = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    PFN_vkGetInstanceProcAddr get_instance_proc_addr = nullptr;

    dmabroker_vulkan native() const noexcept
    {
        return {sizeof(dmabroker_vulkan), instance, physical_device, device, get_instance_proc_addr};
    }
};

/** What the physical device can import; `device` may be null. */
inline Capabilities capabilities(const Device& device)
{
    const dmabroker_vulkan vulkan = device.native();
    return Capabilities::made(dmabroker_vulkan_capabilities, &vulkan);
}

/** The VkImages of one image with their memory; destroyed with it. Wait for their last use first. */
class Images : public detail::Imported<Device, dmabroker_vulkan_images, dmabroker_vulkan_import, dmabroker_vulkan_release> {
public:
    using Imported::Imported;
    VkImage image(std::uint32_t index = 0) const noexcept { return made_.images[index]; }
};

/** `usage` and `flags`: as dmabroker_vulkan_import says. */
inline Images import(const Image& image, const Device& device, VkImageUsageFlags usage = 0, std::uint32_t flags = 0)
{
    return Images(image, device, usage, flags);
}

/** The VkBuffer of one buffer with its memory; destroyed with it. Wait for their last use first. */
class Buffer : public detail::Imported<Device, dmabroker_vulkan_buffer, dmabroker_vulkan_import_buffer,
                                       dmabroker_vulkan_release_buffer> {
public:
    using Imported::Imported;
    VkBuffer buffer() const noexcept { return made_.buffer; }
};

/** `usage` and `flags`: as dmabroker_vulkan_import_buffer says. */
inline Buffer import_buffer(const Image& image, const Device& device, VkBufferUsageFlags usage = 0, std::uint32_t flags = 0)
{
    return Buffer(image, device, usage, flags);
}

/** See dmabroker_vulkan_export. */
inline Image export_image(Client& client, const Device& device, dmabroker_vulkan_source source,
                          const ExportOptions& options = {})
{
    const dmabroker_vulkan vulkan = device.native();
    source.struct_size = sizeof source;
    return detail::exported(dmabroker_vulkan_export, options, client, &vulkan, &source);
}

} // namespace dmabroker::vulkan

#endif
