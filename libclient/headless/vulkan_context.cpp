// SPDX-License-Identifier: MIT
// VulkanContext owns one logical device with one queue and a command pool; run() records, submits and waits. Instance
// and device are made with every extension of the list that the driver has: what is missing is then the importer's to
// refuse, with its own sentence. libvulkan is never closed, as libEGL. For one thread; errors are exceptions with the
// call's name.
#include "libclient/headless/vulkan_context.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <dlfcn.h>
#include <stdexcept>

namespace dmb::gpu {

void check(VkResult result, const char* operation)
{
    if (result < 0) throw std::runtime_error(std::string(operation) + " failed with VkResult " + std::to_string(result));
}

namespace {

constexpr std::array wanted_extensions{
    "VK_KHR_external_memory_fd",   "VK_EXT_external_memory_dma_buf", "VK_EXT_image_drm_format_modifier",
    "VK_EXT_queue_family_foreign", "VK_KHR_image_format_list",       "VK_KHR_external_semaphore_fd",
    "VK_KHR_timeline_semaphore",
};

struct Library {
    PFN_vkGetInstanceProcAddr get_proc = nullptr;
    VkInstance instance = VK_NULL_HANDLE;
    std::vector<VkPhysicalDevice> devices;

    template <class F> F function(const char* name) const { return reinterpret_cast<F>(get_proc(instance, name)); }
};

Library open_library()
{
    void* handle = ::dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!handle) throw std::runtime_error("there is no libvulkan.so.1: install libvulkan1 and mesa-vulkan-drivers");
    Library vulkan;
    vulkan.get_proc = reinterpret_cast<PFN_vkGetInstanceProcAddr>(::dlsym(handle, "vkGetInstanceProcAddr"));
    if (!vulkan.get_proc) throw std::runtime_error("libvulkan.so.1 is not a Vulkan loader: install libvulkan1");
    const VkApplicationInfo application{
        VK_STRUCTURE_TYPE_APPLICATION_INFO, nullptr, "dmabroker", 0, nullptr, 0, VK_API_VERSION_1_1};
    VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    info.pApplicationInfo = &application;
    check(vulkan.function<PFN_vkCreateInstance>("vkCreateInstance")(&info, nullptr, &vulkan.instance), "vkCreateInstance");
    std::uint32_t count = 0;
    const auto enumerate = vulkan.function<PFN_vkEnumeratePhysicalDevices>("vkEnumeratePhysicalDevices");
    check(enumerate(vulkan.instance, &count, nullptr), "vkEnumeratePhysicalDevices");
    vulkan.devices.resize(count);
    check(enumerate(vulkan.instance, &count, vulkan.devices.data()), "vkEnumeratePhysicalDevices");
    return vulkan;
}

const Library& library()
{
    static const Library vulkan = open_library();
    return vulkan;
}

std::vector<const char*> available_extensions(VkPhysicalDevice device)
{
    const auto enumerate = library().function<PFN_vkEnumerateDeviceExtensionProperties>("vkEnumerateDeviceExtensionProperties");
    std::uint32_t count = 0;
    check(enumerate(device, nullptr, &count, nullptr), "vkEnumerateDeviceExtensionProperties");
    std::vector<VkExtensionProperties> listed(count);
    check(enumerate(device, nullptr, &count, listed.data()), "vkEnumerateDeviceExtensionProperties");
    std::vector<const char*> out;
    for (const char* name : wanted_extensions)
        for (const auto& extension : listed)
            if (std::strcmp(extension.extensionName, name) == 0) out.push_back(name);
    return out;
}

bool contains(const std::vector<const char*>& names, const char* wanted)
{
    return std::any_of(names.begin(), names.end(), [&](const char* name) { return std::strcmp(name, wanted) == 0; });
}

std::uint32_t drawing_queue_family(VkPhysicalDevice device)
{
    const auto query =
        library().function<PFN_vkGetPhysicalDeviceQueueFamilyProperties>("vkGetPhysicalDeviceQueueFamilyProperties");
    std::uint32_t count = 0;
    query(device, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    query(device, &count, families.data());
    for (std::uint32_t i = 0; i < count; ++i)
        if (families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) return i;
    throw std::runtime_error("the device has no queue that draws");
}

} // namespace

struct VulkanContext::State {
    VkPhysicalDevice physical = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    VkQueue queue = VK_NULL_HANDLE;
    VkCommandPool pool = VK_NULL_HANDLE;
    std::uint32_t family = 0;
    Vk vk;
    std::string name;
    bool software = false;
    VkPhysicalDeviceIDProperties ids{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES};
    VkPhysicalDeviceMemoryProperties memory{};

    ~State()
    {
        if (pool) vk.DestroyCommandPool(device, pool, nullptr);
        if (device) vk.DestroyDevice(device, nullptr);
    }
    void describe();
    void make_device();
};

void VulkanContext::State::describe()
{
    VkPhysicalDeviceDriverProperties driver{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES, &ids};
    VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &driver};
    library().function<PFN_vkGetPhysicalDeviceProperties2>("vkGetPhysicalDeviceProperties2")(physical, &properties);
    library().function<PFN_vkGetPhysicalDeviceMemoryProperties>("vkGetPhysicalDeviceMemoryProperties")(physical, &memory);
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
    const auto extensions = available_extensions(physical);
    // The extension promises the feature.
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES};
    timeline.timelineSemaphore = VK_TRUE;
    VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
    if (contains(extensions, "VK_KHR_timeline_semaphore")) info.pNext = &timeline;
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queues;
    info.enabledExtensionCount = static_cast<std::uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    check(library().function<PFN_vkCreateDevice>("vkCreateDevice")(physical, &info, nullptr, &device), "vkCreateDevice");
    const auto get = library().function<PFN_vkGetDeviceProcAddr>("vkGetDeviceProcAddr");
#define X(function) vk.function = reinterpret_cast<PFN_vk##function>(get(device, "vk" #function));
    DMB_VK_FUNCTIONS(X)
#undef X
    vk.GetDeviceQueue(device, family, 0, &queue);
    const VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr, 0, family};
    check(vk.CreateCommandPool(device, &pool_info, nullptr, &pool), "vkCreateCommandPool");
}

unsigned VulkanContext::count() { return static_cast<unsigned>(library().devices.size()); }

VulkanContext::VulkanContext(unsigned index) : state_(std::make_unique<State>())
{
    if (index >= count()) throw std::runtime_error("no Vulkan driver found a device: install mesa-vulkan-drivers");
    state_->physical = library().devices[index];
    state_->describe();
    state_->make_device();
}

VulkanContext::VulkanContext(VulkanContext&&) noexcept = default;
VulkanContext::~VulkanContext() = default;

dmabroker::vulkan::Device VulkanContext::device() const
{
    return {library().instance, state_->physical, state_->device, library().get_proc};
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

void VulkanContext::run(const std::function<void(VkCommandBuffer)>& record) const
{
    const Vk& vk = state_->vk;
    const VkCommandBufferAllocateInfo allocation{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr, state_->pool,
                                                 VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
    VkCommandBuffer commands = VK_NULL_HANDLE;
    check(vk.AllocateCommandBuffers(state_->device, &allocation, &commands), "vkAllocateCommandBuffers");
    const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr,
                                         VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT, nullptr};
    check(vk.BeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
    record(commands);
    check(vk.EndCommandBuffer(commands), "vkEndCommandBuffer");
    VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &commands;
    check(vk.QueueSubmit(state_->queue, 1, &submit, VK_NULL_HANDLE), "vkQueueSubmit");
    check(vk.QueueWaitIdle(state_->queue), "vkQueueWaitIdle");
    vk.FreeCommandBuffers(state_->device, state_->pool, 1, &commands);
}

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
