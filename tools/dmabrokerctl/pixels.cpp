// SPDX-License-Identifier: MIT
// The layout of every RGB format as shifts and widths in a little-endian word, as drm_fourcc.h writes
// them, and one generic loop each way. Whoever adds a format to proto's table adds its line here; a
// test compares the two tables.
#include "tools/dmabrokerctl/pixels.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace dmb::ctl {
namespace {

constexpr BitField none{};
constexpr BitField at(int shift, int bits = 8) { return {static_cast<std::uint8_t>(shift), static_cast<std::uint8_t>(bits)}; }

constexpr PackedRgb half(PackedRgb format)
{
    format.half_float = true;
    return format;
}

constexpr std::array table{
    PackedRgb{fourcc("XR24"), 4, {at(16), at(8), at(0), none}},
    PackedRgb{fourcc("AR24"), 4, {at(16), at(8), at(0), at(24)}},
    PackedRgb{fourcc("XB24"), 4, {at(0), at(8), at(16), none}},
    PackedRgb{fourcc("AB24"), 4, {at(0), at(8), at(16), at(24)}},
    PackedRgb{fourcc("RX24"), 4, {at(24), at(16), at(8), none}},
    PackedRgb{fourcc("RA24"), 4, {at(24), at(16), at(8), at(0)}},
    PackedRgb{fourcc("BX24"), 4, {at(8), at(16), at(24), none}},
    PackedRgb{fourcc("BA24"), 4, {at(8), at(16), at(24), at(0)}},
    PackedRgb{fourcc("RG24"), 3, {at(16), at(8), at(0), none}},
    PackedRgb{fourcc("BG24"), 3, {at(0), at(8), at(16), none}},
    PackedRgb{fourcc("RG16"), 2, {at(11, 5), at(5, 6), at(0, 5), none}},
    PackedRgb{fourcc("BG16"), 2, {at(0, 5), at(5, 6), at(11, 5), none}},
    PackedRgb{fourcc("XR30"), 4, {at(20, 10), at(10, 10), at(0, 10), none}},
    PackedRgb{fourcc("AR30"), 4, {at(20, 10), at(10, 10), at(0, 10), at(30, 2)}},
    PackedRgb{fourcc("XB30"), 4, {at(0, 10), at(10, 10), at(20, 10), none}},
    PackedRgb{fourcc("AB30"), 4, {at(0, 10), at(10, 10), at(20, 10), at(30, 2)}},
    PackedRgb{fourcc("XR48"), 8, {at(32, 16), at(16, 16), at(0, 16), none}},
    PackedRgb{fourcc("AR48"), 8, {at(32, 16), at(16, 16), at(0, 16), at(48, 16)}},
    PackedRgb{fourcc("XB48"), 8, {at(0, 16), at(16, 16), at(32, 16), none}},
    PackedRgb{fourcc("AB48"), 8, {at(0, 16), at(16, 16), at(32, 16), at(48, 16)}},
    half({fourcc("XR4H"), 8, {at(32, 16), at(16, 16), at(0, 16), none}}),
    half({fourcc("AR4H"), 8, {at(32, 16), at(16, 16), at(0, 16), at(48, 16)}}),
    half({fourcc("XB4H"), 8, {at(0, 16), at(16, 16), at(32, 16), none}}),
    half({fourcc("AB4H"), 8, {at(0, 16), at(16, 16), at(32, 16), at(48, 16)}}),
    PackedRgb{fourcc("R8  "), 1, {at(0), none, none, none}},
    PackedRgb{fourcc("GR88"), 2, {at(0), at(8), none, none}},
    PackedRgb{fourcc("RG88"), 2, {at(8), at(0), none, none}},
    PackedRgb{fourcc("R16 "), 2, {at(0, 16), none, none, none}},
    PackedRgb{fourcc("GR32"), 4, {at(0, 16), at(16, 16), none, none}},
};

constexpr std::uint32_t rescale(std::uint64_t value, std::uint32_t from, std::uint32_t to)
{
    return static_cast<std::uint32_t>((value * to + from / 2) / from);
}

constexpr std::uint32_t largest(unsigned bits) { return (1u << bits) - 1; }

/// IEEE 754 binary16; infinities and NaN are clamped like everything else.
float float_from_half(std::uint32_t half)
{
    const std::uint32_t exponent = (half >> 10) & 31, mantissa = half & 1023;
    if (half & 0x8000) return 0;
    if (exponent == 31) return mantissa ? 0.f : 1.f;
    if (exponent == 0) return std::ldexp(static_cast<float>(mantissa), -24);
    return std::ldexp(static_cast<float>(mantissa + 1024), static_cast<int>(exponent) - 25);
}

/// Only for 0..1, rounded to nearest even.
std::uint32_t half_from_unit(float value)
{
    if (value < std::ldexp(1.f, -14)) return static_cast<std::uint32_t>(std::lrint(std::ldexp(value, 24)));
    int exponent = 0;
    const float fraction = std::frexp(value, &exponent); // 0.5 to 1
    const auto mantissa = static_cast<std::uint32_t>(std::lrint(std::ldexp(fraction, 11)));
    // A mantissa rounded up to 2048 carries into the exponent by itself.
    return (static_cast<std::uint32_t>(exponent + 13) << 10) + mantissa;
}

std::uint16_t channel_value(const PackedRgb& format, const BitField& channel, std::uint64_t word, std::uint32_t maximum)
{
    const auto raw = static_cast<std::uint32_t>((word >> channel.shift) & largest(channel.bits));
    if (!format.half_float) return static_cast<std::uint16_t>(rescale(raw, largest(channel.bits), maximum));
    const float unit = std::min(float_from_half(raw), 1.f);
    return static_cast<std::uint16_t>(std::lrint(unit * static_cast<float>(maximum)));
}

std::uint64_t channel_bits(const PackedRgb& format, const BitField& channel, std::uint32_t value, std::uint32_t maximum)
{
    const std::uint64_t raw = format.half_float ? half_from_unit(static_cast<float>(value) / static_cast<float>(maximum))
                                                : rescale(value, maximum, largest(channel.bits));
    return raw << channel.shift;
}

/// Bits of no channel. For half floats they are an alpha of 1.0, which is not all bits set.
std::uint64_t padding(const PackedRgb& format)
{
    if (format.half_float) return format.has_alpha() ? 0 : std::uint64_t{0x3c00} << 48;
    std::uint64_t used = 0;
    for (const BitField& c : format.channels) used |= std::uint64_t{largest(c.bits)} << c.shift;
    return ~used;
}

/// A sample as the GPU reads it, 0..1.
float sample(const std::byte* at, unsigned bytes)
{
    std::uint16_t value = 0;
    std::memcpy(&value, at, bytes);
    return static_cast<float>(value) / (bytes == 1 ? 255.f : 65535.f);
}

struct Yuv {
    float y, cb, cr;
};

Yuv packed_422(const YuvPlanes& image, std::uint32_t x, std::uint32_t y)
{
    const std::byte* block = image.data[0] + image.stride[0] * y + std::size_t{x / 2} * 4;
    const bool luma_first = image.format->fourcc == fourcc("YUYV");
    const std::size_t luma = (luma_first ? 0u : 1u) + (x & 1) * 2, chroma = luma_first ? 1 : 0;
    return {sample(block + luma, 1), sample(block + chroma, 1), sample(block + chroma + 2, 1)};
}

Yuv planar(const YuvPlanes& image, std::uint32_t x, std::uint32_t y)
{
    const FormatInfo& format = *image.format;
    const auto address = [&](std::size_t plane) {
        const PlaneFormat& p = format.planes[plane];
        return image.data[plane] + image.stride[plane] * (y / p.vertical) + std::size_t{x / p.horizontal} * p.bytes_per_block;
    };
    const unsigned bytes = format.planes[0].bytes_per_block;
    const bool cr_first = format.fourcc == fourcc("NV21") || format.fourcc == fourcc("YV12");
    const std::byte* first = address(1);
    const std::byte* second = format.plane_count == 2 ? first + bytes : address(2);
    return {sample(address(0), bytes), sample(cr_first ? second : first, bytes), sample(cr_first ? first : second, bytes)};
}

std::uint16_t from_unit(float value, std::uint32_t maximum)
{
    return static_cast<std::uint16_t>(std::lrint(std::clamp(value, 0.f, 1.f) * static_cast<float>(maximum)));
}

} // namespace

const PackedRgb* find_packed_rgb(FourCC code)
{
    const auto found = std::ranges::find(table, code, &PackedRgb::format);
    return found == table.end() ? nullptr : &*found;
}

static_assert(std::endian::native == std::endian::little,
              "pixels are little-endian words; a big-endian machine must swap them");

void decode_row(const PackedRgb& format, const std::byte* pixels, std::uint32_t maximum, RgbaRow rgba)
{
    const auto& c = format.channels;
    for (std::size_t i = 0; i < rgba.size(); i += 4, pixels += format.bytes) {
        std::uint64_t word = 0;
        std::memcpy(&word, pixels, format.bytes);
        rgba[i] = channel_value(format, c[0], word, maximum);
        for (std::size_t k = 1; k < 3; ++k)
            rgba[i + k] = c[k].bits          ? channel_value(format, c[k], word, maximum)
                          : format.is_grey() ? rgba[i]
                                             : std::uint16_t{0};
        rgba[i + 3] = c[3].bits ? channel_value(format, c[3], word, maximum) : static_cast<std::uint16_t>(maximum);
    }
}

void encode_row(const PackedRgb& format, std::span<const std::uint16_t> rgba, std::uint32_t maximum, std::byte* pixels)
{
    const std::uint64_t pad = padding(format);
    for (std::size_t i = 0; i < rgba.size(); i += 4, pixels += format.bytes) {
        std::uint64_t word = pad;
        for (std::size_t k = 0; k < 4; ++k)
            if (format.channels[k].bits) word |= channel_bits(format, format.channels[k], rgba[i + k], maximum);
        std::memcpy(pixels, &word, format.bytes);
    }
}

void unpremultiply(RgbaRow rgba, std::uint32_t maximum)
{
    for (std::size_t i = 0; i < rgba.size(); i += 4) {
        const std::uint32_t alpha = rgba[i + 3];
        for (std::size_t k = i; k < i + 3; ++k)
            rgba[k] =
                alpha ? static_cast<std::uint16_t>(std::min(rescale(rgba[k], alpha, maximum), maximum)) : std::uint16_t{0};
    }
}

void decode_yuv_row(const YuvPlanes& image, const YuvToRgb& conversion, std::uint32_t y, std::uint32_t maximum, RgbaRow rgba)
{
    const bool packed = image.format->planes[0].block_width == 2;
    const auto& m = conversion.matrix;
    for (std::uint32_t x = 0; x < rgba.size() / 4; ++x) {
        const Yuv s = packed ? packed_422(image, x, y) : planar(image, x, y);
        const std::array<float, 3> v{s.y - conversion.offset[0], s.cb - conversion.offset[1], s.cr - conversion.offset[2]};
        for (std::size_t k = 0; k < 3; ++k)
            rgba[x * 4 + k] = from_unit(m[3 * k] * v[0] + m[3 * k + 1] * v[1] + m[3 * k + 2] * v[2], maximum);
        rgba[x * 4 + 3] = static_cast<std::uint16_t>(maximum);
    }
}

} // namespace dmb::ctl
