// SPDX-License-Identifier: MIT
// A wider image whose right part nobody sees: the one way to a longer stride that every driver has. Used by the GBM and
// the Vulkan backend when the rules of an allocation want rows that are multiples of something. Only for one plane,
// because drivers take one width for all of them; the caller compares what came out with the rules (worker/server.cpp
// does it again).
#include "daemon/worker/padding.hpp"

#include "proto/image/format_table.hpp"

#include <numeric>

namespace dmb::worker {

std::uint32_t padded_stride(const LayoutRules& rules, FourCC code, Extent size)
{
    const FormatInfo* format = find_format(code);
    if (!format || format->plane_count > 1 || rules.stride_alignment <= 1) return 0;
    const std::uint64_t unit =
        std::lcm(std::uint64_t{rules.stride_alignment}, std::uint64_t{format->planes[0].bytes_per_block});
    const std::uint64_t row = row_bytes(*format, 0, size.width), stride = (row + unit - 1) / unit * unit;
    return stride <= INT32_MAX ? static_cast<std::uint32_t>(stride) : 0;
}

std::uint32_t padded_width(FourCC code, std::uint32_t stride)
{
    const PlaneFormat& plane = find_format(code)->planes[0];
    return stride / plane.bytes_per_block * plane.block_width;
}

} // namespace dmb::worker
