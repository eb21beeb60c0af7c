// SPDX-License-Identifier: MIT
// The table itself. A fourcc names little-endian words ("XRGB8888" is B,G,R,X in memory), a VkFormat
// without PACK names bytes in memory order: the two columns below say the same in both languages.
// Where no VkFormat or GL format has the same bits the column is 0 and importers use the planes or refuse.
#include "proto/image/format_table.hpp"

#include <algorithm>

namespace dmb {
namespace {

// GL sized internal formats.
constexpr std::uint32_t gl_rgba8 = 0x8058, gl_rgb10_a2 = 0x8059, gl_rgba16 = 0x805B, gl_rgba16f = 0x881A, gl_r8 = 0x8229,
                        gl_r16 = 0x822A, gl_rg8 = 0x822B, gl_rg16 = 0x822C, gl_rgb565 = 0x8D62;

constexpr FourCC r8 = fourcc("R8  "), gr88 = fourcc("GR88"), r16 = fourcc("R16 "), gr1616 = fourcc("GR32");

enum class Alpha { yes, no, padding };

constexpr FormatInfo rgb(const char (&code)[5], const char* name, std::uint8_t bytes, std::uint8_t bits, Alpha alpha,
                         std::uint32_t vk, std::uint32_t gl, bool swap = false)
{
    FormatInfo f{.fourcc = fourcc(code), .name = name};
    f.has_alpha = alpha == Alpha::yes;
    f.bits = bits;
    f.planes[0] = {.bytes_per_block = bytes, .as_image = f.fourcc};
    f.vk_format = vk;
    f.vk_ignores_alpha = vk != 0 && alpha == Alpha::padding;
    f.gl_internal_format = gl;
    f.gl_swap_red_blue = swap;
    return f;
}

constexpr FormatInfo half(FormatInfo f)
{
    f.sample = SampleType::sfloat;
    return f;
}

/// Luma and interleaved chroma.
constexpr FormatInfo semi_planar(const char (&code)[5], const char* name, std::uint8_t bits, std::uint8_t vertical,
                                 std::uint32_t vk)
{
    const std::uint8_t bytes = bits > 8 ? 2 : 1;
    FormatInfo f{.fourcc = fourcc(code), .name = name, .model = ColourModel::yuv};
    f.bits = bits;
    f.plane_count = 2;
    f.planes[0] = {.bytes_per_block = bytes, .as_image = bits > 8 ? r16 : r8};
    f.planes[1] = {.bytes_per_block = static_cast<std::uint8_t>(2 * bytes),
                   .horizontal = 2,
                   .vertical = vertical,
                   .as_image = bits > 8 ? gr1616 : gr88};
    f.vk_format = vk;
    return f;
}

constexpr FormatInfo planar(const char (&code)[5], const char* name, std::uint8_t horizontal, std::uint8_t vertical,
                            std::uint32_t vk)
{
    FormatInfo f{.fourcc = fourcc(code), .name = name, .model = ColourModel::yuv};
    f.plane_count = 3;
    f.planes[0] = {.bytes_per_block = 1, .as_image = r8};
    f.planes[1] = f.planes[2] = {.bytes_per_block = 1, .horizontal = horizontal, .vertical = vertical, .as_image = r8};
    f.vk_format = vk;
    return f;
}

constexpr FormatInfo packed_422(const char (&code)[5], const char* name, std::uint32_t vk)
{
    FormatInfo f{.fourcc = fourcc(code), .name = name, .model = ColourModel::yuv};
    f.planes[0] = {.bytes_per_block = 4, .block_width = 2, .as_image = f.fourcc};
    f.vk_format = vk;
    return f;
}

constexpr std::array table{
    rgb("XR24", "XRGB8888", 4, 8, Alpha::padding, 44, gl_rgba8, true),
    rgb("AR24", "ARGB8888", 4, 8, Alpha::yes, 44, gl_rgba8, true),
    rgb("XB24", "XBGR8888", 4, 8, Alpha::padding, 37, gl_rgba8),
    rgb("AB24", "ABGR8888", 4, 8, Alpha::yes, 37, gl_rgba8),
    rgb("RX24", "RGBX8888", 4, 8, Alpha::padding, 0, 0),
    rgb("RA24", "RGBA8888", 4, 8, Alpha::yes, 0, 0),
    rgb("BX24", "BGRX8888", 4, 8, Alpha::padding, 0, 0),
    rgb("BA24", "BGRA8888", 4, 8, Alpha::yes, 0, 0),
    rgb("RG24", "RGB888", 3, 8, Alpha::no, 30, 0),
    rgb("BG24", "BGR888", 3, 8, Alpha::no, 23, 0),
    rgb("RG16", "RGB565", 2, 6, Alpha::no, 4, gl_rgb565),
    rgb("BG16", "BGR565", 2, 6, Alpha::no, 5, 0),
    rgb("XR30", "XRGB2101010", 4, 10, Alpha::padding, 58, gl_rgb10_a2, true),
    rgb("AR30", "ARGB2101010", 4, 10, Alpha::yes, 58, gl_rgb10_a2, true),
    rgb("XB30", "XBGR2101010", 4, 10, Alpha::padding, 64, gl_rgb10_a2),
    rgb("AB30", "ABGR2101010", 4, 10, Alpha::yes, 64, gl_rgb10_a2),
    rgb("XR48", "XRGB16161616", 8, 16, Alpha::padding, 0, 0),
    rgb("AR48", "ARGB16161616", 8, 16, Alpha::yes, 0, 0),
    rgb("XB48", "XBGR16161616", 8, 16, Alpha::padding, 91, gl_rgba16),
    rgb("AB48", "ABGR16161616", 8, 16, Alpha::yes, 91, gl_rgba16),
    half(rgb("XR4H", "XRGB16161616F", 8, 16, Alpha::padding, 0, 0)),
    half(rgb("AR4H", "ARGB16161616F", 8, 16, Alpha::yes, 0, 0)),
    half(rgb("XB4H", "XBGR16161616F", 8, 16, Alpha::padding, 97, gl_rgba16f)),
    half(rgb("AB4H", "ABGR16161616F", 8, 16, Alpha::yes, 97, gl_rgba16f)),
    rgb("R8  ", "R8", 1, 8, Alpha::no, 9, gl_r8),
    rgb("GR88", "GR88", 2, 8, Alpha::no, 16, gl_rg8),
    rgb("RG88", "RG88", 2, 8, Alpha::no, 0, 0),
    rgb("R16 ", "R16", 2, 16, Alpha::no, 70, gl_r16),
    rgb("GR32", "GR1616", 4, 16, Alpha::no, 77, gl_rg16),
    semi_planar("NV12", "NV12", 8, 2, 1000156003),
    semi_planar("NV21", "NV21", 8, 2, 0),
    semi_planar("NV16", "NV16", 8, 1, 1000156005),
    semi_planar("P010", "P010", 10, 2, 1000156013),
    semi_planar("P012", "P012", 12, 2, 1000156023),
    semi_planar("P016", "P016", 16, 2, 1000156030),
    planar("YU12", "YUV420", 2, 2, 1000156002),
    planar("YV12", "YVU420", 2, 2, 0),
    planar("YU16", "YUV422", 2, 1, 1000156004),
    planar("YU24", "YUV444", 1, 1, 1000156006),
    packed_422("YUYV", "YUYV", 1000156000),
    packed_422("UYVY", "UYVY", 1000156001),
};

constexpr FormatInfo buffer{
    .fourcc = buffer_format, .name = "BLOB", .planes = {{{.bytes_per_block = 1, .as_image = buffer_format}}}};

} // namespace

std::span<const FormatInfo> all_formats() { return table; }

const FormatInfo* find_format(FourCC code)
{
    if (code == buffer_format) return &buffer;
    const auto found = std::ranges::find(table, code, &FormatInfo::fourcc);
    return found == table.end() ? nullptr : &*found;
}

Extent plane_extent(const FormatInfo& format, std::size_t plane, Extent image)
{
    const PlaneFormat& p = format.planes[plane];
    const auto divide = [](std::uint32_t value, std::uint32_t by) { return value / by + (value % by != 0); };
    return {divide(image.width, p.horizontal), divide(image.height, p.vertical)};
}

std::uint64_t row_bytes(const FormatInfo& format, std::size_t plane, std::uint32_t image_width)
{
    const PlaneFormat& p = format.planes[plane];
    const std::uint64_t width = plane_extent(format, plane, {image_width, 1}).width;
    return (width / p.block_width + (width % p.block_width != 0)) * p.bytes_per_block;
}

} // namespace dmb
