// SPDX-License-Identifier: MIT
// One queue, one command buffer, one fence per device: a worker does one thing at a time. Waits are
// bounded below the broker's deadline; a device that does not answer by then is given up, and with
// it this process.
#include "daemon/worker/vulkan/device.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <span>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace dmb::worker {
namespace {

constexpr std::uint64_t wait_ns = 8'000'000'000;

using Extensions = std::vector<VkExtensionProperties>;

Extensions extensions_of(VkPhysicalDevice physical)
{
    std::uint32_t count = 0;
    vkEnumerateDeviceExtensionProperties(physical, nullptr, &count, nullptr);
    Extensions list(count);
    vkEnumerateDeviceExtensionProperties(physical, nullptr, &count, list.data());
    list.resize(count);
    return list;
}

bool has(const Extensions& list, const char* name)
{
    return std::ranges::any_of(list, [&](const VkExtensionProperties& e) { return std::strcmp(e.extensionName, name) == 0; });
}

constexpr std::array opaque_extensions{VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME};
constexpr std::array dma_buf_extensions{VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME, VK_KHR_IMAGE_FORMAT_LIST_EXTENSION_NAME,
                                        VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME,
                                        VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME};

/// The first that the device has not; empty: it has them all.
std::string_view first_missing(const Extensions& have, std::span<const char* const> wanted)
{
    const auto missing = std::ranges::find_if(wanted, [&](const char* name) { return !has(have, name); });
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
    const bool has_drm = has(extensions, VK_EXT_PHYSICAL_DEVICE_DRM_EXTENSION_NAME);
    id.pNext = &driver;
    if (has_drm) driver.pNext = &drm;
    const bool has_pci = has(extensions, VK_EXT_PCI_BUS_INFO_EXTENSION_NAME);
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

std::string_view result_name(VkResult result)
{
#define CASE(value)                                                                                                            \
    case value: return #value
    switch (result) {
        CASE(VK_SUCCESS);
        CASE(VK_NOT_READY);
        CASE(VK_TIMEOUT);
        CASE(VK_INCOMPLETE);
        CASE(VK_ERROR_OUT_OF_HOST_MEMORY);
        CASE(VK_ERROR_OUT_OF_DEVICE_MEMORY);
        CASE(VK_ERROR_INITIALIZATION_FAILED);
        CASE(VK_ERROR_DEVICE_LOST);
        CASE(VK_ERROR_MEMORY_MAP_FAILED);
        CASE(VK_ERROR_LAYER_NOT_PRESENT);
        CASE(VK_ERROR_EXTENSION_NOT_PRESENT);
        CASE(VK_ERROR_FEATURE_NOT_PRESENT);
        CASE(VK_ERROR_INCOMPATIBLE_DRIVER);
        CASE(VK_ERROR_TOO_MANY_OBJECTS);
        CASE(VK_ERROR_FORMAT_NOT_SUPPORTED);
        CASE(VK_ERROR_INVALID_EXTERNAL_HANDLE);
        CASE(VK_ERROR_INVALID_DRM_FORMAT_MODIFIER_PLANE_LAYOUT_EXT);
    default: return "an unknown VkResult";
    }
#undef CASE
}

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
    return fail(Errc::backend_failed, "{}: {} ({})", call, result_name(result), static_cast<int>(result));
}

Result<VulkanInstance> VulkanInstance::create()
{
    VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO};
    application.pApplicationName = "dmabroker-worker";
    application.apiVersion = VK_API_VERSION_1_1;
    VkInstanceCreateInfo create{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    create.pApplicationInfo = &application;
    VkInstance instance = nullptr;
    if (const VkResult r = vkCreateInstance(&create, nullptr, &instance); r != VK_SUCCESS)
        return fail_vulkan("vkCreateInstance", r);
    return VulkanInstance(instance);
}

Result<std::vector<VkPhysicalDevice>> VulkanInstance::devices() const
{
    std::uint32_t count = 0;
    const VkResult counted = vkEnumeratePhysicalDevices(instance_, &count, nullptr);
    if (counted == VK_ERROR_INITIALIZATION_FAILED) return std::vector<VkPhysicalDevice>(); // the loader's word for none
    if (counted != VK_SUCCESS) return fail_vulkan("vkEnumeratePhysicalDevices", counted);
    std::vector<VkPhysicalDevice> list(count);
    if (const VkResult r = vkEnumeratePhysicalDevices(instance_, &count, list.data()); r < VK_SUCCESS)
        return fail_vulkan("vkEnumeratePhysicalDevices", r);
    list.resize(count);
    return list;
}

Result<std::unique_ptr<VulkanDevice>> VulkanDevice::create(const VulkanInstance& instance, VkPhysicalDevice physical,
                                                           Exporter& info)
{
    VkPhysicalDeviceProperties properties{};
    vkGetPhysicalDeviceProperties(physical, &properties);
    info.name = properties.deviceName;
    if (properties.apiVersion < VK_API_VERSION_1_1)
        return fail(Errc::backend_failed, "a Vulkan 1.0 driver; sharing memory needs 1.1");
    describe(physical, extensions_of(physical), info);
    std::unique_ptr<VulkanDevice> device(new VulkanDevice(instance.get(), physical, info));
    TRY(device->open());
    return device;
}

Result<> VulkanDevice::open()
{
    const Extensions have = extensions_of(physical_);
    no_opaque_ = first_missing(have, opaque_extensions);
    no_dma_buf_ = first_missing(have, dma_buf_extensions);
    foreign_family_ = has(have, VK_EXT_QUEUE_FAMILY_FOREIGN_EXTENSION_NAME);
    std::vector<const char*> enabled;
    if (no_dma_buf_.empty()) enabled.assign(dma_buf_extensions.begin(), dma_buf_extensions.end());
    else if (no_opaque_.empty()) enabled.assign(opaque_extensions.begin(), opaque_extensions.end());
    if (foreign_family_) enabled.push_back(VK_EXT_QUEUE_FAMILY_FOREIGN_EXTENSION_NAME);

    TRY(pick_queue());
    const float priority = 1;
    VkDeviceQueueCreateInfo queue{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
    queue.queueFamilyIndex = queue_family_;
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    VkDeviceCreateInfo create{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
    create.queueCreateInfoCount = 1;
    create.pQueueCreateInfos = &queue;
    create.enabledExtensionCount = static_cast<std::uint32_t>(enabled.size());
    create.ppEnabledExtensionNames = enabled.data();
    if (const VkResult r = vkCreateDevice(physical_, &create, nullptr, &device_); r != VK_SUCCESS)
        return fail_vulkan("vkCreateDevice", r);
    vkGetDeviceQueue(device_, queue_family_, 0, &queue_);
    vkGetPhysicalDeviceMemoryProperties(physical_, &memory_);
    get_memory_fd_ = reinterpret_cast<PFN_vkGetMemoryFdKHR>(vkGetDeviceProcAddr(device_, "vkGetMemoryFdKHR"));
    get_modifier_ = reinterpret_cast<PFN_vkGetImageDrmFormatModifierPropertiesEXT>(
        vkGetDeviceProcAddr(device_, "vkGetImageDrmFormatModifierPropertiesEXT"));
    return make_commands();
}

/// Clearing needs graphics or compute.
Result<> VulkanDevice::pick_queue()
{
    std::uint32_t count = 0;
    vkGetPhysicalDeviceQueueFamilyProperties(physical_, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    vkGetPhysicalDeviceQueueFamilyProperties(physical_, &count, families.data());
    for (const VkQueueFlags wanted : {VK_QUEUE_GRAPHICS_BIT, VK_QUEUE_COMPUTE_BIT})
        for (queue_family_ = 0; queue_family_ < count; ++queue_family_)
            if (families[queue_family_].queueFlags & wanted) return {};
    return fail(Errc::backend_failed, "the device has no graphics or compute queue");
}

Result<> VulkanDevice::make_commands()
{
    VkCommandPoolCreateInfo pool{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    pool.queueFamilyIndex = queue_family_;
    VkCommandPool made_pool{};
    if (const VkResult r = vkCreateCommandPool(device_, &pool, nullptr, &made_pool); r != VK_SUCCESS)
        return fail_vulkan("vkCreateCommandPool", r);
    pool_ = OwnedPool(device_, made_pool);

    VkCommandBufferAllocateInfo allocate{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
    allocate.commandPool = made_pool;
    allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    allocate.commandBufferCount = 1;
    if (const VkResult r = vkAllocateCommandBuffers(device_, &allocate, &commands_); r != VK_SUCCESS)
        return fail_vulkan("vkAllocateCommandBuffers", r);

    const VkFenceCreateInfo fence{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkFence made_fence{};
    if (const VkResult r = vkCreateFence(device_, &fence, nullptr, &made_fence); r != VK_SUCCESS)
        return fail_vulkan("vkCreateFence", r);
    fence_ = OwnedFence(device_, made_fence);
    return {};
}

VulkanDevice::~VulkanDevice()
{
    // A lost device may still run; the process ends right after, and the kernel sorts it out.
    if (!device_ || lost_) return;
    fence_ = {};
    pool_ = {};
    vkDestroyDevice(device_, nullptr);
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
    if (const VkResult r = vkAllocateMemory(device_, &allocate, nullptr, &memory); r != VK_SUCCESS)
        return fail_vulkan("vkAllocateMemory for export", r);
    return OwnedMemory(device_, memory);
}

Result<UniqueFd> VulkanDevice::export_memory(VkDeviceMemory memory, VkExternalMemoryHandleTypeFlagBits type) const
{
    VkMemoryGetFdInfoKHR get{VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR};
    get.memory = memory;
    get.handleType = type;
    int fd = -1;
    if (const VkResult r = get_memory_fd_(device_, &get, &fd); r != VK_SUCCESS) return fail_vulkan("vkGetMemoryFdKHR", r);
    return UniqueFd::adopt(fd);
}

Result<std::uint64_t> VulkanDevice::modifier_of(VkImage image) const
{
    VkImageDrmFormatModifierPropertiesEXT properties{VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_PROPERTIES_EXT};
    if (const VkResult r = get_modifier_(device_, image, &properties); r != VK_SUCCESS)
        return fail_vulkan("vkGetImageDrmFormatModifierPropertiesEXT", r);
    return properties.drmFormatModifier;
}

Result<Staging> VulkanDevice::make_staging(std::uint64_t size) const
{
    Staging staging;
    staging.size = size;
    VkBufferCreateInfo create{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    create.size = size;
    create.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    VkBuffer buffer{};
    if (const VkResult r = vkCreateBuffer(device_, &create, nullptr, &buffer); r != VK_SUCCESS)
        return fail_vulkan("vkCreateBuffer", r);
    staging.buffer = OwnedBuffer(device_, buffer);
    VkMemoryRequirements needs{};
    vkGetBufferMemoryRequirements(device_, buffer, &needs);

    VkMemoryAllocateInfo allocate{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
    allocate.allocationSize = needs.size;
    allocate.memoryTypeIndex =
        memory_type(needs.memoryTypeBits, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    VkDeviceMemory memory{};
    if (const VkResult r = vkAllocateMemory(device_, &allocate, nullptr, &memory); r != VK_SUCCESS)
        return fail_vulkan("vkAllocateMemory for a staging buffer", r);
    staging.memory = OwnedMemory(device_, memory);
    if (const VkResult r = vkBindBufferMemory(device_, buffer, memory, 0); r != VK_SUCCESS)
        return fail_vulkan("vkBindBufferMemory", r);
    void* data = nullptr;
    if (const VkResult r = vkMapMemory(device_, memory, 0, VK_WHOLE_SIZE, 0, &data); r != VK_SUCCESS)
        return fail_vulkan("vkMapMemory", r);
    staging.data = static_cast<std::byte*>(data);
    return staging;
}

Result<> VulkanDevice::run(const std::function<void(VkCommandBuffer)>& record)
{
    vkResetCommandPool(device_, pool_.get(), 0);
    VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    if (const VkResult r = vkBeginCommandBuffer(commands_, &begin); r != VK_SUCCESS)
        return fail_vulkan("vkBeginCommandBuffer", r);
    record(commands_);
    if (const VkResult r = vkEndCommandBuffer(commands_); r != VK_SUCCESS) return fail_vulkan("vkEndCommandBuffer", r);
    return submit_and_wait();
}

Result<> VulkanDevice::submit_and_wait()
{
    VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &commands_;
    const VkFence fence = fence_.get();
    VkResult r = vkQueueSubmit(queue_, 1, &submit, fence);
    lost_ |= r == VK_ERROR_DEVICE_LOST;
    if (r != VK_SUCCESS) return fail_vulkan("vkQueueSubmit", r);
    r = vkWaitForFences(device_, 1, &fence, VK_TRUE, wait_ns);
    lost_ |= r != VK_SUCCESS;
    if (r != VK_SUCCESS) return fail_vulkan("vkWaitForFences", r);
    vkResetFences(device_, 1, &fence);
    return {};
}

} // namespace dmb::worker
