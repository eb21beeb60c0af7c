// SPDX-License-Identifier: MIT
// Lists are where the search begins, never where it ends: lavapipe lists NV12 modifiers and refuses the
// image, and lists dma-buf export where it has no means for it. So each (format, modifier) is
// created, bound and exported once, 64 pixels square. Nothing is submitted for that: the memory is gone
// before anybody sees it.
//
// CPU usage is claimed for LINEAR when a mapping shows what the GPU wrote and the GPU reads what the
// mapping wrote.
#include "daemon/worker/vulkan/support.hpp"

#include "daemon/worker/mapping.hpp"
#include "daemon/worker/vulkan/buffer.hpp"
#include "daemon/worker/vulkan/upload.hpp"
#include "proto/image/proof_pattern.hpp"

#include <algorithm>

namespace dmb::worker {
namespace {

constexpr Extent trial{64, 64};

VkImageUsageFlags vulkan_usage(Usage usage)
{
    VkImageUsageFlags flags = 0;
    if (usage.has(UsageFlag::sample)) flags |= VK_IMAGE_USAGE_SAMPLED_BIT;
    if (usage.has(UsageFlag::render)) flags |= VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
    if (usage.has(UsageFlag::storage)) flags |= VK_IMAGE_USAGE_STORAGE_BIT;
    return flags;
}

/// Vulkan has no odd sizes in the subsampled directions (VUID-VkImageCreateInfo-format-04712 and -04713).
Result<> check_parity(const VulkanNeeds& wish)
{
    bool wide = false, high = false;
    for (const PlaneFormat& plane : wish.format->planes) {
        wide |= plane.horizontal > 1 || plane.block_width > 1;
        high |= plane.vertical > 1;
    }
    if ((!wide || wish.size.width % 2 == 0) && (!high || wish.size.height % 2 == 0)) return {};
    return fail(Errc::backend_failed, "Vulkan has no {} of odd size {}x{}", wish.format->name, wish.size.width,
                wish.size.height);
}

/// Keeps the modifiers that go with the plan. True: the plan can be made.
bool settle_modifiers(const VulkanDevice& device, VulkanPlan& plan, const VulkanNeeds& wish)
{
    if (wish.opaque) return ask_support(device, plan).supported;
    std::vector<std::uint64_t> usable;
    for (const Modifier modifier : wish.modifiers) {
        plan.modifiers = {modifier.value};
        if (ask_support(device, plan).supported) usable.push_back(modifier.value);
    }
    plan.modifiers = usable;
    return !usable.empty();
}

/// Creates, exports and checks; the result is dropped by the caller.
Result<Exported> try_plan(const VulkanDevice& device, const VulkanPlan& plan)
{
    const VulkanImage image = TRY(VulkanImage::create(device, plan));
    Exported exported = TRY(image.export_image());
    TRY(check_layout(exported.desc));
    return exported;
}

VulkanNeeds small(const FormatInfo& format, bool opaque, std::vector<Modifier> modifiers)
{
    return {.format = &format, .size = trial, .opaque = opaque, .modifiers = std::move(modifiers)};
}

/// Adds one usage after the other as long as the driver agrees.
Result<Capability> prove(const VulkanDevice& device, VulkanNeeds wish)
{
    for (const UsageFlag more : {UsageFlag::sample, UsageFlag::render, UsageFlag::storage}) {
        VulkanNeeds bigger = wish;
        bigger.usage = bigger.usage | more;
        if (make_plan(device, bigger)) wish = bigger;
    }
    if (wish.usage.empty()) return fail(Errc::backend_failed, "the driver lists no use of {}", wish.format->name);
    const VulkanPlan plan = TRY(make_plan(device, wish));
    const Exported exported = TRY(try_plan(device, plan));
    const auto planes = wish.opaque ? wish.format->plane_count : static_cast<std::uint8_t>(exported.desc.planes.size());
    return Capability{.kind = exported.desc.kind,
                      .format = wish.format->fourcc,
                      .modifier = exported.desc.modifier,
                      .plane_count = planes,
                      .usage = wish.usage};
}

void add(VulkanSupport& proof, const Result<Capability>& found, Usage cpu)
{
    if (!found) {
        if (proof.problem.empty()) proof.problem = found.error().reason.view();
        return;
    }
    proof.rows.push_back(*found);
    if (found->modifier == modifier_linear) proof.rows.back().usage = found->usage | cpu;
}

VulkanSupport finish(VulkanSupport proof, std::string_view otherwise)
{
    if (!proof.rows.empty()) proof.problem = "";
    else if (proof.problem.empty()) proof.problem = otherwise;
    return proof;
}

Result<> paint_white(VulkanDevice& device, const VulkanImage& image)
{
    return device.run([&](VkCommandBuffer commands) {
        acquire_from_outside(commands, device, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
        const VkClearColorValue white{.float32 = {1, 1, 1, 1}};
        const VkImageSubresourceRange all{VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
        vkCmdClearColorImage(commands, image.get(), VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &white, 1, &all);
        release_to_outside(commands, device, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
    });
}

Result<> read_back(VulkanDevice& device, const VulkanImage& image, const Staging& to)
{
    return device.run([&](VkCommandBuffer commands) {
        acquire_from_outside(commands, device, image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
        VkBufferImageCopy all{};
        all.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
        all.imageExtent = {trial.width, trial.height, 1};
        vkCmdCopyImageToBuffer(commands, image.get(), VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, to.buffer, 1, &all);
        let_host_read(commands);
    });
}

/// The GPU paints, the CPU looks; the CPU writes, the GPU looks.
Result<bool> cpu_and_gpu_agree(VulkanDevice& device, const VulkanImage& image, const Exported& exported)
{
    const std::vector<std::byte> written = proof_contents(*find_format(exported.desc.format), trial);
    const std::size_t row = trial.width * 4, all = written.size();
    const Plane& plane = exported.desc.planes[0];
    TRY(initialise(device, image, nullptr));
    TRY(paint_white(device, image));
    bool same = true;
    {
        const Mapping mapping = TRY(Mapping::map(exported.fds[0].get(), exported.desc.memories[0].size));
        for (std::size_t i = 0; i < all; ++i) {
            std::byte& at = mapping.data()[plane.offset + i / row * plane.stride + i % row];
            same &= at == std::byte{0xff};
            at = written[i];
        }
    }
    const Staging seen = TRY(device.make_staging(all));
    TRY(read_back(device, image, seen));
    return same && std::ranges::equal(written, std::span(seen.data, all));
}

Result<bool> try_cpu_access(VulkanDevice& device)
{
    VulkanPlan plan = TRY(make_plan(device, small(*find_format(fourcc("AB24")), false, {modifier_linear})));
    plan.host_visible = true;
    const VulkanImage image = TRY(VulkanImage::create(device, plan));
    const Exported exported = TRY(image.export_image());
    TRY(check_layout(exported.desc));
    return cpu_and_gpu_agree(device, image, exported);
}

} // namespace

Result<VulkanPlan> make_plan(const VulkanDevice& device, const VulkanNeeds& wish)
{
    if (wish.format->vk_format == 0)
        return fail(Errc::backend_failed, "Vulkan has no format with the bits of {}", wish.format->name);
    TRY(check_parity(wish));
    // More usage than asked for, where it costs nothing in layouts: importers want to draw and sample.
    constexpr VkImageUsageFlags always = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
    constexpr VkImageUsageFlags sample = VK_IMAGE_USAGE_SAMPLED_BIT, draw = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
    // Planes of an opaque image can then be viewed as images. With modifiers it would take a list of
    // view formats, and importers have the planes anyway.
    const VkImageCreateFlags per_plane = wish.opaque && wish.format->plane_count > 1 ? VK_IMAGE_CREATE_MUTABLE_FORMAT_BIT : 0;
    for (const VkImageCreateFlags flags : {per_plane, VkImageCreateFlags{0}})
        for (const VkImageUsageFlags extra : {sample | draw, sample, draw, VkImageUsageFlags{0}}) {
            VulkanPlan plan{
                .format = wish.format, .size = wish.size, .usage = always | extra | vulkan_usage(wish.usage), .flags = flags};
            plan.host_visible = wish.usage.has_any(usage_cpu);
            if (settle_modifiers(device, plan, wish)) return plan;
        }
    return fail(Errc::backend_failed, "the driver lists no {} {}x{} for {} that can be exported", wish.format->name,
                wish.size.width, wish.size.height, to_string(wish.usage));
}

VulkanSupport prove_opaque(VulkanDevice& device)
{
    VulkanSupport proof;
    if (!device.no_opaque().empty()) {
        proof.problem.assign(fmt::format("the driver has no {}", device.no_opaque()));
        return proof;
    }
    for (const FormatInfo& format : all_formats())
        if (format.vk_format) add(proof, prove(device, small(format, true, {})), {});
    add(proof, prove_buffer(device, true), {});
    return finish(std::move(proof), "the driver exports no format as OPAQUE_FD");
}

VulkanSupport prove_dma_buf(VulkanDevice& device)
{
    VulkanSupport proof;
    if (!device.no_dma_buf().empty()) {
        proof.problem.assign(fmt::format("the driver has no {}, so it cannot export dma-bufs", device.no_dma_buf()));
        return proof;
    }
    const Result<bool> coherent = try_cpu_access(device);
    const Usage cpu = coherent && *coherent ? usage_cpu : Usage();
    for (const FormatInfo& format : all_formats()) {
        if (!format.vk_format) continue;
        for (const ListedModifier& listed : list_modifiers(device, static_cast<VkFormat>(format.vk_format)))
            add(proof, prove(device, small(format, false, {listed.modifier})), cpu);
    }
    add(proof, prove_buffer(device, false), cpu);
    return finish(std::move(proof), "the driver lists no format with a DRM modifier");
}

} // namespace dmb::worker
