// SPDX-License-Identifier: MIT
// Colour between the command line, the library's structures and proto's values.
#pragma once
#include "proto/image/colour.hpp"

#include <dmabroker/dmabroker.h>

namespace dmb::ctl {

/// The header's number for a code point.
template <class E> std::uint16_t to_c(E code)
{
    return code == E{} ? DMABROKER_CODE_POINT_0 : static_cast<std::uint16_t>(code);
}
dmabroker_colour to_c(const Colour&);
Colour from_c(const dmabroker_colour&);
/// What `stated` does not leave at 0, and the rest of `otherwise`.
dmabroker_colour combine(const dmabroker_colour& stated, const dmabroker_colour& otherwise);

/// "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)", as encoders take it: units of 0.00002, then
/// the most and the least light in units of 0.0001 cd/m2.
std::optional<dmabroker_mastering_display> parse_mastering(const std::string&);
/// "1000,400": MaxCLL and MaxFALL, cd/m2.
std::optional<dmabroker_content_light> parse_content_light(const std::string&);

} // namespace dmb::ctl
