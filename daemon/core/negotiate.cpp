// SPDX-License-Identifier: MIT
// Every offer is either a choice or refused with the first reason that removed it. The order among them
// is preference: a GPU's own memory for a GPU, plain memory for the CPU; software drivers last, because
// what they allocate is system memory anyway.
#include "daemon/core/negotiate.hpp"

#include <algorithm>
#include <numeric>

namespace dmb {
namespace {

using Text = BoundedText<160>;

template <class... Args> Text text(fmt::format_string<Args...> format, Args&&... args)
{
    Text out;
    const auto end = fmt::format_to_n(out.data(), Text::max_size(), format, std::forward<Args>(args)...);
    out.set_size(std::min(end.size, Text::max_size()));
    return out;
}

int gpu_preference(Backend backend)
{
    switch (backend) {
    case Backend::gbm: return 0;
    case Backend::vulkan: return 1;
    case Backend::vulkan_opaque: return 2;
    case Backend::udmabuf: return 3;
    case Backend::dma_heap: return 4;
    case Backend::memfd: return 5;
    case Backend::client: return 9;
    }
    return 9;
}

bool is_system(Backend backend) { return gpu_preference(backend) >= 3; }

int preference(const DeviceInfo& device, bool cpu_only)
{
    const int gpu = gpu_preference(device.backend);
    if (cpu_only && device.backend == Backend::memfd) return -20;
    if (cpu_only && is_system(device.backend)) return gpu - 20;
    return device.software && !is_system(device.backend) ? gpu + 6 : gpu;
}

bool accepts(const wire::AllocateSpec& spec, Modifier modifier)
{
    return spec.modifiers.empty() || std::ranges::find(spec.modifiers, modifier) != spec.modifiers.end();
}

/// How far the rows of one device came: the furthest step names the reason.
struct Match {
    std::vector<Modifier> modifiers; ///< of rows that fit in every way
    bool format = false;
    bool modifier = false;
    bool usage = false;
    Rung best = Rung::copy; ///< among those with format, modifier and usage
};

Match match_rows(const wire::AllocateSpec& spec, const Offer& offer)
{
    Match match;
    for (const FormatSupport& row : offer.formats) {
        if (row.device != offer.index || row.format != spec.format) continue;
        match.format = true;
        if (!accepts(spec, row.modifier)) continue;
        match.modifier = true;
        if (!row.usage.has(spec.usage)) continue;
        match.usage = true;
        const Rung rung = best_rung(*offer.device, row.modifier);
        match.best = std::max(match.best, rung);
        if (rung >= spec.minimum_rung) match.modifiers.push_back(row.modifier);
    }
    return match;
}

/// GPUs of one model share a name, and those without a DRM node have no other word but the UUID.
bool is_called(const DeviceInfo& device, std::string_view wanted)
{
    if (wanted == device.node.view() || wanted == device.name.view()) return true;
    const auto uuid = parse_uuid(wanted);
    return uuid && *uuid != Uuid{} && *uuid == device.id.device_uuid;
}

/// What the request itself rules out.
Text refuse_unwanted(const wire::AllocateSpec& spec, const DeviceInfo& device)
{
    if (!spec.backends.empty() && !spec.backends.has(device.backend)) return "not among the backends asked for";
    if (!spec.device.empty() && !is_called(device, spec.device.view()))
        return text("not the device asked for ({})", spec.device.view());
    return {};
}

Text refuse_match(const wire::AllocateSpec& spec, const DeviceInfo& device, const Match& match)
{
    if (!match.format) return text("{} could not be allocated there", to_string(spec.format));
    if (!match.modifier)
        return text("has {}, with none of the {} modifiers asked for", to_string(spec.format), spec.modifiers.size());
    if (!match.usage) return text("{} there cannot serve {}", to_string(spec.format), to_string(spec.usage));
    if (match.modifiers.empty())
        return text("gives rung {} at best, {} or better was asked for", name(match.best), name(spec.minimum_rung));
    if (device.backend == Backend::vulkan_opaque && spec.usage.has_any(usage_cpu))
        return "opaque memory cannot be mapped by the CPU";
    return {};
}

Choice choose(const wire::AllocateSpec& spec, const Offer& offer, const Match& match)
{
    Choice choice{.allocator = offer.allocator, .device = offer.index, .modifiers = {}};
    const auto fits = [&](Modifier m) { return std::ranges::find(match.modifiers, m) != match.modifiers.end(); };
    for (const Modifier modifier : spec.modifiers)
        if (fits(modifier)) choice.modifiers.push_back(modifier);
    const bool narrowed = spec.modifiers.empty() && spec.minimum_rung > Rung::system_dma_buf;
    for (std::size_t i = 0; narrowed && i < match.modifiers.size() && !choice.modifiers.full(); ++i)
        choice.modifiers.push_back(match.modifiers[i]);
    return choice;
}

} // namespace

bool is_cpu_only(Usage usage) { return !usage.empty() && usage_cpu.has(usage); }

Rung best_rung(const DeviceInfo& device, Modifier modifier)
{
    if (is_system(device.backend)) return Rung::system_dma_buf;
    const bool implicit_linear = modifier == modifier_invalid && device.software && device.backend != Backend::vulkan_opaque;
    return implicit_linear || modifier == modifier_linear ? Rung::linear : Rung::tiled;
}

wire::Candidate candidate(const DeviceInfo& device, wire::Verdict verdict, std::string_view reason)
{
    wire::Candidate out{.backend = device.backend, .device = {}, .verdict = verdict, .reason = reason};
    out.device = device.node.empty() && !is_system(device.backend) ? device.name.view() : device.node.view();
    return out;
}

Negotiation negotiate(const wire::AllocateSpec& spec, std::span<const Offer> offers, const Refusal& refusal)
{
    std::vector<std::size_t> order(offers.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const bool cpu_only = is_cpu_only(spec.usage);
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return preference(*offers[i].device, cpu_only); });

    Negotiation out;
    for (const std::size_t i : order) {
        const Offer& offer = offers[i];
        Text reason = refuse_unwanted(spec, *offer.device);
        const bool wanted = reason.empty();
        Match match;
        if (reason.empty()) reason = offer.device->problem;
        if (reason.empty()) reason = refuse_match(spec, *offer.device, match = match_rows(spec, offer));
        if (reason.empty() && refusal) reason = refusal(offer);
        if (reason.empty()) {
            out.choices.push_back(choose(spec, offer, match));
            continue;
        }
        out.refused.push_back(candidate(*offer.device, wire::Verdict::refused, reason.view()));
        if (wanted && out.choices.empty()) out.passed_over.push_back(out.refused.back());
    }
    return out;
}

} // namespace dmb
