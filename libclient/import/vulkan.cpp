// SPDX-License-Identifier: MIT
// VkImages over an image's memory. With VK_EXT_image_drm_format_modifier the planes' layout is stated;
// without it a linear VkImage serves where the driver would lay its rows out the same. Opaque memory is
// imported by repeating the exporter's VkImageCreateInfo to the letter: two drivers that derive a layout
// from the same words arrive at the same layout, and nobody else knows it.
#include "libclient/error.hpp"
#include "libclient/import/plan.hpp"
#include "libclient/import/vulkan_memory.hpp"

#include <vector>

namespace dmb::import {
namespace {

constexpr VkImageUsageFlags reading = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_SAMPLED_BIT;
constexpr VkImageUsageFlags writing = VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;

VkImageCreateInfo image_info(Extent size, VkFormat format, VkImageUsageFlags usage)
{
    return {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
            .imageType = VK_IMAGE_TYPE_2D,
            .format = format,
            .extent = {size.width, size.height, 1},
            .mipLevels = 1,
            .arrayLayers = 1,
            .samples = VK_SAMPLE_COUNT_1_BIT,
            .usage = usage,
            .sharingMode = VK_SHARING_MODE_EXCLUSIVE,
            .initialLayout = VK_IMAGE_LAYOUT_UNDEFINED};
}

VkImageUsageFlags usage_of(VkFormatFeatureFlags features)
{
    VkImageUsageFlags usage = 0;
    if (features & VK_FORMAT_FEATURE_TRANSFER_SRC_BIT) usage |= VK_IMAGE_USAGE_TRANSFER_SRC_BIT;
    if (features & VK_FORMAT_FEATURE_TRANSFER_DST_BIT) usage |= VK_IMAGE_USAGE_TRANSFER_DST_BIT;
    if (features & VK_FORMAT_FEATURE_SAMPLED_IMAGE_BIT) usage |= VK_IMAGE_USAGE_SAMPLED_BIT;
    if (features & VK_FORMAT_FEATURE_COLOR_ATTACHMENT_BIT) usage |= VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
    return usage;
}

/// Vulkan wants even sizes where chroma is halved.
bool divides(const FormatInfo& format, Extent size)
{
    for (std::size_t i = 0; i < format.plane_count; ++i)
        if (size.width % format.planes[i].horizontal || size.height % format.planes[i].vertical) return false;
    return size.width % format.planes[0].block_width == 0;
}

VkSamplerYcbcrModelConversion model_of(const Colour& colour)
{
    if (colour.matrix == MatrixCoefficients::identity) return VK_SAMPLER_YCBCR_MODEL_CONVERSION_RGB_IDENTITY;
    switch (gpu_matrix(colour)) {
    case GpuMatrix::bt601: return VK_SAMPLER_YCBCR_MODEL_CONVERSION_YCBCR_601;
    case GpuMatrix::bt709: return VK_SAMPLER_YCBCR_MODEL_CONVERSION_YCBCR_709;
    case GpuMatrix::bt2020: return VK_SAMPLER_YCBCR_MODEL_CONVERSION_YCBCR_2020;
    case GpuMatrix::none: break;
    }
    return VK_SAMPLER_YCBCR_MODEL_CONVERSION_YCBCR_IDENTITY;
}

void tell_conversion(const Colour& colour, dmabroker_vulkan_images& out)
{
    const auto location = [](bool on_sample) {
        return on_sample ? VK_CHROMA_LOCATION_COSITED_EVEN : VK_CHROMA_LOCATION_MIDPOINT;
    };
    out.ycbcr_model = model_of(colour);
    out.ycbcr_range = colour.range == ColourRange::full ? VK_SAMPLER_YCBCR_RANGE_ITU_FULL : VK_SAMPLER_YCBCR_RANGE_ITU_NARROW;
    out.x_chroma_offset = location(cosited(colour.siting).across);
    out.y_chroma_offset = location(cosited(colour.siting).down);
}

class Importer {
public:
    Importer(const dmabroker_image& image, const Vulkan& vulkan, dmabroker_vulkan_images& out)
        : image_(image), desc_(image.image.desc()), vulkan_(vulkan), out_(out)
    {
    }

    Result<> run(VkImageUsageFlags usage, std::uint32_t flags)
    {
        wanted_ = usage;
        write_ = (flags & DMABROKER_IMPORT_WRITE) != 0;
        tell_conversion(desc_.colour, out_);
        out_.external_layout = VK_IMAGE_LAYOUT_GENERAL;
        if (desc_.kind == MemoryKind::opaque) return run_opaque(flags);
        TRY(check_layout());
        out_.external_queue_family = vulkan_.external_family(MemoryKind::dma_buf);
        return whole_or_cut(desc_, flags, [&] { return make(whole(desc_)); }, [&] { return cut(); });
    }

private:
    Result<> check_layout() const
    {
        if (!vulkan_.has_extension(VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME))
            return fail(Errc::import_refused, "this Vulkan driver has no VK_EXT_external_memory_dma_buf");
        if (desc_.modifier == modifier_invalid)
            return fail(Errc::import_refused,
                        "modifier INVALID: only the allocating driver knows this layout and Vulkan cannot import it");
        if (!vulkan_.has_modifiers() && desc_.modifier != modifier_linear)
            return fail(Errc::import_refused, "modifier {} needs VK_EXT_image_drm_format_modifier, not enabled on this device",
                        to_string(desc_.modifier));
        return check_for_driver(image_, vulkan_.driver(), write_);
    }

    Result<> cut()
    {
        TRY(make(per_plane(desc_)));
        out_.per_plane = 1;
        out_.yuv = conversion(desc_);
        return {};
    }

    /// All parts or none.
    Result<> make(const Plan& plan)
    {
        std::vector<VulkanImage> images;
        images.reserve(plan.size());
        for (const Part& part : plan) {
            const FormatInfo& format = *find_format(part.format);
            TRY(check_part(part, format));
            images.push_back(vulkan_.has_modifiers() ? TRY(explicit_image(part, format)) : TRY(linear_image(part, format)));
        }
        for (std::size_t i = 0; i < images.size(); ++i) store(images[i], find_format(plan[i].format)->vk_format, plan[i].size);
        return {};
    }

    Result<> check_part(const Part& part, const FormatInfo& format) const
    {
        if (!format.vk_format) return fail(Errc::import_refused, "Vulkan has no format with the bits of {}", format.name);
        if (!divides(format, part.size))
            return fail(Errc::import_refused, "Vulkan takes {} only with sizes that its chroma divides, not {}x{}", format.name,
                        part.size.width, part.size.height);
        for (const Plane& plane : part.planes)
            if (plane.memory != part.planes[0].memory)
                return fail(Errc::import_refused, "the planes of {} lie in several memories; import it per plane", format.name);
        return {};
    }

    void store(VulkanImage& image, std::uint32_t format, Extent size)
    {
        const VulkanImage::Handles handles = image.release();
        const std::uint32_t at = out_.count++;
        out_.images[at] = handles.handle;
        out_.memory[at] = handles.memory;
        out_.formats[at] = static_cast<VkFormat>(format);
        out_.extents[at] = {size.width, size.height};
    }

    /// The caller's usage as it is; the default as far as the format can.
    Result<VkImageUsageFlags> usage_for(const FormatInfo& format, VkFormatFeatureFlags features) const
    {
        if (wanted_) return wanted_;
        const VkImageUsageFlags usage = usage_of(features) & (write_ ? reading | writing : reading);
        if (usage) return usage;
        return fail(Errc::import_refused, "this Vulkan driver does not read format {} with modifier {}", format.name,
                    to_string(desc_.modifier));
    }

    /// Asks the driver before creating anything: what it says no to must not be tried.
    Result<> check_supported(const VkImageCreateInfo& info) const
    {
        const VkPhysicalDeviceImageDrmFormatModifierInfoEXT modifier{
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_DRM_FORMAT_MODIFIER_INFO_EXT,
            .drmFormatModifier = desc_.modifier.value,
            .sharingMode = VK_SHARING_MODE_EXCLUSIVE};
        const bool with_modifier = info.tiling == VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT;
        const VkPhysicalDeviceExternalImageFormatInfo external{.sType =
                                                                   VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO,
                                                               .pNext = with_modifier ? &modifier : nullptr,
                                                               .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT};
        const VkPhysicalDeviceImageFormatInfo2 asked{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2,
                                                     .pNext = &external,
                                                     .format = info.format,
                                                     .type = info.imageType,
                                                     .tiling = info.tiling,
                                                     .usage = info.usage};
        VkExternalImageFormatProperties found{.sType = VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES};
        VkImageFormatProperties2 properties{.sType = VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2, .pNext = &found};
        const VkResult result = vulkan_.get_image_format_properties(vulkan_.physical, &asked, &properties);
        if (result != VK_SUCCESS) return fail_vulkan("vkGetPhysicalDeviceImageFormatProperties2", result);
        if (!(found.externalMemoryProperties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT))
            return fail(Errc::import_refused, "this Vulkan driver does not import images of that format from dma-bufs");
        const VkExtent3D& limit = properties.imageFormatProperties.maxExtent;
        if (info.extent.width <= limit.width && info.extent.height <= limit.height) return {};
        return fail(Errc::import_refused, "this Vulkan driver takes at most {}x{} pixels", limit.width, limit.height);
    }

    Result<VkFormatFeatureFlags> modifier_features(const FormatInfo& format) const
    {
        for (const auto& entry : vulkan_.list_modifiers(static_cast<VkFormat>(format.vk_format)))
            if (entry.drmFormatModifier == desc_.modifier.value) return entry.drmFormatModifierTilingFeatures;
        return fail(Errc::import_refused, "this Vulkan driver does not import format {} with modifier {}", format.name,
                    to_string(desc_.modifier));
    }

    Result<VulkanImage> explicit_image(const Part& part, const FormatInfo& format) const
    {
        const VkFormatFeatureFlags features = TRY(modifier_features(format));
        std::array<VkSubresourceLayout, max_planes> layouts{}; // size must be 0
        for (std::size_t i = 0; i < part.planes.size(); ++i) {
            layouts[i].offset = part.planes[i].offset;
            layouts[i].rowPitch = part.planes[i].stride;
        }
        const VkImageDrmFormatModifierExplicitCreateInfoEXT modifier{
            .sType = VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_EXPLICIT_CREATE_INFO_EXT,
            .drmFormatModifier = desc_.modifier.value,
            .drmFormatModifierPlaneCount = static_cast<std::uint32_t>(part.planes.size()),
            .pPlaneLayouts = layouts.data()};
        const VkExternalMemoryImageCreateInfo external{.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO,
                                                       .pNext = &modifier,
                                                       .handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT};
        VkImageCreateInfo info =
            image_info(part.size, static_cast<VkFormat>(format.vk_format), TRY(usage_for(format, features)));
        info.pNext = &external;
        info.tiling = VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT;
        TRY(check_supported(info));
        out_.usage = info.usage;
        VulkanImage image = TRY(create_image(vulkan_, info));
        TRY(image.bind(whole_memory(image_, part.planes[0].memory)));
        return image;
    }

    Result<VulkanImage> linear_image(const Part& part, const FormatInfo& format) const
    {
        if (part.planes.size() > 1)
            return fail(Errc::import_refused, "{} as one image needs VK_EXT_image_drm_format_modifier; import it per plane",
                        format.name);
        VkFormatProperties2 properties{.sType = VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2};
        const auto vk_format = static_cast<VkFormat>(format.vk_format);
        vulkan_.get_format_properties(vulkan_.physical, vk_format, &properties);
        const VkExternalMemoryImageCreateInfo external{.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO,
                                                       .handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT};
        VkImageCreateInfo info =
            image_info(part.size, vk_format, TRY(usage_for(format, properties.formatProperties.linearTilingFeatures)));
        info.pNext = &external;
        info.tiling = VK_IMAGE_TILING_LINEAR;
        TRY(check_supported(info));
        out_.usage = info.usage;
        VulkanImage image = TRY(create_image(vulkan_, info));
        VulkanMemory memory = whole_memory(image_, part.planes[0].memory);
        memory.offset = TRY(linear_offset(image, part));
        TRY(image.bind(memory));
        return image;
    }

    /// Where to bind the image so that its rows meet the plane's; refuses when they cannot.
    Result<std::uint64_t> linear_offset(const VulkanImage& image, const Part& part) const
    {
        const VkImageSubresource first{.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT};
        VkSubresourceLayout layout{};
        vulkan_.get_layout(vulkan_.device, image.get(), &first, &layout);
        const Plane& plane = part.planes[0];
        if (layout.rowPitch != plane.stride)
            return fail(Errc::import_refused,
                        "without VK_EXT_image_drm_format_modifier this driver reads rows of {} bytes, the image has {}",
                        layout.rowPitch, plane.stride);
        if (plane.offset < layout.offset)
            return fail(Errc::import_refused, "this driver begins linear images at {}, the plane at {}", layout.offset,
                        plane.offset);
        return plane.offset - layout.offset;
    }

    Result<> run_opaque(std::uint32_t flags)
    {
        if (flags & DMABROKER_IMPORT_PER_PLANE)
            return fail(Errc::import_refused, "opaque memory is one VkImage; import it without PER_PLANE");
        TRY(check_same_device(image_, "Vulkan", vulkan_.device_uuid, vulkan_.driver_uuid));
        const OpaqueInfo& opaque = desc_.opaque;
        if (wanted_ & ~opaque.vk_usage)
            return fail(Errc::import_refused, "opaque images keep their exporter's usage {:#x}, {:#x} was asked for",
                        opaque.vk_usage, wanted_);
        const VkExternalMemoryImageCreateInfo external{.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO,
                                                       .handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT};
        VkImageCreateInfo info = image_info(desc_.size, static_cast<VkFormat>(opaque.vk_format), opaque.vk_usage);
        info.pNext = &external;
        info.flags = opaque.vk_create_flags;
        info.tiling = opaque.optimal_tiling ? VK_IMAGE_TILING_OPTIMAL : VK_IMAGE_TILING_LINEAR;
        VulkanImage image = TRY(create_image(vulkan_, info));
        TRY(image.bind(opaque_memory(image_)));
        store(image, opaque.vk_format, desc_.size);
        out_.usage = opaque.vk_usage;
        out_.external_queue_family = vulkan_.external_family(MemoryKind::opaque);
        return {};
    }

    const dmabroker_image& image_;
    const ImageDesc& desc_;
    const Vulkan& vulkan_;
    dmabroker_vulkan_images& out_;
    VkImageUsageFlags wanted_ = 0;
    bool write_ = false;
};

Result<> import_vulkan(const dmabroker_image* image, const dmabroker_vulkan* vulkan, VkImageUsageFlags usage,
                       std::uint32_t flags, dmabroker_vulkan_images* out)
{
    return fill_struct(out, [&](dmabroker_vulkan_images& made) -> Result<> {
        TRY(require(image, "image"));
        TRY(check_picture(*image, flags));
        const Vulkan loaded = TRY(Vulkan::load(vulkan));
        return Importer(*image, loaded, made).run(usage, flags);
    });
}

Result<> release(const dmabroker_vulkan* vulkan, dmabroker_vulkan_images* given)
{
    const dmabroker_vulkan_images images = TRY(read_struct(given));
    const Vulkan loaded = TRY(Vulkan::load_release(vulkan));
    for (std::uint32_t i = 0; i < std::min(images.count, DMABROKER_MAX_PLANES + 0u); ++i) {
        loaded.destroy_image(loaded.device, images.images[i], nullptr);
        loaded.free_memory(loaded.device, images.memory[i], nullptr);
    }
    return write_struct(dmabroker_vulkan_images{}, given);
}

} // namespace
} // namespace dmb::import

extern "C" {

DMABROKER_API int dmabroker_vulkan_import(const dmabroker_image* image, const dmabroker_vulkan* vulkan, VkImageUsageFlags usage,
                                          uint32_t flags, dmabroker_vulkan_images* images, dmabroker_error* error)
{
    return dmb::guard(error, [&] { return dmb::import::import_vulkan(image, vulkan, usage, flags, images); });
}

DMABROKER_API void dmabroker_vulkan_release(const dmabroker_vulkan* vulkan, dmabroker_vulkan_images* images)
{
    dmb::guard(nullptr, [&] { return dmb::import::release(vulkan, images); });
}
}
