// SPDX-License-Identifier: MIT
// The prover of Api::vulkan. It samples by blitting and draws by clearing attachments (worker/vulkan/draw.cpp): no
// shader is needed, and the same units of the GPU work. Instance and devices are made for the first trial and stay; a
// device that was lost makes this process unusable, and the broker starts another.
#include "daemon/worker/proofs/prover.hpp"
#include "daemon/worker/vulkan/buffer.hpp"
#include "daemon/worker/vulkan/import.hpp"

#include <algorithm>

namespace dmb::worker {
namespace {

VkImageUsageFlags usage_flags(Usage usage)
{
    VkImageUsageFlags flags = VK_IMAGE_USAGE_TRANSFER_SRC_BIT;
    if (usage.has(UsageFlag::sample)) flags |= VK_IMAGE_USAGE_SAMPLED_BIT;
    if (usage.has(UsageFlag::render)) flags |= VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
    if (usage.has(UsageFlag::storage)) flags |= VK_IMAGE_USAGE_STORAGE_BIT;
    return flags;
}

class VulkanBytes : public BufferAccess {
public:
    VulkanBytes(VulkanDevice& device, const dmabroker::Image& image) : device_(device), image_(image) {}
    Result<> read(std::span<std::byte> to) const override
    {
        return TRY(VulkanBufferImport::create(device_, image_, false)).read(to);
    }
    Result<> write(std::span<const std::byte> from) const override
    {
        return TRY(VulkanBufferImport::create(device_, image_, true)).write(from);
    }

private:
    VulkanDevice& device_;
    const dmabroker::Image& image_;
};

class VulkanProver : public ApiProver {
public:
    Proven prove(const Device& device, Usage usage, const dmabroker::Image& image) override
    {
        auto found = find(device);
        if (!found) return impossible(found.error().reason);
        const bool buffer = image.info().format == buffer_format.value;
        if (buffer) return try_buffer(image, usage, "Vulkan", VulkanBytes(**found, image));
        Proven proven = look(**found, usage, image, ProofPattern::plain);
        if (proven.result == ProofResult::works && usage.has(UsageFlag::render)) proven = draw(**found, usage, image);
        return proven;
    }
    bool usable() const override
    {
        return std::ranges::none_of(devices_, [](const auto& device) { return device->lost(); });
    }

private:
    Result<> open()
    {
        if (!devices_.empty()) return {};
        const unsigned count = TRY(caught([] { return gpu::VulkanContext::count(); }));
        for (unsigned i = 0; i < count; ++i) {
            Exporter info;
            if (auto device = VulkanDevice::create(i, info)) devices_.push_back(std::move(*device));
        }
        return {};
    }

    Result<VulkanDevice*> find(const Device& wanted)
    {
        TRY(open());
        for (const auto& device : devices_)
            if (is_same(device->info().id, wanted.id)) return device.get();
        return fail(Errc::not_found, "no Vulkan device here is {}", title(wanted).view());
    }

    static Proven look(VulkanDevice& device, Usage usage, const dmabroker::Image& image, ProofPattern pattern)
    {
        const FormatInfo& format = *find_format({image.info().format});
        const Extent size{image.info().width, image.info().height};
        auto imported = VulkanImport::create(device, image, usage_flags(usage));
        if (!imported) return refused(imported.error());
        std::vector<std::byte> seen(packed_bytes(format, size));
        const auto read = usage.has(UsageFlag::sample) ? imported->sample(seen) : imported->read(seen);
        if (!read) return refused(read.error());
        const char* how = pattern == ProofPattern::plain ? "Vulkan" : "Vulkan, after drawing";
        return judged(how, wrong_packed(format, size, seen, pattern));
    }

    static Result<> draw_inverse(VulkanDevice& device, Usage usage, const dmabroker::Image& image)
    {
        const VulkanImport imported = TRY(VulkanImport::create(device, image, usage_flags(usage)));
        TRY(imported.draw(ProofPattern::inverse));
        return wait_for_fence(image);
    }

    static Proven draw(VulkanDevice& device, Usage usage, const dmabroker::Image& image)
    {
        if (auto drawn = draw_inverse(device, usage, image); !drawn) return refused(drawn.error());
        const Proven seen = look(device, usage, image, ProofPattern::inverse);
        return seen.result == ProofResult::works ? check_by_cpu(image, ProofPattern::inverse) : seen;
    }

    std::vector<std::unique_ptr<VulkanDevice>> devices_;
};

} // namespace

std::unique_ptr<ApiProver> make_vulkan_prover() { return std::make_unique<VulkanProver>(); }

} // namespace dmb::worker
