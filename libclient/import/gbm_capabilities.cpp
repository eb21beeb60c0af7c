// SPDX-License-Identifier: MIT
// dmabroker_gbm_capabilities: what a gbm_device answers about formats. gbm can be asked about a modifier but lists
// none, so the caller says which ones to ask about. Its few functions are declared here by their stable C signatures
// (gbm.h): no header is needed, and they come from the caller's get_proc. The device is borrowed for the call.
#include "libclient/capabilities.hpp"
#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/import/device_node.hpp"
#include "libclient/import/driver_rules.hpp"
#include "libclient/import/proc.hpp"
#include "proto/image/format_table.hpp"

#include <span>

namespace dmb::import {
namespace {

constexpr std::uint32_t use_scanout = 1, use_rendering = 4, use_linear = 16; // enum gbm_bo_flags

struct Gbm {
    int (*is_format_supported)(void* device, std::uint32_t format, std::uint32_t use) = nullptr;
    int (*plane_count)(void* device, std::uint32_t format, std::uint64_t modifier) = nullptr;
    int (*get_fd)(void* device) = nullptr;
    void* device = nullptr;

    bool supports(FourCC format, std::uint32_t use) const { return is_format_supported(device, format.value, use) != 0; }
    /// 0: not with this modifier.
    std::uint8_t planes(FourCC format, Modifier modifier) const
    {
        const int count = plane_count ? plane_count(device, format.value, modifier.value) : 0;
        return count > 0 && count <= static_cast<int>(max_planes) ? static_cast<std::uint8_t>(count) : std::uint8_t{0};
    }
};

Result<Gbm> load_gbm(void* device, dmabroker_get_proc get)
{
    Gbm gbm;
    TRY(require(device, "gbm_device"));
    TRY(require(reinterpret_cast<const void*>(get), "get_proc"));
    gbm.device = device;
    if (!load(get, "gbm_device_is_format_supported", gbm.is_format_supported) || !load(get, "gbm_device_get_fd", gbm.get_fd))
        return fail(Errc::import_refused, "get_proc does not know gbm_device_is_format_supported; look it up in libgbm.so.1");
    load(get, "gbm_device_get_format_modifier_plane_count", gbm.plane_count);
    return gbm;
}

Usage usage_of(const Gbm& gbm, FourCC format, std::uint32_t with)
{
    Usage usage;
    if (gbm.supports(format, use_rendering | with)) usage = usage | UsageFlag::render;
    if (gbm.supports(format, use_scanout | with)) usage = usage | UsageFlag::scanout;
    return usage;
}

void add_format(Capabilities& table, const Gbm& gbm, FourCC format, std::span<const std::uint64_t> modifiers)
{
    const auto add = [&](Modifier modifier, Usage usage) {
        table.rows.push_back({.kind = MemoryKind::dma_buf,
                              .format = format,
                              .modifier = modifier,
                              .plane_count = gbm.planes(format, modifier),
                              .external_only = false,
                              .usage = usage,
                              .max_size = {}});
    };
    if (const Usage usage = usage_of(gbm, format, 0); !usage.empty()) add(modifier_invalid, usage);
    if (const Usage usage = usage_of(gbm, format, use_linear); !usage.empty()) add(modifier_linear, usage);
    for (const std::uint64_t modifier : modifiers)
        if (modifier != modifier_linear.value && modifier != modifier_invalid.value && gbm.planes(format, {modifier}))
            add({modifier}, {});
}

Result<Capabilities> read_gbm(const Gbm& gbm, std::span<const std::uint64_t> modifiers)
{
    Capabilities table;
    table.api = Api::gbm;
    if (!describe_drm(table.device, gbm.get_fd(gbm.device))) table.device.driver = "gbm";
    table.rules = driver_rules(table.device);
    for (const FormatInfo& format : all_formats()) add_format(table, gbm, format.fourcc, modifiers);
    return table;
}

} // namespace
} // namespace dmb::import

extern "C" {

DMABROKER_API int dmabroker_gbm_capabilities(void* gbm_device, dmabroker_get_proc get_proc, const uint64_t* modifiers,
                                             size_t modifier_count, dmabroker_capabilities** capabilities,
                                             dmabroker_error* error)
{
    return dmb::hand_out(capabilities, error, [&]() -> dmb::Result<dmb::Capabilities> {
        if (modifier_count) TRY(dmb::require(modifiers, "modifiers"));
        const dmb::import::Gbm gbm = TRY(dmb::import::load_gbm(gbm_device, get_proc));
        return dmb::import::read_gbm(gbm, {modifiers, modifier_count});
    });
}
}
