// SPDX-License-Identifier: MIT
// Tables come from drivers and from programs; both pass through make_capabilities, which is the only place
// that makes a dmabroker_capabilities. Values that the broker's decoder would cut the connection for are refused in
// to_table, with a sentence.
#include "libclient/capabilities.hpp"

#include "libclient/convert.hpp"
#include "proto/image/format_table.hpp"
#include "proto/wire/digest.hpp"

#include <algorithm>

namespace dmb {
namespace {

/// Before duplicates are removed: a number that was never set must not make us read the whole address space.
constexpr std::size_t most_given_rows = 16 * limits::capability_rows;
constexpr std::uint32_t most_alignment = 1024 * 1024;

Result<Capability> to_row(const dmabroker_capability& from, std::size_t index)
{
    const auto wrong = [&](std::string_view what, auto value) {
        return fail(Errc::invalid_argument, "row {}: {} {} is not possible", index, what, value);
    };
    if (from.kind > UINT8_MAX || !is_valid(static_cast<MemoryKind>(from.kind))) return wrong("kind", from.kind);
    const Usage usage = Usage::from_bits(from.usage);
    if (!usage.is_known()) return wrong("usage", from.usage);
    if (from.format == 0) return wrong("format", 0);
    if (from.plane_count > max_planes) return wrong("plane_count", from.plane_count);
    if (from.reserved != 0) return wrong("reserved", from.reserved);
    if (from.kind == DMABROKER_OPAQUE && from.modifier != modifier_invalid.value)
        return fail(Errc::invalid_argument, "row {}: opaque memory has no modifier; use DMABROKER_MODIFIER_INVALID", index);
    return Capability{.kind = static_cast<MemoryKind>(from.kind),
                      .format = {from.format},
                      .modifier = {from.modifier},
                      .plane_count = static_cast<std::uint8_t>(from.plane_count),
                      .external_only = from.external_only != 0,
                      .usage = usage,
                      .max_size = {from.max_width, from.max_height}};
}

dmabroker_capability from_row(const Capability& row)
{
    return {.modifier = row.modifier.value,
            .format = row.format.value,
            .kind = static_cast<std::uint32_t>(row.kind),
            .usage = row.usage.bits,
            .plane_count = row.plane_count,
            .external_only = row.external_only,
            .max_width = row.max_size.width,
            .max_height = row.max_size.height,
            .reserved = 0};
}

template <std::size_t N> Result<BoundedText<N>> to_text(const char* text, std::string_view what)
{
    const std::string_view view = text ? text : "";
    if (view.size() <= N && is_printable(view)) return BoundedText<N>(view);
    return fail(Errc::invalid_argument, "the {} must be printable UTF-8 of at most {} bytes", what, N);
}

Result<Device> to_device(const dmabroker_capability_table& from)
{
    Device device;
    device.id.render_node = from.render_node;
    std::ranges::copy(from.device_uuid, device.id.device_uuid.begin());
    std::ranges::copy(from.driver_uuid, device.id.driver_uuid.begin());
    device.id.pci = from.pci;
    device.node = TRY(to_text<64>(from.node, "node"));
    device.driver = TRY(to_text<64>(from.driver, "driver's name"));
    device.version = TRY(to_text<96>(from.version, "driver's version"));
    device.software = from.software != 0;
    return device;
}

Result<LayoutRules> to_rules(const dmabroker_capability_table& from)
{
    if (from.stride_alignment > most_alignment || from.offset_alignment > most_alignment)
        return fail(Errc::invalid_argument, "alignments of {} and {} bytes; at most {} are possible", from.stride_alignment,
                    from.offset_alignment, most_alignment);
    return LayoutRules{from.stride_alignment, from.offset_alignment, from.contiguous != 0};
}

const char* text_or_null(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

void fill_view(dmabroker_capabilities& made)
{
    const Device& device = made.table.device;
    made.node = device.node.view();
    made.driver = device.driver.view();
    made.version = device.version.view();
    made.rows.reserve(made.table.rows.size());
    for (const Capability& row : made.table.rows) made.rows.push_back(from_row(row));
    dmabroker_capability_table& view = made.view;
    view = {.struct_size = sizeof view, .api = static_cast<std::uint32_t>(made.table.api), .software = device.software};
    view.node = text_or_null(made.node);
    view.driver = text_or_null(made.driver);
    view.version = text_or_null(made.version);
    view.render_node = device.id.render_node;
    std::ranges::copy(device.id.device_uuid, view.device_uuid);
    std::ranges::copy(device.id.driver_uuid, view.driver_uuid);
    view.pci = device.id.pci;
    view.stride_alignment = made.table.rules.stride_alignment;
    view.offset_alignment = made.table.rules.offset_alignment;
    view.contiguous = made.table.rules.contiguous;
    view.rows = made.rows.data();
    view.row_count = made.rows.size();
}

} // namespace

Result<std::unique_ptr<dmabroker_capabilities>> make_capabilities(Capabilities table)
{
    make_canonical(table);
    if (table.rows.size() > limits::capability_rows)
        return fail(Errc::invalid_argument,
                    "{} different rows; at most {} are possible: leave out formats and modifiers that you do not use",
                    table.rows.size(), limits::capability_rows);
    auto made = std::make_unique<dmabroker_capabilities>();
    made->digest = TRY(wire::digest_of(table));
    made->digest_text = to_string(made->digest);
    made->table = std::move(table);
    fill_view(*made);
    return made;
}

Result<Capabilities> to_table(const dmabroker_capability_table& from)
{
    Capabilities table;
    if (from.api > UINT8_MAX || !is_valid(static_cast<Api>(from.api)))
        return fail(Errc::invalid_argument, "api {} is not one of the header's", from.api);
    if (from.row_count > most_given_rows)
        return fail(Errc::invalid_argument, "{} rows; at most {} are read: leave out formats and modifiers that you do not use",
                    from.row_count, most_given_rows);
    if (from.row_count != 0) TRY(require(from.rows, "rows"));
    table.api = static_cast<Api>(from.api);
    table.device = TRY(to_device(from));
    table.rules = TRY(to_rules(from));
    table.rows.reserve(from.row_count);
    for (std::size_t i = 0; i < from.row_count; ++i) table.rows.push_back(TRY(to_row(from.rows[i], i)));
    return table;
}

Capabilities cpu_table()
{
    Capabilities table{.device = {}, .api = Api::cpu, .rules = {}, .rows = {}};
    table.device.driver = "CPU";
    table.device.software = true;
    const auto add = [&](const FormatInfo& format) {
        for (const MemoryKind kind : {MemoryKind::dma_buf, MemoryKind::memfd})
            table.rows.push_back({.kind = kind,
                                  .format = format.fourcc,
                                  .modifier = modifier_linear,
                                  .plane_count = format.plane_count,
                                  .external_only = false,
                                  .usage = usage_cpu,
                                  .max_size = {}});
    };
    std::ranges::for_each(all_formats(), add);
    add(*find_format(buffer_format));
    return table;
}

} // namespace dmb
