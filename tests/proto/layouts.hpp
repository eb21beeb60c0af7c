// SPDX-License-Identifier: MIT
// Descriptions to begin a layout test with.
#pragma once
#include "proto/image/format_table.hpp"
#include "proto/image/image.hpp"

namespace dmb::test {

/// Every plane in its own memory, rows tightly packed, at the given offset, ending at the last byte.
inline ImageDesc exact_layout(const FormatInfo& format, Extent size, std::uint64_t offset = 0)
{
    ImageDesc desc;
    desc.size = size;
    desc.format = format.fourcc;
    for (std::size_t i = 0; i < format.plane_count; ++i) {
        const std::uint64_t row = row_bytes(format, i, size.width);
        desc.planes.push_back({static_cast<std::uint8_t>(i), static_cast<std::uint32_t>(row), offset});
        desc.memories.push_back({offset + row * plane_extent(format, i, size).height});
    }
    return desc;
}

inline Errc layout_error(const ImageDesc& desc)
{
    const Result<> result = check_layout(desc);
    return result ? Errc{} : result.error().code;
}

} // namespace dmb::test
