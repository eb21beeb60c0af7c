// SPDX-License-Identifier: MIT
// What a program that shares an image by Vulkan does itself: semaphores that cross processes, submissions that
// wait and signal, work that takes long.
#pragma once
#include "libclient/headless/vulkan_context.hpp"
#include "proto/base/unique_fd.hpp"

#include <vector>

namespace dmb::paths {

using Pixels = std::vector<std::uint8_t>; ///< RGBA, tightly packed, first row of memory first

class VulkanEnd;

enum class Kind { binary, timeline };

/// Destroyed with it; its last use must be over.
class Semaphore {
public:
    /// One whose payload can be exported as OPAQUE_FD; throws Skip where the driver cannot.
    static Semaphore exportable(const VulkanEnd&, Kind);
    /// Shares the payload of an exported one. Takes over the descriptor.
    static Semaphore imported(const VulkanEnd&, Kind, UniqueFd);
    static Semaphore local(const VulkanEnd&, Kind);
    Semaphore(Semaphore&& other) noexcept : end_(other.end_), handle_(std::exchange(other.handle_, VK_NULL_HANDLE)) {}
    ~Semaphore();

    VkSemaphore handle() const { return handle_; }
    UniqueFd export_fd() const;

private:
    Semaphore(const VulkanEnd& end, Kind kind, const void* next);
    const VulkanEnd* end_;
    VkSemaphore handle_ = VK_NULL_HANDLE;
};

/// A semaphore in a submission; the value is a timeline's.
struct At {
    VkSemaphore semaphore = VK_NULL_HANDLE;
    std::uint64_t value = 0;
};

/// Commands that can be submitted again and again, one submission at a time.
class Commands {
public:
    Commands(const VulkanEnd&, const std::function<void(VkCommandBuffer)>& record);
    Commands(const Commands&) = delete;
    Commands& operator=(const Commands&) = delete;
    ~Commands();

    void submit(At wait = {}, At signal = {});
    bool done() const;
    /// Throws after half a minute.
    void wait();

private:
    const VulkanEnd& end_;
    VkCommandBuffer commands_ = VK_NULL_HANDLE;
    VkFence fence_ = VK_NULL_HANDLE;
};

class VulkanEnd {
public:
    explicit VulkanEnd(unsigned device);
    ~VulkanEnd();
    VulkanEnd(const VulkanEnd&) = delete;
    VulkanEnd& operator=(const VulkanEnd&) = delete;

    const gpu::VulkanContext& context() const { return context_; }
    /// 32 hexadecimal digits.
    std::string uuid() const;
    /// Whether semaphores of this kind can be exported as OPAQUE_FD and imported.
    bool shares(Kind) const;

    /// Fills the whole image from the buffer, between acquiring and releasing it.
    void record_draw(VkCommandBuffer, const dmabroker::vulkan::Images&, VkBuffer from, dmabroker::Size) const;
    /// Copies rows of the image from the top into the buffer.
    void record_read(VkCommandBuffer, const dmabroker::vulkan::Images&, VkBuffer to, dmabroker::Size) const;
    /// Keeps a GPU busy for about a quarter of a second before what comes next in the buffer.
    void record_delay(VkCommandBuffer) const;

private:
    friend class Semaphore;
    friend class Commands;
    struct Functions {
        PFN_vkCreateSemaphore create_semaphore = nullptr;
        PFN_vkDestroySemaphore destroy_semaphore = nullptr;
        PFN_vkGetSemaphoreFdKHR get_semaphore_fd = nullptr;       ///< may be null
        PFN_vkImportSemaphoreFdKHR import_semaphore_fd = nullptr; ///< may be null
        PFN_vkCreateFence create_fence = nullptr;
        PFN_vkDestroyFence destroy_fence = nullptr;
        PFN_vkResetFences reset_fences = nullptr;
        PFN_vkGetFenceStatus fence_status = nullptr;
        PFN_vkWaitForFences wait_for_fences = nullptr;
        PFN_vkCmdFillBuffer fill = nullptr;
    };
    Functions load() const;
    VkCommandPool make_pool() const;
    void fill_scratch(VkCommandBuffer, unsigned times) const;
    unsigned calibrate() const;

    gpu::VulkanContext context_;
    Functions functions_;
    VkQueue queue_ = VK_NULL_HANDLE;
    VkCommandPool pool_ = VK_NULL_HANDLE;
    gpu::HostBuffer scratch_;
    mutable unsigned fills_ = 0; ///< what a quarter of a second holds; 0: not measured yet
};

} // namespace dmb::paths
