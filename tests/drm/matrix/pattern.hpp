// SPDX-License-Identifier: MIT
// Pixels as bytes, tightly packed per plane, and what they mean: an account of every format that is
// independent of proto's format table, so that a wrong entry there is found.
#pragma once
#include "proto/image/colour.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace dmb::matrix {

struct Pixels {
    FourCC format;
    Extent size;
    std::vector<std::vector<std::uint8_t>> planes;
};

/// One texel as a GPU reads it: r, g, b, a.
using Texels = std::vector<std::array<float, 4>>;

/// Size of a plane in its own texels (blocks of 2x1 pixels for packed 4:2:2) and bytes of each.
struct PlaneShape {
    Extent texels;
    std::uint32_t bytes;
    std::uint32_t row() const { return texels.width * bytes; }
};
std::vector<PlaneShape> shapes(FourCC, Extent);

/// Different bytes everywhere, padding bits included; half floats are finite and normal.
Pixels make_pattern(FourCC, Extent, unsigned seed);

/// Empty when all bits that mean something are equal; else where the first difference is.
std::string difference(const Pixels& expected, const Pixels& actual);

/// For formats of one plane whose texels are pixels: what a texture over these bytes reads, and back.
Texels decode(FourCC, const std::vector<std::uint8_t>& bytes);
std::vector<std::uint8_t> encode(FourCC, const Texels&);
/// Empty, or the first texel that is not what decode() says (alpha of formats without it must be 1).
std::string difference(FourCC, const Texels& expected, const Texels& actual, Extent);

/// RGB of a YUV image, each chroma sample used for all its pixels. Clamped to 0..1, alpha 1.
Texels convert(const Pixels&, const Colour&);
/// Empty, or the first pixel that is more than 2/255 away.
std::string distance(const Texels& expected, const Texels& actual, Extent);

} // namespace dmb::matrix
