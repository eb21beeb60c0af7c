// SPDX-License-Identifier: MIT
// One Vulkan device with the few calls a worker needs: support queries, and command buffers that are waited for.
#pragma once
#include "libclient/headless/vulkan_context.hpp"
#include "proto/base/unique_fd.hpp"
#include "proto/image/capabilities.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>
#include <vulkan/vulkan.h>

namespace dmb::worker {

/// Owns a child of a VkDevice, which must outlive it.
template <class Handle, auto Destroy> class Owned {
public:
    Owned() = default;
    Owned(VkDevice device, Handle handle) : device_(device), handle_(handle) {}
    Owned(Owned&& other) noexcept : device_(other.device_), handle_(std::exchange(other.handle_, Handle{})) {}
    Owned& operator=(Owned&& other) noexcept
    {
        std::swap(device_, other.device_);
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Owned()
    {
        if (handle_) Destroy(device_, handle_, nullptr);
    }
    Handle get() const { return handle_; }

private:
    VkDevice device_{};
    Handle handle_{};
};

using OwnedImage = Owned<VkImage, vkDestroyImage>;
using OwnedMemory = Owned<VkDeviceMemory, vkFreeMemory>;
using OwnedBuffer = Owned<VkBuffer, vkDestroyBuffer>;
using OwnedView = Owned<VkImageView, vkDestroyImageView>;
using OwnedRenderPass = Owned<VkRenderPass, vkDestroyRenderPass>;
using OwnedFramebuffer = Owned<VkFramebuffer, vkDestroyFramebuffer>;

/// Errc::backend_failed with the call and the result's name.
std::unexpected<Error> fail_vulkan(std::string_view call, VkResult);

/// Bytes of a dma-buf that a driver exported. Refuses read-only ones: other drivers crash on these.
Result<std::uint64_t> exported_size(int fd);

/// The most that a staging buffer needs: larger images travel in pieces.
inline constexpr std::uint64_t staging_bytes = 32 * 1024 * 1024;
/// Between a copy into host-visible memory and the CPU's look at it.
void let_host_read(VkCommandBuffer);

/// Host-visible memory that stays mapped.
struct Staging {
    std::unique_ptr<gpu::HostBuffer> memory;
    VkBuffer buffer = VK_NULL_HANDLE;
    std::byte* data = nullptr;
    std::uint64_t size = 0;
};

class VulkanDevice {
public:
    /// `index`: below VulkanContext::count(). `info` is filled as far as it is known even when this fails; its backend and
    /// problem are not touched.
    static Result<std::unique_ptr<VulkanDevice>> create(unsigned index, Exporter& info);
    /// For create(). Throws.
    VulkanDevice(unsigned index, Exporter& info);
    VulkanDevice(const VulkanDevice&) = delete;
    VulkanDevice& operator=(const VulkanDevice&) = delete;

    VkInstance instance() const { return context_->device().instance; }
    VkDevice get() const { return context_->handle(); }
    VkPhysicalDevice physical() const { return physical_; }
    const Exporter& info() const { return info_; }
    /// Empty: it has all extensions for dma-bufs with modifiers. Else what is missing.
    std::string_view no_dma_buf() const { return no_dma_buf_; }
    std::string_view no_opaque() const { return no_opaque_; }
    std::uint32_t queue_family() const { return context_->queue_family(); }
    /// To whom images are released and from whom they are acquired.
    std::uint32_t external_family(VkExternalMemoryHandleTypeFlagBits) const;

    /// The first memory type with all of `wanted`, else the first that is allowed at all.
    std::uint32_t memory_type(std::uint32_t allowed, VkMemoryPropertyFlags wanted) const;
    /// For memory to be shared: the GPU's own, or what the CPU reads fast.
    std::uint32_t exported_memory_type(std::uint32_t allowed, bool host_visible) const;
    VkMemoryPropertyFlags memory_flags(std::uint32_t type) const { return memory_.memoryTypes[type].propertyFlags; }
    /// `dedicated`: may be null.
    Result<OwnedMemory> allocate_exportable(std::uint64_t size, std::uint32_t type, VkExternalMemoryHandleTypeFlagBits,
                                            const VkMemoryDedicatedAllocateInfo* dedicated) const;
    Result<UniqueFd> export_memory(VkDeviceMemory, VkExternalMemoryHandleTypeFlagBits) const;
    Result<std::uint64_t> modifier_of(VkImage) const;

    Result<Staging> make_staging(std::uint64_t size) const;
    /// Records, submits and waits. After a device loss or a wait that takes too long, lost() is true.
    Result<> run(const std::function<void(VkCommandBuffer)>& record);
    bool lost() const { return context_->lost(); }

private:
    VkPhysicalDevice physical_;
    Exporter info_;
    std::string_view no_dma_buf_;
    std::string_view no_opaque_;
    bool foreign_family_ = false;
    VkPhysicalDeviceMemoryProperties memory_{};
    std::optional<gpu::VulkanContext> context_;
    PFN_vkGetMemoryFdKHR get_memory_fd_ = nullptr;
    PFN_vkGetImageDrmFormatModifierPropertiesEXT get_modifier_ = nullptr;
};

} // namespace dmb::worker
