// SPDX-License-Identifier: MIT
// Buffers have no layout, so importers need not repeat how they were created; all usages are asked for here, as the
// exporter's limits are everybody's. Bytes travel through a staging buffer in pieces. The agreement about queue
// families is that of images (upload.cpp), without image layouts.
#include "daemon/worker/vulkan/buffer.hpp"

#include <algorithm>
#include <cstring>

namespace dmb::worker {
namespace {

constexpr std::uint32_t trial_bytes = 65536;
constexpr VkBufferUsageFlags all_uses =
    VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
    VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
    VK_BUFFER_USAGE_INDEX_BUFFER_BIT | VK_BUFFER_USAGE_VERTEX_BUFFER_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT;

struct Exportable {
    bool supported = false;
    bool dedicated_only = false;
};

Exportable ask_support(const VulkanDevice& device, const VulkanBufferPlan& plan)
{
    VkPhysicalDeviceExternalBufferInfo ask{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO};
    ask.usage = all_uses;
    ask.handleType = plan.handle_type();
    VkExternalBufferProperties can{VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES};
    vkGetPhysicalDeviceExternalBufferProperties(device.physical(), &ask, &can);
    const VkExternalMemoryFeatureFlags features = can.externalMemoryProperties.externalMemoryFeatures;
    return {(features & VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT) != 0,
            (features & VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT) != 0};
}

/// Everything waits for everything: speed is no matter here.
void hand_over(VkCommandBuffer commands, VkBuffer buffer, std::uint32_t from, std::uint32_t to)
{
    VkBufferMemoryBarrier b{VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER};
    b.srcAccessMask = b.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
    b.srcQueueFamilyIndex = from;
    b.dstQueueFamilyIndex = to;
    b.buffer = buffer;
    b.size = VK_WHOLE_SIZE;
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, nullptr, 1, &b,
                         0, nullptr);
}

/// A buffer between its acquisition from the outside and its release.
class Turn {
public:
    Turn(VulkanDevice& device, VkBuffer buffer, std::uint32_t external_family)
        : device_(device), buffer_(buffer), family_(external_family)
    {
    }
    Result<> acquire() { return pass(family_, device_.queue_family()); }
    Result<> release() { return pass(device_.queue_family(), family_); }

private:
    Result<> pass(std::uint32_t from, std::uint32_t to)
    {
        return device_.run([&](VkCommandBuffer commands) { hand_over(commands, buffer_, from, to); });
    }
    VulkanDevice& device_;
    VkBuffer buffer_;
    std::uint32_t family_;
};

/// Runs work(first byte, staging, bytes of the piece) over pieces of `size` bytes.
template <class Work> Result<> in_pieces(VulkanDevice& device, std::uint64_t size, Work work)
{
    const Staging staging = TRY(device.make_staging(std::min(size, staging_bytes)));
    for (std::uint64_t at = 0; at < size; at += staging.size)
        TRY(work(at, staging, std::span(staging.data, std::min(staging.size, size - at))));
    return {};
}

/// `fill(first byte, bytes)` provides what is written.
template <class Fill> Result<> upload(VulkanDevice& device, VkBuffer to, std::uint64_t size, Fill fill)
{
    return in_pieces(device, size, [&](std::uint64_t at, const Staging& staging, std::span<std::byte> piece) -> Result<> {
        TRY(fill(at, piece));
        return device.run([&](VkCommandBuffer commands) {
            const VkBufferCopy region{0, at, piece.size()};
            vkCmdCopyBuffer(commands, staging.buffer, to, 1, &region);
        });
    });
}

auto bytes_of(const Contents* contents)
{
    return [contents](std::uint64_t at, std::span<std::byte> piece) -> Result<> {
        if (contents) return contents->read_bytes(at, piece);
        std::memset(piece.data(), 0, piece.size());
        return {};
    };
}

} // namespace

Result<VulkanBuffer> VulkanBuffer::create(const VulkanDevice& device, const VulkanBufferPlan& plan)
{
    if (!ask_support(device, plan).supported)
        return fail(Errc::backend_failed, "the driver exports no buffers as {}", plan.opaque ? "OPAQUE_FD" : "dma-bufs");
    VulkanBuffer buffer(device, plan);
    TRY(buffer.create_buffer());
    TRY(buffer.allocate_memory());
    return buffer;
}

Result<> VulkanBuffer::create_buffer()
{
    VkExternalMemoryBufferCreateInfo external{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO};
    external.handleTypes = plan_.handle_type();
    VkBufferCreateInfo create{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, &external};
    create.size = plan_.size;
    create.usage = all_uses;
    VkBuffer buffer{};
    if (const VkResult r = vkCreateBuffer(device_->get(), &create, nullptr, &buffer); r != VK_SUCCESS)
        return fail_vulkan("vkCreateBuffer", r);
    buffer_ = OwnedBuffer(device_->get(), buffer);
    return {};
}

Result<> VulkanBuffer::allocate_memory()
{
    VkMemoryDedicatedRequirements wants{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS};
    VkMemoryRequirements2 needs{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, &wants};
    VkBufferMemoryRequirementsInfo2 ask{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2};
    ask.buffer = buffer_.get();
    vkGetBufferMemoryRequirements2(device_->get(), &ask, &needs);
    dedicated_ = wants.requiresDedicatedAllocation || ask_support(*device_, plan_).dedicated_only;
    size_ = needs.memoryRequirements.size;
    memory_type_ = device_->exported_memory_type(needs.memoryRequirements.memoryTypeBits, plan_.host_visible);

    VkMemoryDedicatedAllocateInfo dedicated{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};
    dedicated.buffer = buffer_.get();
    memory_ = TRY(device_->allocate_exportable(size_, memory_type_, plan_.handle_type(), dedicated_ ? &dedicated : nullptr));
    if (const VkResult r = vkBindBufferMemory(device_->get(), buffer_.get(), memory_.get(), 0); r != VK_SUCCESS)
        return fail_vulkan("vkBindBufferMemory", r);
    return {};
}

Result<> VulkanBuffer::initialise(VulkanDevice& device, const Contents* contents) const
{
    // A software driver's memory comes fresh from the kernel, which zeroes it.
    if (contents || !device.info().software) TRY(upload(device, buffer_.get(), plan_.size, bytes_of(contents)));
    return Turn(device, buffer_.get(), device.external_family(plan_.handle_type())).release();
}

Result<Exported> VulkanBuffer::export_buffer() const
{
    Exported out;
    ImageDesc& desc = out.desc;
    desc.size = {plan_.size, 1};
    desc.format = buffer_format;
    desc.device = device_->info().id;
    desc.rung = Rung::linear;
    out.fds.push_back(TRY(device_->export_memory(memory_.get(), plan_.handle_type())));
    if (plan_.opaque) {
        desc.kind = MemoryKind::opaque;
        desc.backend = Backend::vulkan_opaque;
        desc.modifier = modifier_invalid;
        desc.memories.push_back({size_});
        desc.opaque = {.vk_usage = all_uses, .memory_type = memory_type_, .dedicated = dedicated_};
        return out;
    }
    desc.kind = MemoryKind::dma_buf;
    desc.backend = Backend::vulkan;
    desc.memories.push_back({TRY(exported_size(out.fds[0].get()))});
    desc.planes.push_back({0, plan_.size, 0});
    return out;
}

Result<Capability> prove_buffer(VulkanDevice& device, bool opaque)
{
    const VulkanBuffer buffer = TRY(VulkanBuffer::create(device, {.size = trial_bytes, .opaque = opaque}));
    const Exported exported = TRY(buffer.export_buffer());
    TRY(check_layout(exported.desc));
    return Capability{.kind = exported.desc.kind,
                      .format = buffer_format,
                      .modifier = exported.desc.modifier,
                      .plane_count = 1,
                      .usage = UsageFlag::sample | UsageFlag::storage};
}

Result<VulkanBufferImport> VulkanBufferImport::create(VulkanDevice& device, const dmabroker::Image& image, bool write)
{
    const dmabroker::vulkan::Device handles{device.instance(), device.physical(), device.get(), vkGetInstanceProcAddr};
    auto buffer = TRY(caught([&] {
        return dmabroker::vulkan::import_buffer(image, handles, 0, write ? std::uint32_t{DMABROKER_IMPORT_WRITE} : 0);
    }));
    return VulkanBufferImport(device, std::move(buffer));
}

Result<> VulkanBufferImport::read(std::span<std::byte> to) const
{
    const auto download = [&](std::uint64_t at, const Staging& staging, std::span<std::byte> piece) -> Result<> {
        TRY(device_->run([&](VkCommandBuffer commands) {
            const VkBufferCopy region{at, 0, piece.size()};
            vkCmdCopyBuffer(commands, buffer_.buffer(), staging.buffer, 1, &region);
            let_host_read(commands);
        }));
        std::memcpy(to.subspan(at, piece.size()).data(), piece.data(), piece.size());
        return {};
    };
    Turn turn(*device_, buffer_.buffer(), buffer_->external_queue_family);
    TRY(turn.acquire());
    TRY(in_pieces(*device_, to.size(), download));
    return turn.release();
}

Result<> VulkanBufferImport::write(const Contents& contents) const
{
    Turn turn(*device_, buffer_.buffer(), buffer_->external_queue_family);
    TRY(turn.acquire());
    TRY(upload(*device_, buffer_.buffer(), buffer_->size, bytes_of(&contents)));
    return turn.release();
}

Result<> VulkanBufferImport::write(std::span<const std::byte> from) const
{
    const auto fill = [&](std::uint64_t at, std::span<std::byte> piece) -> Result<> {
        std::memcpy(piece.data(), from.subspan(at, piece.size()).data(), piece.size());
        return {};
    };
    Turn turn(*device_, buffer_.buffer(), buffer_->external_queue_family);
    TRY(turn.acquire());
    TRY(upload(*device_, buffer_.buffer(), from.size(), fill));
    return turn.release();
}

Result<> VulkanBufferImport::copy_to(const VulkanBufferImport& other) const
{
    Turn reading(*device_, buffer_.buffer(), buffer_->external_queue_family);
    Turn writing(*device_, other.buffer_.buffer(), other.buffer_->external_queue_family);
    TRY(reading.acquire());
    TRY(writing.acquire());
    TRY(device_->run([&](VkCommandBuffer commands) {
        const VkBufferCopy region{0, 0, buffer_->size};
        vkCmdCopyBuffer(commands, buffer_.buffer(), other.buffer_.buffer(), 1, &region);
    }));
    TRY(reading.release());
    return writing.release();
}

} // namespace dmb::worker
