// SPDX-License-Identifier: MIT
// An image is created for export from the start: the same VkImageCreateInfo that is asked about is used,
// and for opaque memory it is what an importer repeats bit by bit (ImageDesc::opaque), together with
// the memory type, the allocation's size and whether it is dedicated. Images are never disjoint: one
// image, one memory object.
#include "daemon/worker/vulkan/image.hpp"

#include <algorithm>
#include <cstring>

namespace dmb::worker {
namespace {

/// A VkImageCreateInfo with what hangs on it. Not copyable: the structures point at each other.
class ImageCreateInfo {
public:
    explicit ImageCreateInfo(const VulkanPlan& plan)
    {
        external_.handleTypes = plan.handle_type();
        modifiers_.drmFormatModifierCount = static_cast<std::uint32_t>(plan.modifiers.size());
        modifiers_.pDrmFormatModifiers = plan.modifiers.data();
        if (!plan.modifiers.empty()) external_.pNext = &modifiers_;
        rows_.rowPitch = plan.row_pitch;
        explicit_.drmFormatModifierPlaneCount = 1; // the modifier is 0, LINEAR
        explicit_.pPlaneLayouts = &rows_;
        if (plan.row_pitch != 0) external_.pNext = &explicit_;
        create_.pNext = &external_;
        create_.flags = plan.flags;
        create_.imageType = VK_IMAGE_TYPE_2D;
        create_.format = plan.vk_format();
        create_.extent = {plan.size.width, plan.size.height, 1};
        create_.mipLevels = create_.arrayLayers = 1;
        create_.samples = VK_SAMPLE_COUNT_1_BIT;
        create_.tiling = plan.modifiers.empty() ? VK_IMAGE_TILING_OPTIMAL : VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT;
        create_.usage = plan.usage;
        create_.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
        create_.initialLayout = VK_IMAGE_LAYOUT_UNDEFINED;
    }
    ImageCreateInfo(const ImageCreateInfo&) = delete;
    ImageCreateInfo& operator=(const ImageCreateInfo&) = delete;
    const VkImageCreateInfo* get() const { return &create_; }

private:
    VkImageDrmFormatModifierListCreateInfoEXT modifiers_{VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT};
    VkImageDrmFormatModifierExplicitCreateInfoEXT explicit_{
        VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_EXPLICIT_CREATE_INFO_EXT};
    VkSubresourceLayout rows_{};
    VkExternalMemoryImageCreateInfo external_{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO};
    VkImageCreateInfo create_{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
};

std::uint32_t memory_planes(const VulkanDevice& device, VkFormat format, Modifier modifier)
{
    for (const ListedModifier& listed : list_modifiers(device, format))
        if (listed.modifier == modifier) return listed.planes;
    return 1;
}

} // namespace

std::vector<ListedModifier> list_modifiers(const VulkanDevice& device, VkFormat format)
{
    VkDrmFormatModifierPropertiesListEXT list{VK_STRUCTURE_TYPE_DRM_FORMAT_MODIFIER_PROPERTIES_LIST_EXT};
    VkFormatProperties2 properties{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2, &list};
    vkGetPhysicalDeviceFormatProperties2(device.physical(), format, &properties);
    std::vector<VkDrmFormatModifierPropertiesEXT> found(list.drmFormatModifierCount);
    list.pDrmFormatModifierProperties = found.data();
    vkGetPhysicalDeviceFormatProperties2(device.physical(), format, &properties);
    std::vector<ListedModifier> out;
    for (const auto& entry : found)
        out.push_back(
            {Modifier{entry.drmFormatModifier}, entry.drmFormatModifierPlaneCount, entry.drmFormatModifierTilingFeatures});
    return out;
}

Exportable ask_support(const VulkanDevice& device, const VulkanPlan& plan)
{
    VkPhysicalDeviceImageDrmFormatModifierInfoEXT modifier{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_DRM_FORMAT_MODIFIER_INFO_EXT};
    VkPhysicalDeviceExternalImageFormatInfo external{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO};
    external.handleType = plan.handle_type();
    const ImageCreateInfo create(plan);
    VkPhysicalDeviceImageFormatInfo2 ask{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2, &external};
    ask.format = create.get()->format;
    ask.type = create.get()->imageType;
    ask.tiling = create.get()->tiling;
    ask.usage = plan.usage;
    ask.flags = plan.flags;
    if (!plan.modifiers.empty()) {
        modifier.drmFormatModifier = plan.modifiers.front();
        modifier.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
        external.pNext = &modifier;
    }
    VkExternalImageFormatProperties can{VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES};
    VkImageFormatProperties2 answer{VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2, &can};
    if (vkGetPhysicalDeviceImageFormatProperties2(device.physical(), &ask, &answer) != VK_SUCCESS) return {};
    const VkExtent3D& limit = answer.imageFormatProperties.maxExtent;
    const VkExternalMemoryFeatureFlags features = can.externalMemoryProperties.externalMemoryFeatures;
    const bool fits = plan.size.width <= limit.width && plan.size.height <= limit.height;
    return {fits && (features & VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT) != 0,
            (features & VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT) != 0};
}

VkImageMemoryBarrier barrier_of(VkImage image)
{
    VkImageMemoryBarrier b{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
    b.srcQueueFamilyIndex = b.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
    b.srcAccessMask = b.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
    b.image = image;
    b.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    return b;
}

void add_barrier(VkCommandBuffer commands, const VkImageMemoryBarrier& b)
{
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, nullptr, 0,
                         nullptr, 1, &b);
}

Result<VulkanImage> VulkanImage::create(const VulkanDevice& device, const VulkanPlan& plan)
{
    VulkanImage image(device, plan);
    TRY(image.create_image());
    TRY(image.allocate_memory());
    return image;
}

Result<> VulkanImage::create_image()
{
    const ImageCreateInfo create(plan_);
    VkImage image{};
    if (const VkResult r = vkCreateImage(device_->get(), create.get(), nullptr, &image); r != VK_SUCCESS)
        return fail_vulkan("vkCreateImage", r);
    image_ = OwnedImage(device_->get(), image);
    return {};
}

Result<> VulkanImage::allocate_memory()
{
    VkMemoryDedicatedRequirements wants{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS};
    VkMemoryRequirements2 needs{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, &wants};
    VkImageMemoryRequirementsInfo2 ask{VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2};
    ask.image = image_.get();
    vkGetImageMemoryRequirements2(device_->get(), &ask, &needs);
    VulkanPlan first = plan_;
    if (!first.modifiers.empty()) first.modifiers.resize(1);
    dedicated_ =
        wants.requiresDedicatedAllocation || wants.prefersDedicatedAllocation || ask_support(*device_, first).dedicated_only;
    size_ = needs.memoryRequirements.size;
    memory_type_ = device_->exported_memory_type(needs.memoryRequirements.memoryTypeBits, plan_.host_visible);

    VkMemoryDedicatedAllocateInfo dedicated{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};
    dedicated.image = image_.get();
    memory_ = TRY(device_->allocate_exportable(size_, memory_type_, plan_.handle_type(), dedicated_ ? &dedicated : nullptr));
    if (const VkResult r = vkBindImageMemory(device_->get(), image_.get(), memory_.get(), 0); r != VK_SUCCESS)
        return fail_vulkan("vkBindImageMemory", r);
    return {};
}

bool VulkanImage::host_visible() const
{
    return (device_->memory_flags(memory_type_) & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0;
}

Result<> VulkanImage::zero_memory() const
{
    void* data = nullptr;
    if (const VkResult r = vkMapMemory(device_->get(), memory_.get(), 0, VK_WHOLE_SIZE, 0, &data); r != VK_SUCCESS)
        return fail_vulkan("vkMapMemory", r);
    std::memset(data, 0, size_);
    VkMappedMemoryRange all{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
    all.memory = memory_.get();
    all.size = VK_WHOLE_SIZE;
    const VkResult flushed = vkFlushMappedMemoryRanges(device_->get(), 1, &all);
    vkUnmapMemory(device_->get(), memory_.get());
    if (flushed != VK_SUCCESS) return fail_vulkan("vkFlushMappedMemoryRanges", flushed);
    return {};
}

Result<Exported> VulkanImage::export_image() const
{
    Exported out;
    out.desc.size = plan_.size;
    out.desc.format = plan_.format->fourcc;
    out.desc.device = device_->info().id;
    out.fds.push_back(TRY(device_->export_memory(memory_.get(), plan_.handle_type())));
    out.desc.memories.push_back({size_});
    if (plan_.modifiers.empty()) describe_opaque(out);
    else TRY(describe_dma_buf(out));
    return out;
}

Result<> VulkanImage::describe_dma_buf(Exported& out) const
{
    out.desc.memories[0].size = TRY(exported_size(out.fds[0].get()));
    out.desc.kind = MemoryKind::dma_buf;
    out.desc.backend = Backend::vulkan;
    out.desc.modifier = Modifier{TRY(device_->modifier_of(image_.get()))};
    out.desc.rung = out.desc.modifier == modifier_linear ? Rung::linear : Rung::tiled;
    const std::uint32_t planes = memory_planes(*device_, plan_.vk_format(), out.desc.modifier);
    constexpr VkImageAspectFlagBits aspects[] = {VK_IMAGE_ASPECT_MEMORY_PLANE_0_BIT_EXT, VK_IMAGE_ASPECT_MEMORY_PLANE_1_BIT_EXT,
                                                 VK_IMAGE_ASPECT_MEMORY_PLANE_2_BIT_EXT,
                                                 VK_IMAGE_ASPECT_MEMORY_PLANE_3_BIT_EXT};
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(planes, max_planes); ++i) {
        const VkImageSubresource plane{static_cast<VkImageAspectFlags>(aspects[i]), 0, 0};
        VkSubresourceLayout layout{};
        vkGetImageSubresourceLayout(device_->get(), image_.get(), &plane, &layout);
        if (layout.rowPitch > UINT32_MAX)
            return fail(Errc::backend_failed, "the driver reports a pitch of {}", layout.rowPitch);
        out.desc.planes.push_back({0, static_cast<std::uint32_t>(layout.rowPitch), layout.offset});
    }
    return {};
}

void VulkanImage::describe_opaque(Exported& out) const
{
    out.desc.kind = MemoryKind::opaque;
    out.desc.backend = Backend::vulkan_opaque;
    out.desc.rung = Rung::tiled;
    out.desc.modifier = modifier_invalid;
    out.desc.opaque = {.vk_format = plan_.format->vk_format,
                       .vk_usage = plan_.usage,
                       .vk_create_flags = plan_.flags,
                       .memory_type = memory_type_,
                       .optimal_tiling = true,
                       .dedicated = dedicated_};
}

} // namespace dmb::worker
