// SPDX-License-Identifier: MIT
// Buffers through Vulkan: making and exporting one, and somebody's buffer in one of this process's devices.
#pragma once
#include "daemon/worker/driver.hpp"
#include "daemon/worker/hold.hpp"
#include "daemon/worker/vulkan/device.hpp"

#include <dmabroker/vulkan.hpp>

namespace dmb::worker {

struct VulkanBufferPlan {
    std::uint32_t size = 0; ///< bytes
    bool opaque = false;
    bool host_visible = false; ///< prefer memory that the CPU reads fast

    VkExternalMemoryHandleTypeFlagBits handle_type() const
    {
        return opaque ? VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT : VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
    }
};

/// One exportable VkBuffer with its memory.
class VulkanBuffer {
public:
    static Result<VulkanBuffer> create(const VulkanDevice&, const VulkanBufferPlan&);
    /// Its bytes become `contents`, or 0 (null). It ends released to VulkanDevice::external_family().
    Result<> initialise(VulkanDevice&, const Contents*) const;
    /// Exports the memory: once, and then this object should go.
    Result<Exported> export_buffer() const;

private:
    VulkanBuffer(const VulkanDevice& device, const VulkanBufferPlan& plan) : device_(&device), plan_(plan) {}
    Result<> create_buffer();
    Result<> allocate_memory();

    const VulkanDevice* device_;
    VulkanBufferPlan plan_;
    OwnedMemory memory_; // freed after the buffer
    OwnedBuffer buffer_;
    std::uint64_t size_ = 0; ///< of the memory
    std::uint32_t memory_type_ = 0;
    bool dedicated_ = false;
};

/// Makes and exports one; why it does not work, else the row for the worker's hello, without CPU usage.
Result<Capability> prove_buffer(VulkanDevice&, bool opaque);

/// Imported with libdmabroker's importer.
class VulkanBufferImport {
public:
    /// `write`: to be written as well.
    static Result<VulkanBufferImport> create(VulkanDevice&, const dmabroker::Image&, bool write);

    Result<> read(std::span<std::byte> to) const;
    Result<> write(const Contents&) const;
    Result<> write(std::span<const std::byte> from) const;
    /// Same size, imported by the same device.
    Result<> copy_to(const VulkanBufferImport&) const;

private:
    VulkanBufferImport(VulkanDevice& device, dmabroker::vulkan::Buffer buffer) : device_(&device), buffer_(std::move(buffer)) {}
    VulkanDevice* device_;
    dmabroker::vulkan::Buffer buffer_;
};

} // namespace dmb::worker
