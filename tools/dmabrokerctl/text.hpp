// SPDX-License-Identifier: MIT
// What people read: tables, sizes, durations, and names of strangers made harmless.
#pragma once
#include "proto/image/types.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dmb::ctl {

/// Control characters, direction overrides and broken UTF-8 as \xNN: nobody's label moves our cursor.
std::string escaped(std::string_view);
std::string human_bytes(std::uint64_t bytes);
/// "1920x1080"; of a buffer "4096 B".
std::string human_size(Extent, FourCC);
/// "9m58s", "forever", "-" for none.
std::string human_lease(std::uint64_t nanoseconds);

/// Columns as wide as their widest cell; the last one is not padded. Numbers are aligned to the right.
class Table {
public:
    explicit Table(std::vector<std::string> header) { add(std::move(header)); }
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    /// With a newline after each row.
    std::string text() const;

private:
    std::vector<std::size_t> widths() const;
    std::vector<bool> numeric() const;
    std::vector<std::vector<std::string>> rows_;
};

} // namespace dmb::ctl
