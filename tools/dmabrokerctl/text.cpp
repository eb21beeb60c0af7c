// SPDX-License-Identifier: MIT
// What people read: tables, sizes, spans of time. Plain text only: no colours, no terminal width, so output is the same
// in a pipe and on a screen. Pure functions; a Table is filled and printed once. escaped() is the wall between what
// strangers wrote and a terminal.
#include "tools/dmabrokerctl/text.hpp"

#include "proto/base/bounded.hpp"
#include "proto/image/image_desc.hpp"

#include <algorithm>
#include <array>
#include <fmt/core.h>

namespace dmb::ctl {

std::string escaped(std::string_view text)
{
    if (is_printable(text)) return std::string(text);
    std::string out;
    for (const char c : text) {
        if (c >= ' ' && c <= '~') out.push_back(c);
        else out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    return out;
}

std::string human_bytes(std::uint64_t bytes)
{
    constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
    return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.{}f} {}", value, value < 10 ? 1 : 0, units[unit]);
}

std::string human_size(Extent size, FourCC format)
{
    return format == buffer_format ? fmt::format("{} B", size.width) : fmt::format("{}x{}", size.width, size.height);
}

std::string human_lease(std::uint64_t nanoseconds)
{
    if (nanoseconds == 0) return "-";
    if (nanoseconds == UINT64_MAX) return "forever";
    const std::uint64_t seconds = nanoseconds / 1'000'000'000;
    if (seconds < 60) return fmt::format("{}s", seconds);
    if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
    return fmt::format("{}h{:02}m", seconds / 3600, seconds / 60 % 60);
}

namespace {

/// Columns on a terminal, near enough: every code point is one.
std::size_t width(std::string_view text)
{
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

bool is_number(std::string_view text) { return text == "-" || (!text.empty() && text[0] >= '0' && text[0] <= '9'); }

} // namespace

std::vector<std::size_t> Table::widths() const
{
    std::vector<std::size_t> out(rows_.front().size());
    for (const auto& row : rows_)
        for (std::size_t i = 0; i < row.size(); ++i) out[i] = std::max(out[i], width(row[i]));
    return out;
}

std::vector<bool> Table::numeric() const
{
    std::vector<bool> out(rows_.front().size(), rows_.size() > 1);
    for (std::size_t r = 1; r < rows_.size(); ++r)
        for (std::size_t i = 0; i < rows_[r].size(); ++i) out[i] = out[i] && is_number(rows_[r][i]);
    return out;
}

std::string Table::text() const
{
    const auto wide = widths();
    const auto right = numeric();
    std::string out;
    for (const auto& row : rows_) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string padding(wide[i] - width(row[i]), ' ');
            line += right[i] ? padding + row[i] : row[i] + padding;
            line += "  ";
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + '\n';
    }
    return out;
}

} // namespace dmb::ctl
