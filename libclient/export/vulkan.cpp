// SPDX-License-Identifier: MIT
// A VkImage and its memory through vkGetMemoryFdKHR. With tiling DRM_FORMAT_MODIFIER the driver says which modifier it chose
// and where each memory plane lies (VK_EXT_image_drm_format_modifier); with LINEAR it says where each plane of the
// format lies. OPTIMAL tiling has no layout that another driver could know.
#include "libclient/export/exported.hpp"

#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/import/vulkan_loader.hpp"
#include "proto/base/checked.hpp"
#include "proto/image/format_table.hpp"

#include <algorithm>

namespace dmb::exporting {
namespace {

using import::fail_vulkan;
using import::Vulkan;

constexpr VkImageAspectFlagBits memory_planes[] = {
    VK_IMAGE_ASPECT_MEMORY_PLANE_0_BIT_EXT, VK_IMAGE_ASPECT_MEMORY_PLANE_1_BIT_EXT, VK_IMAGE_ASPECT_MEMORY_PLANE_2_BIT_EXT,
    VK_IMAGE_ASPECT_MEMORY_PLANE_3_BIT_EXT};
constexpr VkImageAspectFlagBits format_planes[] = {VK_IMAGE_ASPECT_PLANE_0_BIT, VK_IMAGE_ASPECT_PLANE_1_BIT,
                                                   VK_IMAGE_ASPECT_PLANE_2_BIT};

/// The fourcc that was asked for, or the first with these bits: that with alpha.
Result<const FormatInfo*> find_source_format(const dmabroker_vulkan_source& from)
{
    const auto fits = [&](const FormatInfo& format) {
        return format.vk_format == static_cast<std::uint32_t>(from.format) &&
               (from.fourcc ? format.fourcc.value == from.fourcc : !format.vk_ignores_alpha);
    };
    const auto all = all_formats();
    const auto found = from.format == VK_FORMAT_UNDEFINED ? all.end() : std::ranges::find_if(all, fits);
    if (found != all.end()) return &*found;
    if (from.fourcc)
        return fail(Errc::unknown_format, "the bits of VkFormat {} are not those of {}", static_cast<int>(from.format),
                    to_string(FourCC{from.fourcc}));
    return fail(Errc::unknown_format, "no DRM format has the bits of VkFormat {}", static_cast<int>(from.format));
}

Result<> check_source(const dmabroker_vulkan_source& from)
{
    if (!from.image || !from.memory) return fail(Errc::invalid_argument, "pass a VkImage and the VkDeviceMemory behind it");
    if (from.handle_type == VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT)
        return fail(Errc::unsupported, "OPAQUE_FD memory of a client cannot be registered: nobody but its driver can check it; "
                                       "allocate it from the broker (DMABROKER_BACKEND_VULKAN_OPAQUE), or export a DMA_BUF");
    if (from.handle_type != VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT)
        return fail(Errc::invalid_argument, "handle type {:#x}: only DMA_BUF_BIT_EXT can be registered",
                    static_cast<unsigned>(from.handle_type));
    if (from.tiling == VK_IMAGE_TILING_OPTIMAL)
        return fail(Errc::unsupported, "OPTIMAL tiling has no layout that others know; create the image with "
                                       "VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT");
    return {};
}

class Exporter {
public:
    Exporter(const Vulkan& vulkan, const dmabroker_vulkan_source& from, const FormatInfo& format)
        : vulkan_(vulkan), from_(from), format_(format)
    {
    }

    Result<Exported> run(const dmabroker_export_options& options)
    {
        Modifier modifier = modifier_linear;
        std::size_t planes = format_.plane_count;
        const bool by_modifier = from_.tiling == VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT;
        if (by_modifier) {
            modifier = TRY(find_modifier());
            planes = TRY(count_planes(modifier));
        }
        Exported exported = TRY(Exported::begin({from_.width, from_.height}, format_.fourcc, modifier, options));
        UniqueFd fd = TRY(get_fd());
        const std::uint8_t memory = TRY(exported.add_memory(std::move(fd)));
        for (std::size_t i = 0; i < planes; ++i) {
            const auto aspect = by_modifier ? memory_planes[i] : planes == 1 ? VK_IMAGE_ASPECT_COLOR_BIT : format_planes[i];
            TRY(add_plane(exported, memory, aspect));
        }
        DeviceId id;
        id.device_uuid = vulkan_.device_uuid;
        id.driver_uuid = vulkan_.driver_uuid;
        exported.set_device(id);
        return exported;
    }

private:
    Result<Modifier> find_modifier() const
    {
        VkImageDrmFormatModifierPropertiesEXT found{.sType = VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_PROPERTIES_EXT};
        if (!vulkan_.has_modifiers())
            return fail(Errc::invalid_argument, "the device was created without VK_EXT_image_drm_format_modifier; enable it");
        const VkResult result = vulkan_.get_modifier(vulkan_.device, from_.image, &found);
        if (result != VK_SUCCESS) return fail_vulkan("vkGetImageDrmFormatModifierPropertiesEXT", result);
        return Modifier{found.drmFormatModifier};
    }

    Result<std::size_t> count_planes(Modifier modifier) const
    {
        for (const auto& listed : vulkan_.list_modifiers(from_.format))
            if (listed.drmFormatModifier == modifier.value && listed.drmFormatModifierPlaneCount <= max_planes)
                return std::size_t{listed.drmFormatModifierPlaneCount};
        return fail(Errc::backend_failed, "the driver chose modifier {} and does not list it for {}", to_string(modifier),
                    format_.name);
    }

    Result<UniqueFd> get_fd() const
    {
        const VkMemoryGetFdInfoKHR info{
            .sType = VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR, .memory = from_.memory, .handleType = from_.handle_type};
        int fd = -1;
        const VkResult result = vulkan_.get_memory_fd(vulkan_.device, &info, &fd);
        if (result != VK_SUCCESS) return fail_vulkan("vkGetMemoryFdKHR (was the memory allocated for export?)", result);
        return UniqueFd::adopt(fd);
    }

    Result<> add_plane(Exported& exported, std::uint8_t memory, VkImageAspectFlagBits aspect) const
    {
        const VkImageSubresource first{.aspectMask = aspect};
        VkSubresourceLayout layout{};
        vulkan_.get_layout(vulkan_.device, from_.image, &first, &layout);
        const Checked offset = Checked(layout.offset) + from_.memory_offset;
        if (!offset.fits_in(INT64_MAX)) return fail(Errc::bad_layout, "memory_offset {} is not possible", from_.memory_offset);
        return exported.add_plane(memory, layout.rowPitch, offset.value());
    }

    const Vulkan& vulkan_;
    const dmabroker_vulkan_source& from_;
    const FormatInfo& format_;
};

Result<std::unique_ptr<dmabroker_image>> export_vulkan(Client& client, const dmabroker_vulkan* vulkan,
                                                       const dmabroker_vulkan_source* given,
                                                       const dmabroker_export_options* options)
{
    const dmabroker_vulkan_source from = TRY(read_struct(given));
    const dmabroker_export_options wanted = TRY(read_optional(options));
    TRY(check_source(from));
    const FormatInfo* format = TRY(find_source_format(from));
    const Vulkan loaded = TRY(Vulkan::load(vulkan));
    Exported exported = TRY(Exporter(loaded, from, *format).run(wanted));
    return std::move(exported).register_at(client);
}

} // namespace
} // namespace dmb::exporting

extern "C" {

DMABROKER_API int dmabroker_vulkan_export(dmabroker_client* client, const dmabroker_vulkan* vulkan,
                                          const dmabroker_vulkan_source* source, const dmabroker_export_options* options,
                                          dmabroker_image** image, dmabroker_error* error)
{
    return dmb::guard(error, [&]() -> dmb::Result<> {
        const dmb::Turn turn = TRY(dmb::Turn::with(client));
        TRY(dmb::require(image, "image"));
        *image = nullptr;
        *image = TRY(dmb::exporting::export_vulkan(*turn, vulkan, source, options)).release();
        return {};
    });
}
}
