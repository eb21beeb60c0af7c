// SPDX-License-Identifier: MIT
// A VulkanContext, as tools and tests have them, and what the worker wants to know of it. Waits are bounded below the
// broker's deadline; a device that does not answer by then is given up, and with it this process.
#include "daemon/worker/vulkan/device.hpp"

#include "daemon/worker/hold.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <span>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace dmb::worker {
namespace {

constexpr std::uint64_t wait_ns = 8'000'000'000;

using Extensions = std::vector<VkExtensionProperties>;

constexpr std::array opaque_extensions{VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME};
constexpr std::array dma_buf_extensions{VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME, VK_KHR_IMAGE_FORMAT_LIST_EXTENSION_NAME,
                                        VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME,
                                        VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME};

/// The first that the device has not; empty: it has them all.
std::string_view first_missing(const Extensions& have, std::span<const char* const> wanted)
{
    const auto missing = std::ranges::find_if(wanted, [&](const char* name) { return !gpu::has(have, name); });
    return missing == wanted.end() ? std::string_view{} : *missing;
}

std::string render_node(const VkPhysicalDeviceDrmPropertiesEXT& drm)
{
    return drm.hasRender ? fmt::format("/dev/dri/renderD{}", drm.renderMinor)
                         : fmt::format("/dev/dri/card{}", drm.primaryMinor);
}

std::uint32_t pci_address(const VkPhysicalDevicePCIBusInfoPropertiesEXT& pci)
{
    return pci.pciDomain << 16 | pci.pciBus << 8 | pci.pciDevice << 3 | pci.pciFunction;
}

void describe(VkPhysicalDevice physical, const Extensions& extensions, Exporter& info)
{
    VkPhysicalDevicePCIBusInfoPropertiesEXT pci{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT};
    VkPhysicalDeviceDrmPropertiesEXT drm{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRM_PROPERTIES_EXT};
    VkPhysicalDeviceDriverProperties driver{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceIDProperties id{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES};
    VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &id};
    const bool has_drm = gpu::has(extensions, VK_EXT_PHYSICAL_DEVICE_DRM_EXTENSION_NAME);
    id.pNext = &driver;
    if (has_drm) driver.pNext = &drm;
    const bool has_pci = gpu::has(extensions, VK_EXT_PCI_BUS_INFO_EXTENSION_NAME);
    pci.pNext = driver.pNext;
    if (has_pci) driver.pNext = &pci;
    vkGetPhysicalDeviceProperties2(physical, &properties);

    info.software = properties.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    info.name = properties.properties.deviceName;
    info.driver = driver.driverName;
    info.version = driver.driverInfo;
    std::ranges::copy(id.deviceUUID, info.id.device_uuid.begin());
    std::ranges::copy(id.driverUUID, info.id.driver_uuid.begin());
    if (has_pci) info.id.pci = pci_address(pci);
    if (!has_drm || (!drm.hasRender && !drm.hasPrimary)) return;
    info.node.assign(render_node(drm));
    info.id.render_node = drm.hasRender
                              ? makedev(static_cast<unsigned>(drm.renderMajor), static_cast<unsigned>(drm.renderMinor))
                              : makedev(static_cast<unsigned>(drm.primaryMajor), static_cast<unsigned>(drm.primaryMinor));
}

} // namespace

void let_host_read(VkCommandBuffer commands)
{
    VkMemoryBarrier to_host{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
    to_host.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
    to_host.dstAccessMask = VK_ACCESS_HOST_READ_BIT;
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &to_host, 0, nullptr, 0,
                         nullptr);
}

Result<std::uint64_t> exported_size(int fd)
{
    if ((::fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
        return fail(Errc::backend_failed, "the driver exported a read-only dma-buf; other drivers crash on these");
    const off_t size = ::lseek(fd, 0, SEEK_END);
    if (size <= 0) return fail_errno(Errc::backend_failed, "size of the exported dma-buf", errno);
    return static_cast<std::uint64_t>(size);
}

std::unexpected<Error> fail_vulkan(std::string_view call, VkResult result)
{
    return fail(Errc::backend_failed, "{}", gpu::failure(call, result));
}

Result<std::unique_ptr<VulkanDevice>> VulkanDevice::create(unsigned index, Exporter& info)
{
    VkPhysicalDeviceProperties properties{};
    vkGetPhysicalDeviceProperties(gpu::VulkanContext::physical(index), &properties);
    info.name = properties.deviceName;
    if (properties.apiVersion < VK_API_VERSION_1_1)
        return fail(Errc::backend_failed, "a Vulkan 1.0 driver; sharing memory needs 1.1");
    return caught([&] { return std::make_unique<VulkanDevice>(index, info); });
}

VulkanDevice::VulkanDevice(unsigned index, Exporter& info) : physical_(gpu::VulkanContext::physical(index))
{
    const Extensions have = gpu::extensions_of(physical_);
    describe(physical_, have, info);
    info_ = info;
    no_opaque_ = first_missing(have, opaque_extensions);
    no_dma_buf_ = first_missing(have, dma_buf_extensions);
    foreign_family_ = gpu::has(have, VK_EXT_QUEUE_FAMILY_FOREIGN_EXTENSION_NAME);
    context_.emplace(index);
    vkGetPhysicalDeviceMemoryProperties(physical_, &memory_);
    get_memory_fd_ = reinterpret_cast<PFN_vkGetMemoryFdKHR>(vkGetDeviceProcAddr(get(), "vkGetMemoryFdKHR"));
    get_modifier_ = reinterpret_cast<PFN_vkGetImageDrmFormatModifierPropertiesEXT>(
        vkGetDeviceProcAddr(get(), "vkGetImageDrmFormatModifierPropertiesEXT"));
}

std::uint32_t VulkanDevice::external_family(VkExternalMemoryHandleTypeFlagBits type) const
{
    const bool foreign = type == VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT && foreign_family_;
    return foreign ? VK_QUEUE_FAMILY_FOREIGN_EXT : VK_QUEUE_FAMILY_EXTERNAL;
}

std::uint32_t VulkanDevice::memory_type(std::uint32_t allowed, VkMemoryPropertyFlags wanted) const
{
    std::uint32_t fallback = 0;
    for (std::uint32_t i = memory_.memoryTypeCount; i-- > 0;)
        if (allowed & (1u << i)) fallback = i;
    for (std::uint32_t i = 0; i < memory_.memoryTypeCount; ++i)
        if ((allowed & (1u << i)) && (memory_flags(i) & wanted) == wanted) return i;
    return fallback;
}

std::uint32_t VulkanDevice::exported_memory_type(std::uint32_t allowed, bool host_visible) const
{
    if (!host_visible) return memory_type(allowed, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    const std::uint32_t cached = memory_type(allowed, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
    if (memory_flags(cached) & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) return cached;
    return memory_type(allowed, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT);
}

Result<OwnedMemory> VulkanDevice::allocate_exportable(std::uint64_t size, std::uint32_t type,
                                                      VkExternalMemoryHandleTypeFlagBits handle,
                                                      const VkMemoryDedicatedAllocateInfo* dedicated) const
{
    VkExportMemoryAllocateInfo exported{VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO, dedicated};
    exported.handleTypes = static_cast<VkExternalMemoryHandleTypeFlags>(handle);
    VkMemoryAllocateInfo allocate{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, &exported};
    allocate.allocationSize = size;
    allocate.memoryTypeIndex = type;
    VkDeviceMemory memory{};
    if (const VkResult r = vkAllocateMemory(get(), &allocate, nullptr, &memory); r != VK_SUCCESS)
        return fail_vulkan("vkAllocateMemory for export", r);
    return OwnedMemory(get(), memory);
}

Result<UniqueFd> VulkanDevice::export_memory(VkDeviceMemory memory, VkExternalMemoryHandleTypeFlagBits type) const
{
    VkMemoryGetFdInfoKHR wanted{VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR};
    wanted.memory = memory;
    wanted.handleType = type;
    int fd = -1;
    if (const VkResult r = get_memory_fd_(get(), &wanted, &fd); r != VK_SUCCESS) return fail_vulkan("vkGetMemoryFdKHR", r);
    return UniqueFd::adopt(fd);
}

Result<std::uint64_t> VulkanDevice::modifier_of(VkImage image) const
{
    VkImageDrmFormatModifierPropertiesEXT properties{VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_PROPERTIES_EXT};
    if (const VkResult r = get_modifier_(get(), image, &properties); r != VK_SUCCESS)
        return fail_vulkan("vkGetImageDrmFormatModifierPropertiesEXT", r);
    return properties.drmFormatModifier;
}

Result<Staging> VulkanDevice::make_staging(std::uint64_t size) const
{
    constexpr VkBufferUsageFlags usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    auto memory = TRY(caught([&] { return std::make_unique<gpu::HostBuffer>(*context_, size, usage); }));
    Staging staging{.buffer = memory->buffer(), .data = reinterpret_cast<std::byte*>(memory->data()), .size = size};
    staging.memory = std::move(memory);
    return staging;
}

Result<> VulkanDevice::run(const std::function<void(VkCommandBuffer)>& record)
{
    return caught([&] { context_->run(record, wait_ns); });
}

} // namespace dmb::worker
