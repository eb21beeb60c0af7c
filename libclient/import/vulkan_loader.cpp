// SPDX-License-Identifier: MIT
// Vulkan: the functions that an importer needs and what the device says about itself; it lives for one call and owns
// nothing. Everything comes from the application's vkGetInstanceProcAddr. Whether an extension was enabled on the
// device cannot be asked in Vulkan; a function of it that resolves is the nearest answer. Three ways to load: to
// import, to ask the physical device, to release.
#include "libclient/import/vulkan_loader.hpp"

#include <algorithm>
#include <cstring>

namespace dmb::import {
namespace {

std::string_view result_word(VkResult result)
{
    switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY: return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY: return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED: return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST: return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_TOO_MANY_OBJECTS: return "VK_ERROR_TOO_MANY_OBJECTS";
    case VK_ERROR_FORMAT_NOT_SUPPORTED: return "VK_ERROR_FORMAT_NOT_SUPPORTED (not with this size, modifier and usage)";
    case VK_ERROR_INVALID_EXTERNAL_HANDLE: return "VK_ERROR_INVALID_EXTERNAL_HANDLE (the driver cannot take this memory)";
    case VK_ERROR_INVALID_DRM_FORMAT_MODIFIER_PLANE_LAYOUT_EXT:
        return "VK_ERROR_INVALID_DRM_FORMAT_MODIFIER_PLANE_LAYOUT_EXT (the driver wants another stride or offset)";
    default: return "a Vulkan error";
    }
}

struct Loader {
    const dmabroker_vulkan& vulkan;
    PFN_vkGetDeviceProcAddr get_device_proc = nullptr;
    bool complete = true;

    template <class Function> bool instance(const char* name, Function& out)
    {
        out = reinterpret_cast<Function>(vulkan.get_instance_proc_addr(vulkan.instance, name));
        complete &= out != nullptr;
        return out != nullptr;
    }
    template <class Function> bool optional_device(const char* name, Function& out)
    {
        out = get_device_proc ? reinterpret_cast<Function>(get_device_proc(vulkan.device, name)) : nullptr;
        return out != nullptr;
    }
    template <class Function> void device(const char* name, Function& out) { complete &= optional_device(name, out); }
};

} // namespace

std::unexpected<Error> fail_vulkan(std::string_view call, VkResult result)
{
    return fail(Errc::import_failed, "{}: {}, {}", call, result_word(result), static_cast<int>(result));
}

Result<Vulkan> Vulkan::of_app(const dmabroker_vulkan* given)
{
    Vulkan out;
    out.app_ = TRY(read_struct(given));
    if (!out.app_.instance || !out.app_.physical_device || !out.app_.get_instance_proc_addr)
        return fail(Errc::invalid_argument, "dmabroker_vulkan needs instance, physical_device and loader");
    out.physical = out.app_.physical_device;
    out.device = out.app_.device;
    return out;
}

Result<Vulkan> Vulkan::load_release(const dmabroker_vulkan* given)
{
    Vulkan out = TRY(of_app(given));
    if (!out.device) return fail(Errc::invalid_argument, "dmabroker_vulkan needs a device too");
    Loader loader{out.app_};
    loader.instance("vkGetDeviceProcAddr", loader.get_device_proc);
    loader.device("vkDestroyImage", out.destroy_image);
    loader.device("vkDestroyBuffer", out.destroy_buffer);
    loader.device("vkFreeMemory", out.free_memory);
    if (!loader.complete) return fail(Errc::import_refused, "get_instance_proc_addr does not know Vulkan's core functions");
    return out;
}

Result<> Vulkan::load_questions()
{
    Loader loader{app_};
    loader.instance("vkGetPhysicalDeviceProperties2", get_properties);
    loader.instance("vkGetPhysicalDeviceFormatProperties2", get_format_properties);
    loader.instance("vkGetPhysicalDeviceImageFormatProperties2", get_image_format_properties);
    loader.instance("vkGetPhysicalDeviceExternalBufferProperties", get_external_buffer_properties);
    loader.instance("vkEnumerateDeviceExtensionProperties", enumerate_extensions);
    if (loader.complete) return {};
    return fail(Errc::import_refused, "Vulkan 1.1 functions are missing; create the instance with apiVersion 1.1 or later");
}

Result<Vulkan> Vulkan::load_physical(const dmabroker_vulkan* given)
{
    Vulkan out = TRY(of_app(given));
    TRY(out.load_questions());
    return out;
}

Result<Vulkan> Vulkan::load(const dmabroker_vulkan* given)
{
    Vulkan out = TRY(load_release(given));
    TRY(out.load_questions());
    Loader loader{out.app_};
    loader.instance("vkGetDeviceProcAddr", loader.get_device_proc);
    loader.device("vkCreateImage", out.create_image);
    loader.device("vkGetImageMemoryRequirements", out.get_image_requirements);
    loader.device("vkGetImageSubresourceLayout", out.get_layout);
    loader.device("vkAllocateMemory", out.allocate_memory);
    loader.device("vkBindImageMemory", out.bind_image);
    loader.device("vkCreateBuffer", out.create_buffer);
    loader.device("vkGetBufferMemoryRequirements", out.get_buffer_requirements);
    loader.device("vkBindBufferMemory", out.bind_buffer);
    if (!loader.complete) return fail(Errc::import_refused, "get_instance_proc_addr does not know Vulkan's core functions");
    if (!loader.optional_device("vkGetMemoryFdPropertiesKHR", out.get_fd_properties) ||
        !loader.optional_device("vkGetMemoryFdKHR", out.get_memory_fd))
        return fail(Errc::import_refused, "the device was created without VK_KHR_external_memory_fd; enable it");
    out.modifiers_enabled = loader.optional_device("vkGetImageDrmFormatModifierPropertiesEXT", out.get_modifier) &&
                            out.has_extension(VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME);
    out.identify_device();
    return out;
}

void Vulkan::identify_device()
{
    VkPhysicalDeviceIDProperties id{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES};
    VkPhysicalDeviceProperties2 properties{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &id};
    get_properties(physical, &properties);
    software = properties.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    std::memcpy(device_uuid.data(), id.deviceUUID, device_uuid.size());
    std::memcpy(driver_uuid.data(), id.driverUUID, driver_uuid.size());
}

std::vector<VkDrmFormatModifierPropertiesEXT> Vulkan::list_modifiers(VkFormat format) const
{
    VkDrmFormatModifierPropertiesListEXT list{.sType = VK_STRUCTURE_TYPE_DRM_FORMAT_MODIFIER_PROPERTIES_LIST_EXT};
    VkFormatProperties2 properties{.sType = VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2, .pNext = &list};
    get_format_properties(physical, format, &properties);
    std::vector<VkDrmFormatModifierPropertiesEXT> entries(list.drmFormatModifierCount);
    list.pDrmFormatModifierProperties = entries.data();
    get_format_properties(physical, format, &properties);
    entries.resize(std::min<std::size_t>(entries.size(), list.drmFormatModifierCount));
    return entries;
}

std::uint32_t Vulkan::external_family(MemoryKind kind) const
{
    const bool foreign = kind != MemoryKind::opaque && has_extension(VK_EXT_QUEUE_FAMILY_FOREIGN_EXTENSION_NAME);
    return foreign ? VK_QUEUE_FAMILY_FOREIGN_EXT : VK_QUEUE_FAMILY_EXTERNAL;
}

bool Vulkan::has_extension(std::string_view name) const
{
    std::uint32_t count = 0;
    if (enumerate_extensions(physical, nullptr, &count, nullptr) != VK_SUCCESS) return false;
    std::vector<VkExtensionProperties> list(count);
    if (enumerate_extensions(physical, nullptr, &count, list.data()) < VK_SUCCESS) return false;
    for (const VkExtensionProperties& extension : list)
        if (name == extension.extensionName) return true;
    return false;
}

} // namespace dmb::import
