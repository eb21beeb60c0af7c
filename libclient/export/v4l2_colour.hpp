// SPDX-License-Identifier: MIT
// V4L2's four words for colour and ours.
#pragma once
#include "proto/image/colour.hpp"

namespace dmb::exporting {

/// Members of v4l2_pix_format; 0 is V4L2's default for the colour space.
struct V4l2Colour {
    std::uint32_t space = 0, transfer = 0, encoding = 0, quantisation = 0;
};

/// Of pixels in a format.
Colour from_v4l2(const V4l2Colour&, FourCC);
/// Refuses what V4L2 has no word for.
Result<V4l2Colour> to_v4l2(const Colour&, FourCC);

} // namespace dmb::exporting
