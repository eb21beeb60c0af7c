// SPDX-License-Identifier: MIT
// Tables arrive from drivers and from strangers: in any order, with rows that say the same twice or
// contradict each other. The canonical form has one row per (kind, format, modifier), so that looking
// one up is a binary search and two tables that mean the same have the same digest.
#include "proto/image/capabilities.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <numeric>
#include <tuple>

namespace dmb {
namespace {

constexpr std::uint32_t most_alignment = 1024 * 1024;
constexpr std::array<std::string_view, 9> api_words{"cpu", "egl", "gl_memory", "vulkan", "gbm", "kms", "v4l2", "cuda", "other"};

auto key(const Capability& row) { return std::tuple(row.kind, row.format, row.modifier); }

std::uint32_t smaller(std::uint32_t a, std::uint32_t b) { return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b); }

void merge(Capability& into, const Capability& other)
{
    into.usage = into.usage | other.usage;
    into.external_only |= other.external_only;
    into.plane_count = std::max(into.plane_count, other.plane_count);
    into.max_size = {smaller(into.max_size.width, other.max_size.width), smaller(into.max_size.height, other.max_size.height)};
}

std::optional<std::uint32_t> common_multiple(std::uint32_t a, std::uint32_t b)
{
    const std::uint64_t multiple = std::lcm(std::uint64_t{std::max(a, 1u)}, std::uint64_t{std::max(b, 1u)});
    if (multiple > most_alignment) return std::nullopt;
    return static_cast<std::uint32_t>(multiple);
}

} // namespace

std::string_view name(Api api) { return is_valid(api) ? api_words[static_cast<std::size_t>(api) - 1] : "unknown"; }

BoundedText<64> title(const Device& device)
{
    if (device.driver.empty()) return device.node.view();
    if (device.node.empty()) return device.driver.view();
    const std::string_view node = device.node.view();
    const std::size_t slash = node.rfind('/');
    return std::string_view(
        fmt::format("{} {}", device.driver.view(), slash == std::string_view::npos ? node : node.substr(slash + 1)));
}

bool is_same(const DeviceId& a, const DeviceId& b)
{
    const Uuid none{};
    if (a.device_uuid != none && b.device_uuid != none)
        return a.device_uuid == b.device_uuid &&
               (a.driver_uuid == b.driver_uuid || a.driver_uuid == none || b.driver_uuid == none);
    if (a.render_node != 0 && b.render_node != 0) return a.render_node == b.render_node;
    return a.pci != 0 && a.pci == b.pci;
}

std::optional<LayoutRules> combine(const LayoutRules& a, const LayoutRules& b)
{
    const auto stride = common_multiple(a.stride_alignment, b.stride_alignment);
    const auto offset = common_multiple(a.offset_alignment, b.offset_alignment);
    if (!stride || !offset) return std::nullopt;
    return LayoutRules{*stride, *offset, a.contiguous || b.contiguous};
}

BoundedText<160> broken_rule(const LayoutRules& rules, const ImageDesc& desc)
{
    const bool rows = desc.modifier == modifier_linear || desc.modifier == modifier_invalid;
    if (!rows || desc.kind == MemoryKind::opaque) return {};
    for (std::size_t i = 0; i < desc.planes.size(); ++i) {
        const Plane& plane = desc.planes[i];
        if (rules.stride_alignment > 1 && plane.stride % rules.stride_alignment != 0 && !desc.is_buffer())
            return std::string_view(
                fmt::format("plane {}: stride {} is no multiple of {}", i, plane.stride, rules.stride_alignment));
        if (rules.offset_alignment > 1 && plane.offset % rules.offset_alignment != 0)
            return std::string_view(
                fmt::format("plane {}: offset {} is no multiple of {}", i, plane.offset, rules.offset_alignment));
    }
    return {};
}

bool comes_before(const Capability& a, const Capability& b) { return key(a) < key(b); }

void make_canonical(Capabilities& table)
{
    // Equal keys in a fixed order too, so that merging does not depend on the order in which they came.
    std::ranges::sort(table.rows, comes_before);
    std::size_t last = 0;
    for (std::size_t i = 1; i < table.rows.size(); ++i) {
        if (key(table.rows[i]) == key(table.rows[last])) merge(table.rows[last], table.rows[i]);
        else table.rows[++last] = table.rows[i];
    }
    if (!table.rows.empty()) table.rows.resize(last + 1);
}

bool is_canonical(const Capabilities& table)
{
    return std::ranges::adjacent_find(table.rows, [](const auto& a, const auto& b) { return !comes_before(a, b); }) ==
           table.rows.end();
}

const Capability* find_row(const Capabilities& table, MemoryKind kind, FourCC format, Modifier modifier)
{
    const auto found = std::ranges::lower_bound(table.rows, std::tuple(kind, format, modifier), {}, key);
    return found != table.rows.end() && key(*found) == std::tuple(kind, format, modifier) ? &*found : nullptr;
}

std::string to_string(const Digest& digest)
{
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    for (const std::uint8_t byte : digest) out.append({digits[byte >> 4], digits[byte & 15]});
    return out;
}

} // namespace dmb
