// SPDX-License-Identifier: MIT
// Every physical device appears twice in the exports: as Backend::vulkan (dma-bufs with modifiers) and as
// Backend::vulkan_opaque (OPAQUE_FD), each with its problem where it does not work. A request is
// held against what was proven at start, then the driver chooses among the modifiers that are left.
#include "daemon/worker/vulkan/backend.hpp"

#include "daemon/worker/padding.hpp"
#include "daemon/worker/vulkan/buffer.hpp"
#include "daemon/worker/vulkan/import.hpp"
#include "daemon/worker/vulkan/upload.hpp"
#include "proto/base/log.hpp"

#include <algorithm>

namespace dmb::worker {
namespace {

/// A driver has a rung per layout: everything but LINEAR is tiled.
Rung rung_of(const Capability& known)
{
    return known.format == buffer_format || known.modifier == modifier_linear ? Rung::linear : Rung::tiled;
}

bool accepts(const AllocateSpec& spec, const Capability& known)
{
    const bool asked = spec.modifiers.empty() || std::ranges::find(spec.modifiers, known.modifier) != spec.modifiers.end();
    return known.format == spec.format && known.usage.has(spec.usage) && asked && rung_of(known) >= spec.minimum_rung;
}

Result<Exported> make(VulkanDevice& device, const VulkanPlan& plan, const Contents* contents)
{
    const VulkanImage image = TRY(VulkanImage::create(device, plan));
    TRY(initialise(device, image, contents));
    return image.export_image();
}

Result<Exported> make_buffer(VulkanDevice& device, const VulkanNeeds& wish, const Contents* contents)
{
    const VulkanBuffer buffer = TRY(VulkanBuffer::create(
        device, {.size = wish.size.width, .opaque = wish.opaque, .host_visible = wish.usage.has_any(usage_cpu)}));
    TRY(buffer.initialise(device, contents));
    return buffer.export_buffer();
}

Result<Exported> make_image(VulkanDevice& device, const VulkanNeeds& wish, const LayoutRules& rules, const Contents* contents)
{
    const VulkanPlan plan = TRY(make_plan(device, wish));
    Exported exported = TRY(make(device, plan, contents));
    if (!broken_rule(rules, exported.desc).empty()) {
        VulkanPlan padded = plan;
        padded.row_pitch = padded_stride(rules, wish.format->fourcc, wish.size);
        padded.modifiers = {modifier_linear.value};
        const bool linear = std::ranges::find(plan.modifiers, modifier_linear.value) != plan.modifiers.end();
        // Where it cannot be padded the server says what is wrong with the layout.
        if (linear && padded.row_pitch != 0) return make(device, padded, contents);
    }
    return exported;
}

Result<> blit_buffer(VulkanDevice& device, const dmabroker::Image& from, const dmabroker::Image& to)
{
    const VulkanBufferImport reading = TRY(VulkanBufferImport::create(device, from, false));
    const VulkanBufferImport writing = TRY(VulkanBufferImport::create(device, to, true));
    return reading.copy_to(writing);
}

} // namespace

VulkanBackend::VulkanBackend()
{
    if (auto found = find_devices(); !found) log::info("worker vulkan: {}", found.error().reason.view());
}

Result<> VulkanBackend::find_devices()
{
    const unsigned count = TRY(caught([] { return gpu::VulkanContext::count(); }));
    for (unsigned i = 0; i < count; ++i) add_device(i);
    return {};
}

void VulkanBackend::add_device(unsigned place)
{
    Exporter info;
    info.backend = Backend::vulkan;
    auto created = VulkanDevice::create(place, info);
    if (!created) {
        info.problem = created.error().reason.view();
        add_target({}, info, {});
        return;
    }
    VulkanDevice& device = *devices_.emplace_back(std::move(*created));
    add_target({&device, false}, info, prove_dma_buf(device));
    info.backend = Backend::vulkan_opaque;
    add_target({&device, true}, info, prove_opaque(device));
}

void VulkanBackend::add_target(Target target, const Exporter& info, VulkanSupport proof)
{
    targets_.push_back(target);
    exports_.push_back({info, std::move(proof.rows)});
    if (!proof.problem.empty()) exports_.back().exporter.problem = proof.problem;
}

Result<VulkanNeeds> VulkanBackend::wish_for(std::uint8_t device, const AllocateSpec& spec) const
{
    VulkanNeeds wish{
        .format = find_format(spec.format), .size = spec.size, .usage = spec.usage, .opaque = targets_[device].opaque};
    if (!wish.format) return fail(Errc::unknown_format, "format {} is not known", to_string(spec.format));
    for (const Capability& known : exports_[device].rows)
        if (accepts(spec, known)) wish.modifiers.push_back(known.modifier);
    // Only LINEAR has rows, and so CPU usage, in the list of what was proven.
    if (!wish.modifiers.empty()) return wish;
    return fail(Errc::backend_failed, "{} exported no {} for {} with a modifier and rung asked for when it was tried",
                exports_[device].exporter.name.view(), wish.format->name, to_string(spec.usage));
}

Result<Exported> VulkanBackend::allocate(std::uint8_t index, const AllocateSpec& spec, const LayoutRules& rules,
                                         const Contents* contents)
{
    if (index >= targets_.size()) return fail(Errc::invalid_argument, "device {} of {}", index, targets_.size());
    if (rules.contiguous) return fail(Errc::backend_failed, "Vulkan does not tell whether memory is physically contiguous");
    if (!targets_[index].device) return fail(Errc::backend_failed, "{}", exports_[index].exporter.problem.view());
    VulkanDevice& device = *targets_[index].device;
    const VulkanNeeds wish = TRY(wish_for(index, spec));
    const bool buffer = spec.format == buffer_format;
    Exported exported = TRY(buffer ? make_buffer(device, wish, contents) : make_image(device, wish, rules, contents));
    exported.desc.usage = spec.usage;
    exported.contents_written = contents != nullptr;
    return exported;
}

/// The image's own device first, then any that imports it; the first one's reason if none does.
template <class Work> Result<> VulkanBackend::on_some_device(const ImageDesc& desc, Work work)
{
    Result<> reason = fail(Errc::backend_failed, "there is no Vulkan device");
    bool tried = false;
    for (const bool own : {true, false})
        for (const auto& device : devices_) {
            if (is_same(device->info().id, desc.device) != own) continue;
            Result<> done = work(*device);
            if (done) return done;
            if (!tried) reason = done;
            tried = true;
        }
    return reason;
}

Result<> VulkanBackend::read(Image image, std::span<std::byte> to)
{
    const ImageDesc desc = image.desc();
    const dmabroker::Image held = TRY(hold(std::move(image)));
    return on_some_device(desc, [&](VulkanDevice& device) -> Result<> {
        if (desc.is_buffer()) return TRY(VulkanBufferImport::create(device, held, false)).read(to);
        const VulkanImport imported = TRY(VulkanImport::create(device, held, VK_IMAGE_USAGE_TRANSFER_SRC_BIT));
        return imported.read(to);
    });
}

Result<> VulkanBackend::write(Image image, const Contents& contents)
{
    const ImageDesc desc = image.desc();
    const dmabroker::Image held = TRY(hold(std::move(image)));
    return on_some_device(desc, [&](VulkanDevice& device) -> Result<> {
        if (desc.is_buffer()) return TRY(VulkanBufferImport::create(device, held, true)).write(contents);
        const VulkanImport imported = TRY(VulkanImport::create(device, held, VK_IMAGE_USAGE_TRANSFER_DST_BIT));
        return imported.write(contents);
    });
}

Result<> VulkanBackend::blit(Image from, Image to)
{
    const ImageDesc desc = from.desc();
    const dmabroker::Image source = TRY(hold(std::move(from)));
    const dmabroker::Image target = TRY(hold(std::move(to)));
    return on_some_device(desc, [&](VulkanDevice& device) -> Result<> {
        if (desc.is_buffer()) return blit_buffer(device, source, target);
        const VulkanImport reading = TRY(VulkanImport::create(device, source, VK_IMAGE_USAGE_TRANSFER_SRC_BIT));
        const VulkanImport writing = TRY(VulkanImport::create(device, target, VK_IMAGE_USAGE_TRANSFER_DST_BIT));
        return reading.copy_to(writing);
    });
}

bool VulkanBackend::usable() const
{
    return std::ranges::none_of(devices_, [](const auto& device) { return device->lost(); });
}

} // namespace dmb::worker
