// SPDX-License-Identifier: MIT
#include "daemon/alloc/system_formats.hpp"

#include "proto/image/format_table.hpp"

namespace dmb {

std::vector<FormatSupport> system_formats()
{
    std::vector<FormatSupport> out;
    for (const FormatInfo& format : all_formats())
        out.push_back({.device = 0,
                       .format = format.fourcc,
                       .modifier = modifier_linear,
                       .plane_count = format.plane_count,
                       .usage = system_usage});
    return out;
}

} // namespace dmb
