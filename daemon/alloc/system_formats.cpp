// SPDX-License-Identifier: MIT
// The formats of the three system allocators (memfd, udmabuf, dma-heap), made once by each of them from the format
// table. All are LINEAR: rows are laid out by linear_layout (proto/image/image.hpp), so there is nothing that could
// fail for one format and not for another. Whether the node behind them works is for the allocator to say.
#include "daemon/alloc/system_formats.hpp"

#include "proto/image/format_table.hpp"

#include <algorithm>

namespace dmb {

std::vector<Capability> system_formats(MemoryKind kind)
{
    std::vector<Capability> out;
    const auto add = [&](const FormatInfo& format) {
        out.push_back({.kind = kind,
                       .format = format.fourcc,
                       .modifier = modifier_linear,
                       .plane_count = format.plane_count,
                       .usage = system_usage});
    };
    std::ranges::for_each(all_formats(), add);
    add(*find_format(buffer_format));
    return out;
}

} // namespace dmb
