// SPDX-License-Identifier: MIT
// Formats are written down as the channels from the lowest bit up, the way drm_fourcc.h draws them
// from right to left.
#include "tests/drm/matrix/pattern.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <fmt/core.h>
#include <stdexcept>

namespace dmb::matrix {
namespace {

struct Packed {
    FourCC format;
    std::string_view channels; ///< from bit 0 up: R, G, B, A or X (padding)
    std::array<unsigned, 4> bits;
    bool half = false;
    unsigned bytes() const
    {
        unsigned sum = 0;
        for (const unsigned b : bits) sum += b;
        return sum / 8;
    }
};

const Packed packed_formats[] = {
    {fourcc("XR24"), "BGRX", {8, 8, 8, 8}},
    {fourcc("AR24"), "BGRA", {8, 8, 8, 8}},
    {fourcc("XB24"), "RGBX", {8, 8, 8, 8}},
    {fourcc("AB24"), "RGBA", {8, 8, 8, 8}},
    {fourcc("RX24"), "XBGR", {8, 8, 8, 8}},
    {fourcc("RA24"), "ABGR", {8, 8, 8, 8}},
    {fourcc("BX24"), "XRGB", {8, 8, 8, 8}},
    {fourcc("BA24"), "ARGB", {8, 8, 8, 8}},
    {fourcc("RG24"), "BGR", {8, 8, 8}},
    {fourcc("BG24"), "RGB", {8, 8, 8}},
    {fourcc("RG16"), "BGR", {5, 6, 5}},
    {fourcc("BG16"), "RGB", {5, 6, 5}},
    {fourcc("XR30"), "BGRX", {10, 10, 10, 2}},
    {fourcc("AR30"), "BGRA", {10, 10, 10, 2}},
    {fourcc("XB30"), "RGBX", {10, 10, 10, 2}},
    {fourcc("AB30"), "RGBA", {10, 10, 10, 2}},
    {fourcc("XR48"), "BGRX", {16, 16, 16, 16}},
    {fourcc("AR48"), "BGRA", {16, 16, 16, 16}},
    {fourcc("XB48"), "RGBX", {16, 16, 16, 16}},
    {fourcc("AB48"), "RGBA", {16, 16, 16, 16}},
    {fourcc("XR4H"), "BGRX", {16, 16, 16, 16}, true},
    {fourcc("AR4H"), "BGRA", {16, 16, 16, 16}, true},
    {fourcc("XB4H"), "RGBX", {16, 16, 16, 16}, true},
    {fourcc("AB4H"), "RGBA", {16, 16, 16, 16}, true},
    {fourcc("R8  "), "R", {8}},
    {fourcc("GR88"), "RG", {8, 8}},
    {fourcc("RG88"), "GR", {8, 8}},
    {fourcc("R16 "), "R", {16}},
    {fourcc("GR32"), "RG", {16, 16}},
};

/// Planes of Y'CbCr: `order` says what each plane holds.
struct Planar {
    FourCC format;
    unsigned bits;
    unsigned horizontal, vertical;
    std::array<std::string_view, 3> planes; ///< "Y", "UV", "VU", "U", "V"
    unsigned plane_count() const { return planes[2].empty() ? 2 : 3; }
    unsigned sample() const { return bits > 8 ? 2 : 1; }
};

const Planar planar_formats[] = {
    {fourcc("NV12"), 8, 2, 2, {"Y", "UV", ""}},  {fourcc("NV21"), 8, 2, 2, {"Y", "VU", ""}},
    {fourcc("NV16"), 8, 2, 1, {"Y", "UV", ""}},  {fourcc("P010"), 10, 2, 2, {"Y", "UV", ""}},
    {fourcc("P012"), 12, 2, 2, {"Y", "UV", ""}}, {fourcc("P016"), 16, 2, 2, {"Y", "UV", ""}},
    {fourcc("YU12"), 8, 2, 2, {"Y", "U", "V"}},  {fourcc("YV12"), 8, 2, 2, {"Y", "V", "U"}},
    {fourcc("YU16"), 8, 2, 1, {"Y", "U", "V"}},  {fourcc("YU24"), 8, 1, 1, {"Y", "U", "V"}},
};

template <class List> auto find(const List& list, FourCC format) -> decltype(&list[0])
{
    for (const auto& entry : list)
        if (entry.format == format) return &entry;
    return nullptr;
}

const Packed& packed(FourCC format)
{
    if (const Packed* found = find(packed_formats, format)) return *found;
    throw std::runtime_error("no such RGB format: " + to_string(format));
}

bool is_packed_422(FourCC format) { return format == fourcc("YUYV") || format == fourcc("UYVY"); }

std::uint32_t divide_up(std::uint32_t value, unsigned by) { return (value + by - 1) / by; }

/// A hash good enough that neighbours differ (the finaliser of splitmix64).
std::uint64_t mix(std::uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/// Finite and not denormal, either sign.
std::uint16_t normal_half(std::uint64_t random)
{
    const auto exponent = static_cast<std::uint16_t>(1 + random % 29);
    return static_cast<std::uint16_t>((random >> 8 & 0x83ff) | static_cast<std::uint16_t>(exponent << 10));
}

float half_to_float(std::uint16_t half)
{
    const float mantissa = static_cast<float>(half & 0x3ff);
    const int exponent = half >> 10 & 0x1f;
    const float magnitude = exponent ? std::ldexp(1024.0f + mantissa, exponent - 25) : std::ldexp(mantissa, -24);
    return half & 0x8000 ? -magnitude : magnitude;
}

/// Exact for what is a half; anything else becomes a NaN, which no pattern has.
std::uint16_t float_to_half(float value)
{
    for (int exponent = 1; exponent < 31; ++exponent) {
        const float mantissa = std::ldexp(std::fabs(value), 25 - exponent) - 1024.0f;
        if (mantissa < 0 || mantissa > 1023 || mantissa != std::floor(mantissa)) continue;
        return static_cast<std::uint16_t>((value < 0 ? 0x8000 : 0) | exponent << 10 | static_cast<int>(mantissa));
    }
    return value == 0 ? 0 : 0x7fff;
}

std::uint64_t load(const std::uint8_t* bytes, unsigned count)
{
    std::uint64_t word = 0;
    for (unsigned i = 0; i < count; ++i) word |= std::uint64_t{bytes[i]} << (8 * i);
    return word;
}

void store(std::uint8_t* bytes, unsigned count, std::uint64_t word)
{
    for (unsigned i = 0; i < count; ++i) bytes[i] = static_cast<std::uint8_t>(word >> (8 * i));
}

void fill_noise(std::vector<std::uint8_t>& bytes, std::uint64_t seed)
{
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(mix(seed << 32 | i));
}

void fill_halves(std::vector<std::uint8_t>& bytes, std::uint64_t seed)
{
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) store(&bytes[i], 2, normal_half(mix(seed << 32 | i)));
}

/// P010: the sample is in the top bits, the rest is 0.
void clear_low_bits(std::vector<std::uint8_t>& bytes, unsigned bits)
{
    const std::uint64_t mask = 0xffffu << (16 - bits) & 0xffffu;
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) store(&bytes[i], 2, load(&bytes[i], 2) & mask);
}

/// Bits that mean something in each byte of a texel.
std::vector<std::uint8_t> significant(FourCC format, unsigned bytes)
{
    const Packed* rgb = find(packed_formats, format);
    std::vector<std::uint8_t> mask(bytes, 0xff);
    if (!rgb) return mask;
    std::uint64_t word = 0;
    unsigned shift = 0;
    for (std::size_t i = 0; i < rgb->channels.size(); shift += rgb->bits[i++])
        if (rgb->channels[i] != 'X') word |= ((std::uint64_t{1} << rgb->bits[i]) - 1) << shift;
    store(mask.data(), bytes, word);
    return mask;
}

std::size_t component(char channel) { return channel == 'R' ? 0 : channel == 'G' ? 1 : channel == 'B' ? 2 : 3; }

std::array<float, 4> decode_texel(const Packed& format, std::uint64_t word)
{
    std::array<float, 4> rgba{0, 0, 0, 1};
    unsigned shift = 0;
    for (std::size_t i = 0; i < format.channels.size(); shift += format.bits[i++]) {
        if (format.channels[i] == 'X') continue;
        const std::uint64_t maximum = (std::uint64_t{1} << format.bits[i]) - 1;
        const std::uint64_t value = word >> shift & maximum;
        rgba[component(format.channels[i])] = format.half ? half_to_float(static_cast<std::uint16_t>(value))
                                                          : static_cast<float>(value) / static_cast<float>(maximum);
    }
    return rgba;
}

std::uint64_t encode_texel(const Packed& format, const std::array<float, 4>& rgba)
{
    std::uint64_t word = 0;
    unsigned shift = 0;
    for (std::size_t i = 0; i < format.channels.size(); shift += format.bits[i++]) {
        if (format.channels[i] == 'X') continue;
        const float value = rgba[component(format.channels[i])];
        const double maximum = static_cast<double>((1u << format.bits[i]) - 1);
        const std::uint64_t bits = format.half
                                       ? float_to_half(value)
                                       : static_cast<std::uint64_t>(std::lround(std::clamp(double{value}, 0.0, 1.0) * maximum));
        word |= bits << shift;
    }
    return word;
}

struct Yuv {
    double y, u, v; ///< in steps of 8 bits
};

Yuv planar_sample(const Pixels& pixels, const Planar& format, std::uint32_t x, std::uint32_t y)
{
    Yuv out{};
    const unsigned step = format.sample();
    for (unsigned p = 0; p < format.plane_count(); ++p) {
        const bool luma = format.planes[p] == "Y";
        const std::uint32_t px = luma ? x : x / format.horizontal, py = luma ? y : y / format.vertical;
        const PlaneShape shape = shapes(pixels.format, pixels.size)[p];
        for (std::size_t c = 0; c < format.planes[p].size(); ++c) {
            const std::uint8_t* at = &pixels.planes[p][py * shape.row() + px * shape.bytes + c * step];
            const double value = step == 2 ? static_cast<double>(load(at, 2)) / 256.0 : static_cast<double>(*at);
            const char name = format.planes[p][c];
            (name == 'Y' ? out.y : name == 'U' ? out.u : out.v) = value;
        }
    }
    return out;
}

Yuv packed_sample(const Pixels& pixels, std::uint32_t x, std::uint32_t y)
{
    const PlaneShape shape = shapes(pixels.format, pixels.size)[0];
    const std::uint8_t* block = &pixels.planes[0][y * shape.row() + x / 2 * 4];
    if (pixels.format == fourcc("YUYV")) return {double(block[x % 2 * 2]), double(block[1]), double(block[3])};
    return {double(block[x % 2 * 2 + 1]), double(block[0]), double(block[2])};
}

/// ITU-T H.273, equations for matrix coefficients and ranges.
std::array<float, 4> to_rgb(const Yuv& s, const Colour& colour, double full_maximum)
{
    const bool limited = colour.range == ColourRange::limited;
    const double y = limited ? (s.y - 16) / 219 : s.y / full_maximum;
    const double cb = limited ? (s.u - 128) / 224 : (s.u - 128) / full_maximum;
    const double cr = limited ? (s.v - 128) / 224 : (s.v - 128) / full_maximum;
    const bool bt601 = colour.matrix == MatrixCoefficients::smpte170m, bt2020 = colour.matrix == MatrixCoefficients::bt2020_ncl;
    const double kr = bt601 ? 0.299 : bt2020 ? 0.2627 : 0.2126;
    const double kb = bt601 ? 0.114 : bt2020 ? 0.0593 : 0.0722;
    const double r = y + 2 * (1 - kr) * cr, b = y + 2 * (1 - kb) * cb;
    const double g = (y - kr * r - kb * b) / (1 - kr - kb);
    const auto clamp = [](double v) { return static_cast<float>(std::clamp(v, 0.0, 1.0)); };
    return {clamp(r), clamp(g), clamp(b), 1};
}

} // namespace

std::vector<PlaneShape> shapes(FourCC format, Extent size)
{
    if (is_packed_422(format)) return {{{divide_up(size.width, 2), size.height}, 4}};
    const Planar* planar = find(planar_formats, format);
    if (!planar) return {{size, packed(format).bytes()}};
    std::vector<PlaneShape> out;
    for (unsigned p = 0; p < planar->plane_count(); ++p) {
        const bool luma = planar->planes[p] == "Y";
        const Extent texels =
            luma ? size : Extent{divide_up(size.width, planar->horizontal), divide_up(size.height, planar->vertical)};
        out.push_back({texels, static_cast<std::uint32_t>(planar->planes[p].size()) * planar->sample()});
    }
    return out;
}

Pixels make_pattern(FourCC format, Extent size, unsigned seed)
{
    Pixels pixels{format, size, {}};
    const Packed* rgb = find(packed_formats, format);
    const Planar* planar = find(planar_formats, format);
    std::uint64_t plane_seed = std::uint64_t{seed} * 16;
    for (const PlaneShape& shape : shapes(format, size)) {
        auto& bytes = pixels.planes.emplace_back(std::size_t{shape.row()} * shape.texels.height);
        if (rgb && rgb->half) fill_halves(bytes, plane_seed++);
        else fill_noise(bytes, plane_seed++);
        if (planar && planar->bits > 8) clear_low_bits(bytes, planar->bits);
    }
    return pixels;
}

std::string difference(const Pixels& expected, const Pixels& actual)
{
    const auto all = shapes(expected.format, expected.size);
    if (actual.planes.size() != all.size()) return fmt::format("{} planes instead of {}", actual.planes.size(), all.size());
    for (std::size_t p = 0; p < all.size(); ++p) {
        const auto mask = significant(expected.format, all[p].bytes);
        if (actual.planes[p].size() != expected.planes[p].size()) return fmt::format("plane {} has another size", p);
        for (std::size_t i = 0; i < expected.planes[p].size(); ++i) {
            const int want = expected.planes[p][i] & mask[i % mask.size()], got = actual.planes[p][i] & mask[i % mask.size()];
            if (want == got) continue;
            const std::size_t texel = i / all[p].bytes;
            return fmt::format("plane {} at {},{} byte {}: {:#04x} instead of {:#04x}", p, texel % all[p].texels.width,
                               texel / all[p].texels.width, i % all[p].bytes, got, want);
        }
    }
    return {};
}

Texels decode(FourCC format, const std::vector<std::uint8_t>& bytes)
{
    const Packed& p = packed(format);
    Texels texels(bytes.size() / p.bytes());
    for (std::size_t i = 0; i < texels.size(); ++i) texels[i] = decode_texel(p, load(&bytes[i * p.bytes()], p.bytes()));
    return texels;
}

std::vector<std::uint8_t> encode(FourCC format, const Texels& texels)
{
    const Packed& p = packed(format);
    std::vector<std::uint8_t> bytes(texels.size() * p.bytes());
    for (std::size_t i = 0; i < texels.size(); ++i) store(&bytes[i * p.bytes()], p.bytes(), encode_texel(p, texels[i]));
    return bytes;
}

std::string difference(FourCC format, const Texels& expected, const Texels& actual, Extent size)
{
    const Packed& p = packed(format);
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const bool alpha_is_one = p.channels.find('A') != std::string_view::npos || actual[i][3] == 1.0f;
        if (encode_texel(p, actual[i]) == encode_texel(p, expected[i]) && alpha_is_one) continue;
        const auto& [r, g, b, a] = actual[i];
        const auto& want = expected[i];
        return fmt::format("at {},{}: {} {} {} {} instead of {} {} {} {}", i % size.width, i / size.width, r, g, b, a, want[0],
                           want[1], want[2], want[3]);
    }
    return {};
}

Texels convert(const Pixels& pixels, const Colour& colour)
{
    const Planar* planar = find(planar_formats, pixels.format);
    const unsigned bits = planar ? planar->bits : 8;
    const double maximum = bits > 8 ? static_cast<double>(((1u << bits) - 1) << (16 - bits)) / 256.0 : 255.0;
    Texels out;
    for (std::uint32_t y = 0; y < pixels.size.height; ++y)
        for (std::uint32_t x = 0; x < pixels.size.width; ++x)
            out.push_back(to_rgb(planar ? planar_sample(pixels, *planar, x, y) : packed_sample(pixels, x, y), colour, maximum));
    return out;
}

std::string distance(const Texels& expected, const Texels& actual, Extent size)
{
    for (std::size_t i = 0; i < expected.size(); ++i)
        for (std::size_t c = 0; c < 3; ++c) {
            const float got = std::clamp(actual[i][c], 0.0f, 1.0f);
            if (std::fabs(got - expected[i][c]) * 255.0f <= 2.0f) continue;
            return fmt::format("converted, at {},{} channel {}: {:.1f}/255 instead of {:.1f}/255", i % size.width,
                               i / size.width, "rgb"[c], got * 255.0f, expected[i][c] * 255.0f);
        }
    return {};
}

} // namespace dmb::matrix
