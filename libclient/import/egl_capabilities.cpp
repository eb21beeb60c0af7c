// SPDX-License-Identifier: MIT
// What an EGL display lists for import (EGL_EXT_image_dma_buf_import_modifiers). Every listed format can also be
// imported without a modifier, in the implicit layout of the driver that made it: a row of its own with
// INVALID. A format for which the driver lists no modifiers has no LINEAR row, whatever its layout may be.
//
// Who draws: EGL_EXT_device_query and the device's nodes; Mesa's name for the driver; and if a context of this display
// is current, GL's strings and the UUIDs that tie it to a Vulkan device.
#include "libclient/capabilities.hpp"
#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/import/device_node.hpp"
#include "libclient/import/driver_rules.hpp"
#include "libclient/import/egl_loader.hpp"
#include "libclient/import/gl_device.hpp"
#include "libclient/import/proc.hpp"
#include "proto/image/format_table.hpp"

namespace dmb::import {
namespace {

Usage usage_of(bool external_only) { return external_only ? Usage(UsageFlag::sample) : UsageFlag::sample | UsageFlag::render; }

void add_row(Capabilities& table, MemoryKind kind, FourCC format, Modifier modifier, bool external_only)
{
    Capability row;
    row.kind = kind;
    row.format = format;
    row.modifier = modifier;
    row.external_only = external_only;
    row.usage = usage_of(external_only);
    table.rows.push_back(row);
}

bool is_yuv(FourCC format)
{
    const FormatInfo* info = find_format(format);
    return info && info->model == ColourModel::yuv;
}

void add_format(Capabilities& table, const Egl& egl, FourCC format)
{
    bool all_external = true;
    const auto listed = egl.modifiers(format);
    for (const Egl::ListedModifier& one : listed) {
        all_external &= one.external_only;
        if (one.modifier == modifier_invalid) continue;
        add_row(table, MemoryKind::dma_buf, format, one.modifier, one.external_only);
        // Mesa's software devices take a sealed memfd wherever they take a dma-buf.
        if (egl.driver().software && !egl.driver().mapping_device && one.modifier == modifier_linear)
            add_row(table, MemoryKind::memfd, format, one.modifier, one.external_only);
    }
    add_row(table, MemoryKind::dma_buf, format, modifier_invalid, listed.empty() ? is_yuv(format) : all_external);
}

bool is_current(const dmabroker_egl& egl)
{
    PFNEGLGETCURRENTDISPLAYPROC current_display;
    PFNEGLGETCURRENTCONTEXTPROC current_context;
    return load(egl.get_proc, "eglGetCurrentDisplay", current_display) &&
           load(egl.get_proc, "eglGetCurrentContext", current_context) && current_context() != EGL_NO_CONTEXT &&
           current_display() == egl.display;
}

Result<Capabilities> read_egl(const dmabroker_egl* egl)
{
    const Egl loaded = TRY(Egl::load(egl));
    if (!loaded.has_modifiers())
        return fail(Errc::unsupported, "this EGL display does not list formats (EGL_EXT_image_dma_buf_import_modifiers); "
                                       "state what you import with dmabroker_capabilities_create");
    Capabilities table;
    table.api = Api::egl;
    table.device = loaded.describe();
    table.rules = driver_rules(table.device); // before GL's name of the driver, which may be cut short
    if (is_current(*egl)) describe_context(table.device, egl->get_proc);
    // A display that maps through a device it does not name may be handed nothing (guard.cpp), whatever it lists.
    if (loaded.driver().mapping_device == 0) return table;
    for (const FourCC format : loaded.formats()) add_format(table, loaded, format);
    return table;
}

} // namespace
} // namespace dmb::import

extern "C" {

DMABROKER_API int dmabroker_egl_capabilities(const dmabroker_egl* egl, dmabroker_capabilities** capabilities,
                                             dmabroker_error* error)
{
    return dmb::hand_out(capabilities, error, [&] { return dmb::import::read_egl(egl); });
}
}
