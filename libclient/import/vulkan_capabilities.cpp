// SPDX-License-Identifier: MIT
// What a VkPhysicalDevice can import. Each format, modifier and usage is asked for as an image of that external memory
// (VkPhysicalDeviceExternalImageFormatInfo): a modifier that is merely listed may be refused then, as lavapipe does
// for NV12. A usage is claimed if an image with that usage alone can be imported.
//
// Without VK_EXT_image_drm_format_modifier a dma-buf can only be a linear image; where the driver takes it as such, there
// are LINEAR rows. Vulkan cannot import an implicit layout, so there is no INVALID row for dma-bufs.
#include "libclient/capabilities.hpp"
#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/import/device_node.hpp"
#include "libclient/import/driver_rules.hpp"
#include "libclient/import/vulkan_loader.hpp"
#include "proto/image/format_table.hpp"

#include <algorithm>
#include <optional>
#include <sys/sysmacros.h>

namespace dmb::import {
namespace {

/// One way to lay out an image of a format.
struct Layout {
    VkImageTiling tiling = VK_IMAGE_TILING_OPTIMAL;
    VkExternalMemoryHandleTypeFlagBits handle = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
    std::uint64_t modifier = modifier_invalid.value; ///< with tiling DRM_FORMAT_MODIFIER
    VkFormatFeatureFlags features = 0;
};

struct UsageWords {
    UsageFlag usage;
    VkImageUsageFlags vulkan;
    VkFormatFeatureFlags feature;
};
constexpr UsageWords usages[] = {
    {UsageFlag::sample, VK_IMAGE_USAGE_SAMPLED_BIT, VK_FORMAT_FEATURE_SAMPLED_IMAGE_BIT},
    {UsageFlag::render, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT, VK_FORMAT_FEATURE_COLOR_ATTACHMENT_BIT},
    {UsageFlag::storage, VK_IMAGE_USAGE_STORAGE_BIT, VK_FORMAT_FEATURE_STORAGE_IMAGE_BIT},
};

class Reader {
public:
    explicit Reader(const Vulkan& vulkan) : vulkan_(vulkan) {}

    Result<Capabilities> read()
    {
        table_.api = Api::vulkan;
        describe();
        table_.rules = driver_rules(table_.device);
        if (!vulkan_.has_extension(VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME))
            return fail(Errc::import_refused, "{} has no VK_KHR_external_memory_fd: it shares no memory",
                        table_.device.driver.view());
        for (const FormatInfo& format : all_formats())
            if (format.vk_format) add_format(format);
        add_buffer(MemoryKind::opaque, VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT);
        if (dma_buf_) add_buffer(MemoryKind::dma_buf, VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT);
        return std::move(table_);
    }

private:
    void describe();
    void describe_node_and_pci();
    void add_format(const FormatInfo& format);
    void add_buffer(MemoryKind kind, VkExternalMemoryHandleTypeFlagBits handle);
    void add(Capability row);
    void add_dma_buf(const FormatInfo& format, const VkFormatProperties& properties);
    void add_modifiers(const FormatInfo& format);
    void add_rows(const FormatInfo& format, const Layout& layout, Modifier modifier, std::uint8_t planes);
    std::optional<VkExtent3D> ask(const FormatInfo& format, const Layout& layout, VkImageUsageFlags usage) const;
    bool has(const char* extension) const { return vulkan_.has_extension(extension); }

    const Vulkan& vulkan_;
    Capabilities table_;
    const bool dma_buf_ = has(VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME);
    const bool modifiers_ = has(VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME);
};

void Reader::describe()
{
    VkPhysicalDeviceDriverProperties driver{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceIDProperties id{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES, .pNext = &driver};
    VkPhysicalDeviceProperties2 properties{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &id};
    vulkan_.get_properties(vulkan_.physical, &properties);
    Device& device = table_.device;
    std::ranges::copy(id.deviceUUID, device.id.device_uuid.begin());
    std::ranges::copy(id.driverUUID, device.id.driver_uuid.begin());
    device.software = properties.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    const std::string_view name = driver.driverName[0] ? driver.driverName : properties.properties.deviceName;
    device.driver = is_printable(name) ? name : "";
    const std::string_view info = driver.driverInfo;
    if (!info.empty() && is_printable(info)) device.version = info;
    else device.version = std::string_view(fmt::format("{}", properties.properties.driverVersion));
    describe_node_and_pci();
}

void Reader::describe_node_and_pci()
{
    VkPhysicalDevicePCIBusInfoPropertiesEXT pci{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT};
    VkPhysicalDeviceDrmPropertiesEXT drm{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRM_PROPERTIES_EXT};
    VkPhysicalDeviceProperties2 properties{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    const bool has_pci = has(VK_EXT_PCI_BUS_INFO_EXTENSION_NAME), has_drm = has(VK_EXT_PHYSICAL_DEVICE_DRM_EXTENSION_NAME);
    if (has_pci) properties.pNext = &pci;
    if (has_drm) drm.pNext = properties.pNext, properties.pNext = &drm;
    vulkan_.get_properties(vulkan_.physical, &properties);
    const auto node = [&](std::int64_t first, std::int64_t second) {
        describe_node(table_.device, makedev(static_cast<unsigned>(first), static_cast<unsigned>(second)));
    };
    if (drm.hasRender) node(drm.renderMajor, drm.renderMinor);
    else if (drm.hasPrimary) node(drm.primaryMajor, drm.primaryMinor);
    if (has_pci)
        table_.device.id.pci =
            pci.pciDomain << 16 | (pci.pciBus & 0xff) << 8 | (pci.pciDevice & 0x1f) << 3 | (pci.pciFunction & 7);
}

void Reader::add_format(const FormatInfo& format)
{
    VkFormatProperties2 properties{.sType = VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2};
    vulkan_.get_format_properties(vulkan_.physical, static_cast<VkFormat>(format.vk_format), &properties);
    const Layout opaque{.features = properties.formatProperties.optimalTilingFeatures};
    add_rows(format, opaque, modifier_invalid, format.plane_count);
    if (dma_buf_) add_dma_buf(format, properties.formatProperties);
}

void Reader::add_dma_buf(const FormatInfo& format, const VkFormatProperties& properties)
{
    if (modifiers_) return add_modifiers(format);
    const Layout linear{.tiling = VK_IMAGE_TILING_LINEAR,
                        .handle = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT,
                        .features = properties.linearTilingFeatures};
    add_rows(format, linear, modifier_linear, format.plane_count);
}

void Reader::add_modifiers(const FormatInfo& format)
{
    for (const VkDrmFormatModifierPropertiesEXT& listed : vulkan_.list_modifiers(static_cast<VkFormat>(format.vk_format))) {
        const Layout layout{.tiling = VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT,
                            .handle = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT,
                            .modifier = listed.drmFormatModifier,
                            .features = listed.drmFormatModifierTilingFeatures};
        const bool sane =
            listed.drmFormatModifierPlaneCount <= max_planes && listed.drmFormatModifier != modifier_invalid.value;
        if (sane)
            add_rows(format, layout, {listed.drmFormatModifier}, static_cast<std::uint8_t>(listed.drmFormatModifierPlaneCount));
    }
}

void Reader::add_rows(const FormatInfo& format, const Layout& layout, Modifier modifier, std::uint8_t planes)
{
    const bool opaque = layout.handle == VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
    Capability row{.kind = opaque ? MemoryKind::opaque : MemoryKind::dma_buf,
                   .format = format.fourcc,
                   .modifier = modifier,
                   .plane_count = planes,
                   .external_only = false,
                   .usage = {},
                   .max_size = {UINT32_MAX, UINT32_MAX}};
    for (const UsageWords& words : usages) {
        if (!(layout.features & words.feature)) continue;
        const auto largest = ask(format, layout, words.vulkan);
        if (!largest) continue;
        row.usage = row.usage | words.usage;
        row.max_size = {std::min(row.max_size.width, largest->width), std::min(row.max_size.height, largest->height)};
    }
    if (row.usage.empty()) return;
    add(row);
}

void Reader::add(Capability row)
{
    table_.rows.push_back(row);
    // Software devices map what they import: a sealed memfd as well as a dma-buf.
    if (!table_.device.software || row.kind != MemoryKind::dma_buf || row.modifier != modifier_linear) return;
    row.kind = MemoryKind::memfd;
    table_.rows.push_back(row);
}

void Reader::add_buffer(MemoryKind kind, VkExternalMemoryHandleTypeFlagBits handle)
{
    const VkPhysicalDeviceExternalBufferInfo info{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO,
                                                  .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
                                                  .handleType = handle};
    VkExternalBufferProperties found{.sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES};
    vulkan_.get_external_buffer_properties(vulkan_.physical, &info, &found);
    if (!(found.externalMemoryProperties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT)) return;
    add({.kind = kind,
         .format = buffer_format,
         .modifier = kind == MemoryKind::opaque ? modifier_invalid : modifier_linear,
         .plane_count = 1,
         .external_only = false,
         .usage = UsageFlag::sample | UsageFlag::storage,
         .max_size = {}});
}

/// The largest image; none if it cannot be imported.
std::optional<VkExtent3D> Reader::ask(const FormatInfo& format, const Layout& layout, VkImageUsageFlags usage) const
{
    const VkPhysicalDeviceExternalImageFormatInfo external{
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO, .handleType = layout.handle};
    const VkPhysicalDeviceImageDrmFormatModifierInfoEXT modifier{
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_DRM_FORMAT_MODIFIER_INFO_EXT,
        .pNext = &external,
        .drmFormatModifier = layout.modifier,
        .sharingMode = VK_SHARING_MODE_EXCLUSIVE};
    const bool by_modifier = layout.tiling == VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT;
    const VkPhysicalDeviceImageFormatInfo2 info{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2,
                                                .pNext = by_modifier ? static_cast<const void*>(&modifier) : &external,
                                                .format = static_cast<VkFormat>(format.vk_format),
                                                .type = VK_IMAGE_TYPE_2D,
                                                .tiling = layout.tiling,
                                                .usage = usage};
    VkExternalImageFormatProperties found{.sType = VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES};
    VkImageFormatProperties2 properties{.sType = VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2, .pNext = &found};
    if (vulkan_.get_image_format_properties(vulkan_.physical, &info, &properties) != VK_SUCCESS) return std::nullopt;
    const auto features = found.externalMemoryProperties.externalMemoryFeatures;
    if (!(features & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT)) return std::nullopt;
    return properties.imageFormatProperties.maxExtent;
}

} // namespace
} // namespace dmb::import

extern "C" {

DMABROKER_API int dmabroker_vulkan_capabilities(const dmabroker_vulkan* vulkan, dmabroker_capabilities** capabilities,
                                                dmabroker_error* error)
{
    return dmb::hand_out(capabilities, error, [&]() -> dmb::Result<dmb::Capabilities> {
        const dmb::import::Vulkan loaded = TRY(dmb::import::Vulkan::load_physical(vulkan));
        return dmb::import::Reader(loaded).read();
    });
}
}
