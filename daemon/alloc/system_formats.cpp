// SPDX-License-Identifier: MIT
#include "daemon/alloc/system_formats.hpp"

#include "proto/image/format_table.hpp"

#include <algorithm>

namespace dmb {

std::vector<FormatSupport> system_formats()
{
    std::vector<FormatSupport> out;
    const auto add = [&](const FormatInfo& format) {
        out.push_back({.device = 0,
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
