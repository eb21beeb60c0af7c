// SPDX-License-Identifier: MIT
// One Vulkan device with one queue, and copies between images or buffers and memory. The loader is opened at run
// time: a machine without it gets a sentence instead of a loader error.
#pragma once
#include <dmabroker/dmabroker.hpp>
#include <dmabroker/vulkan.hpp>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dmb::gpu {

// clang-format off: it does not know what X is
#define DMB_VK_FUNCTIONS(X)                                                                                                  \
    X(AllocateCommandBuffers) X(AllocateMemory) X(BeginCommandBuffer) X(BindBufferMemory) X(BindImageMemory)                 \
    X(CmdBlitImage) X(CmdClearColorImage) X(CmdCopyBuffer) X(CmdCopyBufferToImage) X(CmdCopyImage)                           \
    X(CmdCopyImageToBuffer) X(CmdPipelineBarrier) X(CreateBuffer) X(CreateCommandPool) X(CreateFence) X(CreateImage)         \
    X(DestroyBuffer) X(DestroyCommandPool) X(DestroyDevice) X(DestroyFence) X(DestroyImage) X(DeviceWaitIdle)                \
    X(EndCommandBuffer) X(FreeCommandBuffers) X(FreeMemory) X(GetBufferMemoryRequirements) X(GetDeviceQueue)                 \
    X(GetImageMemoryRequirements) X(MapMemory) X(QueueSubmit) X(ResetCommandPool) X(ResetFences) X(WaitForFences)
// clang-format on

/// Device functions under their names without "vk".
struct Vk {
#define X(name) PFN_vk##name name = nullptr;
    DMB_VK_FUNCTIONS(X)
#undef X
};

/// Where an image is before or after commands: whose it is, and in which layout.
struct ImageState {
    VkImageLayout layout = VK_IMAGE_LAYOUT_UNDEFINED;
    VkAccessFlags access = 0;
    std::uint32_t queue_family = VK_QUEUE_FAMILY_IGNORED;
};

/// Memory that both the CPU and the device see.
class HostBuffer;

class VulkanContext {
public:
    /// Throws std::runtime_error where there is no Vulkan.
    static unsigned count();
    static VkPhysicalDevice physical(unsigned index);
    explicit VulkanContext(unsigned index);
    VulkanContext(VulkanContext&&) noexcept;
    ~VulkanContext();

    dmabroker::vulkan::Device device() const;
    VkDevice handle() const { return device().device; }
    const Vk& vk() const;
    /// "llvmpipe (LLVM 15.0.6, 256 bits), Mesa 25.0.7".
    const std::string& name() const;
    bool software() const;
    std::uint32_t queue_family() const;
    const VkPhysicalDeviceIDProperties& ids() const;
    /// The first memory type of `allowed` with these properties; throws when there is none.
    std::uint32_t memory_type(std::uint32_t allowed, VkMemoryPropertyFlags properties) const;

    /// Records, submits and waits. Throws when that takes longer, and then or after a device loss it is lost().
    void run(const std::function<void(VkCommandBuffer)>& record, std::uint64_t patience_ns = 120'000'000'000) const;
    bool lost() const;
    void barrier(VkCommandBuffer, VkImage, ImageState from, ImageState to) const;
    /// The state in which other processes leave an imported image and want it back.
    ImageState external(const dmabroker::vulkan::Images&) const;
    ImageState mine(VkImageLayout layout, VkAccessFlags access) const { return {layout, access, queue_family()}; }
    /// Copies an imported image out; tightly packed.
    std::vector<std::uint8_t> read(const dmabroker::vulkan::Images&, dmabroker::Size size, std::size_t bytes_per_pixel) const;
    /// Copies all of an imported buffer out, or over.
    std::vector<std::uint8_t> read(const dmabroker::vulkan::Buffer&) const;
    void write(const dmabroker::vulkan::Buffer&, std::span<const std::uint8_t>) const;

private:
    /// Runs `record` while the buffer belongs to this device.
    void with(const dmabroker::vulkan::Buffer&, const std::function<void(VkCommandBuffer)>& record) const;
    struct State;
    std::unique_ptr<State> state_;
};

class HostBuffer {
public:
    /// `properties`: what else its memory must be, e.g. cached for reading.
    HostBuffer(const VulkanContext&, std::size_t size, VkBufferUsageFlags usage, VkMemoryPropertyFlags properties = 0);
    ~HostBuffer();
    HostBuffer(const HostBuffer&) = delete;
    HostBuffer& operator=(const HostBuffer&) = delete;
    VkBuffer buffer() const { return buffer_; }
    std::uint8_t* data() const { return data_; }

private:
    const VulkanContext& context_;
    VkBuffer buffer_ = VK_NULL_HANDLE;
    VkDeviceMemory memory_ = VK_NULL_HANDLE;
    std::uint8_t* data_ = nullptr;
};

/// All that the driver has.
std::vector<VkExtensionProperties> extensions_of(VkPhysicalDevice);
bool has(const std::vector<VkExtensionProperties>&, std::string_view name);

/// "vkCreateBuffer: VK_ERROR_OUT_OF_DEVICE_MEMORY (-2)".
std::string failure(std::string_view call, VkResult);
/// Throws that.
void check(VkResult result, const char* call);

} // namespace dmb::gpu
