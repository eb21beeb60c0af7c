// SPDX-License-Identifier: MIT
// The application's Vulkan: its functions, its device, and whether that is a software one.
#pragma once
#include "libclient/arguments.hpp"
#include "libclient/import/guard.hpp"

#include <dmabroker/vulkan.h>
#include <vector>

namespace dmb {
template <> inline constexpr std::size_t oldest_size<dmabroker_vulkan_images> = offsetof(dmabroker_vulkan_images, ycbcr_model);
}

namespace dmb::import {

class Vulkan {
public:
    static Result<Vulkan> load(const dmabroker_vulkan*);
    /// What release() needs, without asking the device for anything.
    static Result<Vulkan> load_release(const dmabroker_vulkan*);
    /// For questions about the physical device: `device` may be null.
    static Result<Vulkan> load_physical(const dmabroker_vulkan*);

    Driver driver() const { return {"Vulkan", software}; }
    bool has_extension(std::string_view name) const; ///< of the physical device
    bool has_modifiers() const { return modifiers_enabled; }
    /// To whom such memory belongs while others use it.
    std::uint32_t external_family(MemoryKind) const;
    /// What the driver lists for the format (VkDrmFormatModifierPropertiesListEXT).
    std::vector<VkDrmFormatModifierPropertiesEXT> list_modifiers(VkFormat) const;

    VkPhysicalDevice physical = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    bool software = false;
    bool modifiers_enabled = false;
    Uuid device_uuid{}, driver_uuid{};

    PFN_vkGetPhysicalDeviceProperties2 get_properties = nullptr;
    PFN_vkGetPhysicalDeviceFormatProperties2 get_format_properties = nullptr;
    PFN_vkGetPhysicalDeviceImageFormatProperties2 get_image_format_properties = nullptr;
    PFN_vkGetPhysicalDeviceExternalBufferProperties get_external_buffer_properties = nullptr;
    PFN_vkEnumerateDeviceExtensionProperties enumerate_extensions = nullptr;
    PFN_vkCreateImage create_image = nullptr;
    PFN_vkDestroyImage destroy_image = nullptr;
    PFN_vkGetImageMemoryRequirements get_image_requirements = nullptr;
    PFN_vkGetImageSubresourceLayout get_layout = nullptr;
    PFN_vkAllocateMemory allocate_memory = nullptr;
    PFN_vkFreeMemory free_memory = nullptr;
    PFN_vkBindImageMemory bind_image = nullptr;
    PFN_vkCreateBuffer create_buffer = nullptr;
    PFN_vkDestroyBuffer destroy_buffer = nullptr;
    PFN_vkGetBufferMemoryRequirements get_buffer_requirements = nullptr;
    PFN_vkBindBufferMemory bind_buffer = nullptr;
    PFN_vkGetMemoryFdPropertiesKHR get_fd_properties = nullptr;
    PFN_vkGetMemoryFdKHR get_memory_fd = nullptr;
    PFN_vkGetImageDrmFormatModifierPropertiesEXT get_modifier = nullptr; ///< with has_modifiers()

private:
    Vulkan() = default;
    static Result<Vulkan> of_app(const dmabroker_vulkan*);
    Result<> load_questions();
    void identify_device();
    dmabroker_vulkan app_{}; ///< what the application handed in
};

/// import_failed, with the result in words.
std::unexpected<Error> fail_vulkan(std::string_view call, VkResult);

} // namespace dmb::import
