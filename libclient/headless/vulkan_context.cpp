// SPDX-License-Identifier: MIT
// VulkanContext owns one logical device with one queue and a command pool; run() records, submits and waits. The device
// is made with every extension of the list that the driver has: what is missing is then the importer's to refuse, with its
// own sentence. libvulkan is never closed, as libEGL. For one thread; errors are exceptions with the
// call's name.
#include "libclient/headless/vulkan_context.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <dlfcn.h>
#include <iterator>
#include <stdexcept>

namespace dmb::gpu {
namespace {

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

constexpr std::array wanted_extensions{
    "VK_KHR_external_memory_fd",   "VK_EXT_external_memory_dma_buf", "VK_EXT_image_drm_format_modifier",
    "VK_EXT_queue_family_foreign", "VK_KHR_image_format_list",       "VK_KHR_external_semaphore_fd",
    "VK_KHR_timeline_semaphore",
};

struct VulkanLibrary {
    PFN_vkGetInstanceProcAddr get_proc = nullptr;
    VkInstance instance = VK_NULL_HANDLE;
    std::vector<VkPhysicalDevice> devices;

    template <class F> F function(const char* name) const { return reinterpret_cast<F>(get_proc(instance, name)); }
};

VulkanLibrary open_vulkan()
{
    void* handle = ::dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!handle) throw std::runtime_error("there is no libvulkan.so.1: install libvulkan1 and mesa-vulkan-drivers");
    VulkanLibrary vulkan;
    vulkan.get_proc = reinterpret_cast<PFN_vkGetInstanceProcAddr>(::dlsym(handle, "vkGetInstanceProcAddr"));
    if (!vulkan.get_proc) throw std::runtime_error("libvulkan.so.1 is not a Vulkan loader: install libvulkan1");
    const VkApplicationInfo application{
        VK_STRUCTURE_TYPE_APPLICATION_INFO, nullptr, "dmabroker", 0, nullptr, 0, VK_API_VERSION_1_1};
    VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    info.pApplicationInfo = &application;
    check(vulkan.function<PFN_vkCreateInstance>("vkCreateInstance")(&info, nullptr, &vulkan.instance), "vkCreateInstance");
    std::uint32_t count = 0;
    const auto enumerate = vulkan.function<PFN_vkEnumeratePhysicalDevices>("vkEnumeratePhysicalDevices");
    const VkResult counted = enumerate(vulkan.instance, &count, nullptr);
    if (counted == VK_ERROR_INITIALIZATION_FAILED) return vulkan; // the loader's word for none
    check(counted, "vkEnumeratePhysicalDevices");
    vulkan.devices.resize(count);
    check(enumerate(vulkan.instance, &count, vulkan.devices.data()), "vkEnumeratePhysicalDevices");
    return vulkan;
}

const VulkanLibrary& vulkan_library()
{
    static const VulkanLibrary vulkan = open_vulkan();
    return vulkan;
}

/// One that draws, or at least computes: clearing needs one of them.
std::uint32_t drawing_queue_family(VkPhysicalDevice device)
{
    const auto query =
        vulkan_library().function<PFN_vkGetPhysicalDeviceQueueFamilyProperties>("vkGetPhysicalDeviceQueueFamilyProperties");
    std::uint32_t count = 0;
    query(device, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    query(device, &count, families.data());
    for (const VkQueueFlags wanted : {VK_QUEUE_GRAPHICS_BIT, VK_QUEUE_COMPUTE_BIT})
        for (std::uint32_t i = 0; i < count; ++i)
            if (families[i].queueFlags & wanted) return i;
    throw std::runtime_error("the device has no graphics or compute queue");
}

} // namespace

std::string failure(std::string_view call, VkResult result)
{
    return std::string(call) + ": " + std::string(result_name(result)) + " (" + std::to_string(result) + ")";
}

void check(VkResult result, const char* call)
{
    if (result < 0) throw std::runtime_error(failure(call, result));
}

std::vector<VkExtensionProperties> extensions_of(VkPhysicalDevice device)
{
    const auto enumerate =
        vulkan_library().function<PFN_vkEnumerateDeviceExtensionProperties>("vkEnumerateDeviceExtensionProperties");
    std::uint32_t count = 0;
    check(enumerate(device, nullptr, &count, nullptr), "vkEnumerateDeviceExtensionProperties");
    std::vector<VkExtensionProperties> out(count);
    check(enumerate(device, nullptr, &count, out.data()), "vkEnumerateDeviceExtensionProperties");
    out.resize(count);
    return out;
}

bool has(const std::vector<VkExtensionProperties>& list, std::string_view name)
{
    return std::any_of(list.begin(), list.end(), [&](const VkExtensionProperties& e) { return e.extensionName == name; });
}

struct VulkanContext::State {
    VkPhysicalDevice physical = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    VkQueue queue = VK_NULL_HANDLE;
    VkCommandPool pool = VK_NULL_HANDLE;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    VkFence fence = VK_NULL_HANDLE;
    bool lost = false;
    std::uint32_t family = 0;
    Vk vk;
    std::string name;
    bool software = false;
    VkPhysicalDeviceIDProperties ids{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES};
    VkPhysicalDeviceMemoryProperties memory{};

    ~State()
    {
        if (lost) return; // it may still run; the end of the process sorts it out
        if (fence) vk.DestroyFence(device, fence, nullptr);
        if (pool) vk.DestroyCommandPool(device, pool, nullptr);
        if (device) vk.DestroyDevice(device, nullptr);
    }
    void describe();
    void make_device();
    void make_commands();
    void submit(std::uint64_t patience_ns);
};

void VulkanContext::State::describe()
{
    VkPhysicalDeviceDriverProperties driver{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES, &ids};
    VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &driver};
    vulkan_library().function<PFN_vkGetPhysicalDeviceProperties2>("vkGetPhysicalDeviceProperties2")(physical, &properties);
    vulkan_library().function<PFN_vkGetPhysicalDeviceMemoryProperties>("vkGetPhysicalDeviceMemoryProperties")(physical,
                                                                                                              &memory);
    ids.pNext = nullptr;
    name = properties.properties.deviceName;
    if (driver.driverInfo[0]) name += std::string(", ") + driver.driverInfo;
    software = properties.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
}

void VulkanContext::State::make_device()
{
    family = drawing_queue_family(physical);
    const float priority = 1;
    const VkDeviceQueueCreateInfo queues{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, family, 1, &priority};
    const auto listed = extensions_of(physical);
    std::vector<const char*> extensions;
    std::ranges::copy_if(wanted_extensions, std::back_inserter(extensions),
                         [&](const char* wanted) { return has(listed, wanted); });
    // The extension promises the feature.
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES};
    timeline.timelineSemaphore = VK_TRUE;
    VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
    if (has(listed, "VK_KHR_timeline_semaphore")) info.pNext = &timeline;
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queues;
    info.enabledExtensionCount = static_cast<std::uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    check(vulkan_library().function<PFN_vkCreateDevice>("vkCreateDevice")(physical, &info, nullptr, &device), "vkCreateDevice");
    const auto get = vulkan_library().function<PFN_vkGetDeviceProcAddr>("vkGetDeviceProcAddr");
#define X(function) vk.function = reinterpret_cast<PFN_vk##function>(get(device, "vk" #function));
    DMB_VK_FUNCTIONS(X)
#undef X
    vk.GetDeviceQueue(device, family, 0, &queue);
}

void VulkanContext::State::make_commands()
{
    const VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr, 0, family};
    check(vk.CreateCommandPool(device, &pool_info, nullptr, &pool), "vkCreateCommandPool");
    const VkCommandBufferAllocateInfo allocation{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr, pool,
                                                 VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
    check(vk.AllocateCommandBuffers(device, &allocation, &commands), "vkAllocateCommandBuffers");
    const VkFenceCreateInfo fence_info{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    check(vk.CreateFence(device, &fence_info, nullptr, &fence), "vkCreateFence");
}

void VulkanContext::State::submit(std::uint64_t patience_ns)
{
    VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    info.commandBufferCount = 1;
    info.pCommandBuffers = &commands;
    VkResult result = vk.QueueSubmit(queue, 1, &info, fence);
    lost |= result == VK_ERROR_DEVICE_LOST;
    check(result, "vkQueueSubmit");
    result = vk.WaitForFences(device, 1, &fence, VK_TRUE, patience_ns);
    lost |= result != VK_SUCCESS;
    if (lost) throw std::runtime_error(failure("vkWaitForFences", result));
    check(vk.ResetFences(device, 1, &fence), "vkResetFences");
}

unsigned VulkanContext::count() { return static_cast<unsigned>(vulkan_library().devices.size()); }

VkPhysicalDevice VulkanContext::physical(unsigned index)
{
    if (index < count()) return vulkan_library().devices[index];
    throw std::runtime_error("no Vulkan driver found a device: install mesa-vulkan-drivers");
}

VulkanContext::VulkanContext(unsigned index) : state_(std::make_unique<State>())
{
    state_->physical = physical(index);
    state_->describe();
    state_->make_device();
    state_->make_commands();
}

VulkanContext::VulkanContext(VulkanContext&&) noexcept = default;
VulkanContext::~VulkanContext() = default;

dmabroker::vulkan::Device VulkanContext::device() const
{
    return {vulkan_library().instance, state_->physical, state_->device, vulkan_library().get_proc};
}
const Vk& VulkanContext::vk() const { return state_->vk; }
const std::string& VulkanContext::name() const { return state_->name; }
bool VulkanContext::software() const { return state_->software; }
std::uint32_t VulkanContext::queue_family() const { return state_->family; }
const VkPhysicalDeviceIDProperties& VulkanContext::ids() const { return state_->ids; }

std::uint32_t VulkanContext::memory_type(std::uint32_t allowed, VkMemoryPropertyFlags properties) const
{
    for (std::uint32_t i = 0; i < state_->memory.memoryTypeCount; ++i)
        if ((allowed & (1u << i)) && (state_->memory.memoryTypes[i].propertyFlags & properties) == properties) return i;
    throw std::runtime_error("the device has no memory of the needed type");
}

void VulkanContext::run(const std::function<void(VkCommandBuffer)>& record, std::uint64_t patience_ns) const
{
    const Vk& vk = state_->vk;
    check(vk.ResetCommandPool(state_->device, state_->pool, 0), "vkResetCommandPool");
    const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr,
                                         VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT, nullptr};
    check(vk.BeginCommandBuffer(state_->commands, &begin), "vkBeginCommandBuffer");
    record(state_->commands);
    check(vk.EndCommandBuffer(state_->commands), "vkEndCommandBuffer");
    state_->submit(patience_ns);
}

bool VulkanContext::lost() const { return state_->lost; }

void VulkanContext::barrier(VkCommandBuffer commands, VkImage image, ImageState from, ImageState to) const
{
    VkImageMemoryBarrier barrier{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
    barrier.srcAccessMask = from.access;
    barrier.dstAccessMask = to.access;
    barrier.oldLayout = from.layout;
    barrier.newLayout = to.layout;
    barrier.srcQueueFamilyIndex = from.queue_family;
    barrier.dstQueueFamilyIndex = to.queue_family;
    barrier.image = image;
    barrier.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    state_->vk.CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0,
                                  nullptr, 0, nullptr, 1, &barrier);
}

ImageState VulkanContext::external(const dmabroker::vulkan::Images& images) const
{
    return {images->external_layout, 0, images->external_queue_family};
}

std::vector<std::uint8_t> VulkanContext::read(const dmabroker::vulkan::Images& images, dmabroker::Size size,
                                              std::size_t bytes_per_pixel) const
{
    const std::size_t bytes = std::size_t{size.width} * size.height * bytes_per_pixel;
    const HostBuffer target(*this, bytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    const ImageState reading = mine(VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, VK_ACCESS_TRANSFER_READ_BIT);
    run([&](VkCommandBuffer commands) {
        barrier(commands, images.image(), external(images), reading);
        VkBufferImageCopy copy{};
        copy.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
        copy.imageExtent = {size.width, size.height, 1};
        vk().CmdCopyImageToBuffer(commands, images.image(), VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, target.buffer(), 1, &copy);
        barrier(commands, images.image(), reading, external(images));
    });
    return {target.data(), target.data() + bytes};
}

void VulkanContext::with(const dmabroker::vulkan::Buffer& buffer, const std::function<void(VkCommandBuffer)>& record) const
{
    const auto pass = [&](VkCommandBuffer commands, std::uint32_t from, std::uint32_t to) {
        VkBufferMemoryBarrier b{VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER};
        b.srcAccessMask = b.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
        b.srcQueueFamilyIndex = from;
        b.dstQueueFamilyIndex = to;
        b.buffer = buffer.buffer();
        b.size = VK_WHOLE_SIZE;
        vk().CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, nullptr,
                                1, &b, 0, nullptr);
    };
    run([&](VkCommandBuffer commands) {
        pass(commands, buffer->external_queue_family, queue_family());
        record(commands);
        pass(commands, queue_family(), buffer->external_queue_family);
    });
}

std::vector<std::uint8_t> VulkanContext::read(const dmabroker::vulkan::Buffer& buffer) const
{
    const HostBuffer target(*this, buffer->size, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    with(buffer, [&](VkCommandBuffer commands) {
        const VkBufferCopy all{0, 0, buffer->size};
        vk().CmdCopyBuffer(commands, buffer.buffer(), target.buffer(), 1, &all);
    });
    return {target.data(), target.data() + buffer->size};
}

void VulkanContext::write(const dmabroker::vulkan::Buffer& buffer, std::span<const std::uint8_t> bytes) const
{
    const HostBuffer source(*this, bytes.size(), VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
    std::memcpy(source.data(), bytes.data(), bytes.size());
    with(buffer, [&](VkCommandBuffer commands) {
        const VkBufferCopy all{0, 0, bytes.size()};
        vk().CmdCopyBuffer(commands, source.buffer(), buffer.buffer(), 1, &all);
    });
}

HostBuffer::HostBuffer(const VulkanContext& context, std::size_t size, VkBufferUsageFlags usage,
                       VkMemoryPropertyFlags properties)
    : context_(context)
{
    const Vk& vk = context.vk();
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.size = size;
    info.usage = usage;
    check(vk.CreateBuffer(context.handle(), &info, nullptr, &buffer_), "vkCreateBuffer");
    VkMemoryRequirements needed{};
    vk.GetBufferMemoryRequirements(context.handle(), buffer_, &needed);
    const std::uint32_t type = context.memory_type(
        needed.memoryTypeBits, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | properties);
    const VkMemoryAllocateInfo allocation{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, needed.size, type};
    check(vk.AllocateMemory(context.handle(), &allocation, nullptr, &memory_), "vkAllocateMemory");
    check(vk.BindBufferMemory(context.handle(), buffer_, memory_, 0), "vkBindBufferMemory");
    void* mapped = nullptr;
    check(vk.MapMemory(context.handle(), memory_, 0, VK_WHOLE_SIZE, 0, &mapped), "vkMapMemory");
    data_ = static_cast<std::uint8_t*>(mapped);
}

HostBuffer::~HostBuffer()
{
    context_.vk().DestroyBuffer(context_.handle(), buffer_, nullptr);
    context_.vk().FreeMemory(context_.handle(), memory_, nullptr);
}

} // namespace dmb::gpu
