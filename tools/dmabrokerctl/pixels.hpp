// SPDX-License-Identifier: MIT
// Rows of any format as rows of RGBA, and back. RGBA rows hold four numbers per pixel, 0 to `maximum`
// (255 or 65535), straight alpha. Every conversion is exact when the format has the same number of bits.
#pragma once
#include "proto/image/format_table.hpp"

#include <cstddef>
#include <span>

namespace dmb::ctl {

using RgbaRow = std::span<std::uint16_t>;

/// Where a channel sits in a little-endian pixel of up to 64 bits.
struct BitField {
    std::uint8_t shift = 0;
    std::uint8_t bits = 0; ///< 0: the format lacks it
};

/// A single-plane RGB format of the table.
struct PackedRgb {
    FourCC format;
    std::uint8_t bytes = 0;             ///< per pixel
    std::array<BitField, 4> channels{}; ///< red, green, blue, alpha
    bool half_float = false;
    bool is_grey() const { return channels[1].bits == 0; }
    bool has_alpha() const { return channels[3].bits != 0; }
};
/// Null for YUV and unknown formats.
const PackedRgb* find_packed_rgb(FourCC);

/// Missing colours become 0 (grey: all three), missing alpha becomes `maximum`; half floats are clamped to 0..1.
void decode_row(const PackedRgb&, const std::byte* pixels, std::uint32_t maximum, RgbaRow rgba);
/// Padding bits are set, so that whoever reads them as alpha sees opaque pixels.
void encode_row(const PackedRgb&, std::span<const std::uint16_t> rgba, std::uint32_t maximum, std::byte* pixels);

/// Divides colour by alpha; where alpha is 0 colour is 0.
void unpremultiply(RgbaRow rgba, std::uint32_t maximum);

/// All planes of a YUV image: first byte and stride of each.
struct YuvPlanes {
    const FormatInfo* format = nullptr;
    std::array<const std::byte*, max_planes> data{};
    std::array<std::size_t, max_planes> stride{};
};
/// One row, converted with the image's matrix; chroma is repeated, not interpolated.
void decode_yuv_row(const YuvPlanes&, const YuvToRgb&, std::uint32_t y, std::uint32_t maximum, RgbaRow rgba);

} // namespace dmb::ctl
