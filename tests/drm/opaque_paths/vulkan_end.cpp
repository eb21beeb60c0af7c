// SPDX-License-Identifier: MIT
// One device, one queue, one pool. A binary semaphore may be waited for only once its signal was submitted (Vulkan's
// rule, VUID 03238), so a signal is kept pending by work before it in the same submission; a timeline's wait may come
// first. Memory for the work is the host's: filling it is slow everywhere, so few commands last long.
#include "tests/drm/opaque_paths/vulkan_end.hpp"

#include "proto/image/types.hpp"
#include "tests/drm/opaque_paths/link.hpp"

#include <algorithm>
#include <chrono>

namespace dmb::paths {
namespace {

using gpu::check;

constexpr VkDeviceSize scratch_bytes = 16 << 20;
constexpr double delay_seconds = 0.25;
constexpr auto opaque_fd = VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_OPAQUE_FD_BIT;

VkSemaphoreTypeCreateInfo type_info(Kind kind)
{
    return {VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, nullptr,
            kind == Kind::timeline ? VK_SEMAPHORE_TYPE_TIMELINE : VK_SEMAPHORE_TYPE_BINARY, 0};
}

VkBufferImageCopy rows(dmabroker::Size size)
{
    VkBufferImageCopy copy{};
    copy.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    copy.imageExtent = {size.width, size.height, 1};
    return copy;
}

} // namespace

// --- semaphores ------------------------------------------------------------------------------

Semaphore::Semaphore(const VulkanEnd& end, Kind kind, const void* next) : end_(&end)
{
    VkSemaphoreTypeCreateInfo type = type_info(kind);
    type.pNext = next;
    // Drivers without timelines need not know the structure.
    const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, kind == Kind::timeline ? &type : next, 0};
    check(end.functions_.create_semaphore(end.context().handle(), &info, nullptr, &handle_), "vkCreateSemaphore");
}

Semaphore::~Semaphore()
{
    if (handle_) end_->functions_.destroy_semaphore(end_->context().handle(), handle_, nullptr);
}

Semaphore Semaphore::local(const VulkanEnd& end, Kind kind) { return Semaphore(end, kind, nullptr); }

Semaphore Semaphore::exportable(const VulkanEnd& end, Kind kind)
{
    if (!end.shares(kind))
        throw Skip(end.context().name() + " exports no " + (kind == Kind::binary ? "binary" : "timeline") +
                   " semaphores as OPAQUE_FD");
    const VkExportSemaphoreCreateInfo exported{VK_STRUCTURE_TYPE_EXPORT_SEMAPHORE_CREATE_INFO, nullptr, opaque_fd};
    return Semaphore(end, kind, &exported);
}

Semaphore Semaphore::imported(const VulkanEnd& end, Kind kind, UniqueFd fd)
{
    Semaphore out = local(end, kind);
    VkImportSemaphoreFdInfoKHR info{VK_STRUCTURE_TYPE_IMPORT_SEMAPHORE_FD_INFO_KHR};
    info.semaphore = out.handle_;
    info.handleType = opaque_fd;
    info.fd = fd.get();
    check(end.functions_.import_semaphore_fd(end.context().handle(), &info), "vkImportSemaphoreFdKHR");
    static_cast<void>(fd.release()); // Vulkan's now
    return out;
}

UniqueFd Semaphore::export_fd() const
{
    const VkSemaphoreGetFdInfoKHR info{VK_STRUCTURE_TYPE_SEMAPHORE_GET_FD_INFO_KHR, nullptr, handle_, opaque_fd};
    int fd = -1;
    check(end_->functions_.get_semaphore_fd(end_->context().handle(), &info, &fd), "vkGetSemaphoreFdKHR");
    return UniqueFd::adopt(fd);
}

// --- commands --------------------------------------------------------------------------------

Commands::Commands(const VulkanEnd& end, const std::function<void(VkCommandBuffer)>& record) : end_(end)
{
    const VkDevice device = end.context().handle();
    const gpu::Vk& vk = end.context().vk();
    const VkCommandBufferAllocateInfo allocation{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr, end.pool_,
                                                 VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
    check(vk.AllocateCommandBuffers(device, &allocation, &commands_), "vkAllocateCommandBuffers");
    const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr, 0, nullptr};
    check(vk.BeginCommandBuffer(commands_, &begin), "vkBeginCommandBuffer");
    record(commands_);
    check(vk.EndCommandBuffer(commands_), "vkEndCommandBuffer");
    const VkFenceCreateInfo fence{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO, nullptr, 0};
    check(end.functions_.create_fence(device, &fence, nullptr, &fence_), "vkCreateFence");
}

Commands::~Commands()
{
    const VkDevice device = end_.context().handle();
    end_.functions_.destroy_fence(device, fence_, nullptr);
    end_.context().vk().FreeCommandBuffers(device, end_.pool_, 1, &commands_);
}

void Commands::submit(At wait, At signal)
{
    check(end_.functions_.reset_fences(end_.context().handle(), 1, &fence_), "vkResetFences");
    const VkPipelineStageFlags everything = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    info.pWaitDstStageMask = &everything;
    info.waitSemaphoreCount = values.waitSemaphoreValueCount = wait.semaphore ? 1 : 0;
    info.signalSemaphoreCount = values.signalSemaphoreValueCount = signal.semaphore ? 1 : 0;
    info.pWaitSemaphores = &wait.semaphore;
    info.pSignalSemaphores = &signal.semaphore;
    values.pWaitSemaphoreValues = &wait.value;
    values.pSignalSemaphoreValues = &signal.value;
    if (wait.value || signal.value) info.pNext = &values;
    info.commandBufferCount = 1;
    info.pCommandBuffers = &commands_;
    check(end_.context().vk().QueueSubmit(end_.queue_, 1, &info, fence_), "vkQueueSubmit");
}

bool Commands::done() const { return end_.functions_.fence_status(end_.context().handle(), fence_) == VK_SUCCESS; }

void Commands::wait()
{
    constexpr std::uint64_t half_a_minute = 30'000'000'000;
    const VkResult result = end_.functions_.wait_for_fences(end_.context().handle(), 1, &fence_, VK_TRUE, half_a_minute);
    if (result == VK_TIMEOUT) throw std::runtime_error("the GPU did not finish within half a minute");
    check(result, "vkWaitForFences");
}

// --- the device ------------------------------------------------------------------------------

VulkanEnd::VulkanEnd(unsigned device)
    : context_(device),
      functions_(load()),
      pool_(make_pool()),
      scratch_(context_, scratch_bytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT)
{
    context_.vk().GetDeviceQueue(context_.handle(), context_.queue_family(), 0, &queue_);
}

VulkanEnd::~VulkanEnd()
{
    context_.vk().DeviceWaitIdle(context_.handle());
    context_.vk().DestroyCommandPool(context_.handle(), pool_, nullptr);
}

VulkanEnd::Functions VulkanEnd::load() const
{
    const dmabroker::vulkan::Device device = context_.device();
    const auto get =
        reinterpret_cast<PFN_vkGetDeviceProcAddr>(device.get_instance_proc_addr(device.instance, "vkGetDeviceProcAddr"));
    const auto find = [&](auto& function, const char* name) {
        function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(get(device.device, name));
    };
    Functions out;
    find(out.create_semaphore, "vkCreateSemaphore");
    find(out.destroy_semaphore, "vkDestroySemaphore");
    find(out.get_semaphore_fd, "vkGetSemaphoreFdKHR");
    find(out.import_semaphore_fd, "vkImportSemaphoreFdKHR");
    find(out.create_fence, "vkCreateFence");
    find(out.destroy_fence, "vkDestroyFence");
    find(out.reset_fences, "vkResetFences");
    find(out.fence_status, "vkGetFenceStatus");
    find(out.wait_for_fences, "vkWaitForFences");
    find(out.fill, "vkCmdFillBuffer");
    return out;
}

VkCommandPool VulkanEnd::make_pool() const
{
    const VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr, 0, context_.queue_family()};
    VkCommandPool pool = VK_NULL_HANDLE;
    check(context_.vk().CreateCommandPool(context_.handle(), &info, nullptr, &pool), "vkCreateCommandPool");
    return pool;
}

std::string VulkanEnd::uuid() const
{
    Uuid out;
    std::copy_n(context_.ids().deviceUUID, out.size(), out.begin());
    return to_string(out);
}

bool VulkanEnd::shares(Kind kind) const
{
    if (!functions_.get_semaphore_fd || !functions_.import_semaphore_fd) return false;
    const dmabroker::vulkan::Device device = context_.device();
    const auto query = reinterpret_cast<PFN_vkGetPhysicalDeviceExternalSemaphoreProperties>(
        device.get_instance_proc_addr(device.instance, "vkGetPhysicalDeviceExternalSemaphoreProperties"));
    const VkSemaphoreTypeCreateInfo type = type_info(kind);
    const VkPhysicalDeviceExternalSemaphoreInfo info{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_SEMAPHORE_INFO,
                                                     kind == Kind::timeline ? &type : nullptr, opaque_fd};
    VkExternalSemaphoreProperties found{VK_STRUCTURE_TYPE_EXTERNAL_SEMAPHORE_PROPERTIES};
    query(device.physical_device, &info, &found);
    constexpr auto both = VK_EXTERNAL_SEMAPHORE_FEATURE_EXPORTABLE_BIT | VK_EXTERNAL_SEMAPHORE_FEATURE_IMPORTABLE_BIT;
    return (found.externalSemaphoreFeatures & both) == both;
}

void VulkanEnd::record_draw(VkCommandBuffer commands, const dmabroker::vulkan::Images& images, VkBuffer from,
                            dmabroker::Size size) const
{
    const auto writing = context_.mine(VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_ACCESS_TRANSFER_WRITE_BIT);
    const VkBufferImageCopy copy = rows(size);
    context_.barrier(commands, images.image(), context_.external(images), writing);
    context_.vk().CmdCopyBufferToImage(commands, from, images.image(), writing.layout, 1, &copy);
    context_.barrier(commands, images.image(), writing, context_.external(images));
}

void VulkanEnd::record_read(VkCommandBuffer commands, const dmabroker::vulkan::Images& images, VkBuffer to,
                            dmabroker::Size size) const
{
    const auto reading = context_.mine(VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, VK_ACCESS_TRANSFER_READ_BIT);
    const VkBufferImageCopy copy = rows(size);
    context_.barrier(commands, images.image(), context_.external(images), reading);
    context_.vk().CmdCopyImageToBuffer(commands, images.image(), reading.layout, to, 1, &copy);
    context_.barrier(commands, images.image(), reading, context_.external(images));
}

void VulkanEnd::fill_scratch(VkCommandBuffer commands, unsigned times) const
{
    // Each waits for the one before: drivers run them at once otherwise.
    VkMemoryBarrier in_order{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, VK_ACCESS_TRANSFER_WRITE_BIT,
                             VK_ACCESS_TRANSFER_WRITE_BIT};
    for (unsigned i = 0; i < times; ++i) {
        functions_.fill(commands, scratch_.buffer(), 0, VK_WHOLE_SIZE, i);
        context_.vk().CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 1,
                                         &in_order, 0, nullptr, 0, nullptr);
    }
}

unsigned VulkanEnd::calibrate() const
{
    constexpr unsigned tried = 32;
    Commands trial(*this, [&](VkCommandBuffer commands) { fill_scratch(commands, tried); });
    const auto begin = std::chrono::steady_clock::now();
    trial.submit();
    trial.wait();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    return std::clamp(static_cast<unsigned>(tried * delay_seconds / took.count()), 1u, 100'000u);
}

void VulkanEnd::record_delay(VkCommandBuffer commands) const
{
    if (fills_ == 0) fills_ = calibrate();
    fill_scratch(commands, fills_);
}

} // namespace dmb::paths
