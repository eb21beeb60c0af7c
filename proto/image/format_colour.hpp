// SPDX-License-Identifier: MIT
// Which colours a format can have: RGB is full range and has no matrix, YUV has one.
#pragma once
#include "proto/image/colour.hpp"
#include "proto/image/types.hpp"

namespace dmb {

/// What a format has that is said nothing about: sRGB; YUV: BT.709, limited range. A buffer has no colour.
Colour default_colour(FourCC);
/// The same colours in another format: between RGB and YUV, matrix and range change with the model.
Colour adapted(Colour, FourCC from, FourCC to);
/// What a request may ask for. RGB is full range and has no matrix; YUV with subsampled chroma has one.
Result<> check_colour(const Colour&, FourCC);

} // namespace dmb
