// SPDX-License-Identifier: MIT
// Rows of every format against values worked out by hand.
#include "tools/dmabrokerctl/pixels.hpp"

#include "proto/image/format_colour.hpp"
#include "tests/support/fixture.hpp"

#include <cmath>
#include <cstring>

namespace dmb::ctl {
namespace {

using Rgba = std::array<std::uint16_t, 4>;

Rgba decode(const char (&code)[5], std::uint64_t word, std::uint32_t maximum)
{
    std::array<std::byte, 8> bytes;
    std::memcpy(bytes.data(), &word, sizeof word);
    Rgba out{};
    decode_row(*find_packed_rgb(fourcc(code)), bytes.data(), maximum, out);
    return out;
}

TEST(Pixels, every_rgb_format_of_the_table_has_a_layout_of_the_same_size)
{
    for (const FormatInfo& format : all_formats()) {
        const PackedRgb* packed = find_packed_rgb(format.fourcc);
        EXPECT_EQ(packed != nullptr, format.model == ColourModel::rgb) << format.name;
        if (!packed) continue;
        EXPECT_EQ(packed->bytes, format.planes[0].bytes_per_block) << format.name;
        EXPECT_EQ(packed->has_alpha(), format.has_alpha) << format.name;
        EXPECT_EQ(packed->half_float, format.sample == SampleType::sfloat) << format.name;
    }
}

TEST(Pixels, channels_are_where_drm_fourcc_says)
{
    EXPECT_EQ(decode("XR24", 0x00112233, 255), (Rgba{0x11, 0x22, 0x33, 255}));
    EXPECT_EQ(decode("AR24", 0x44112233, 255), (Rgba{0x11, 0x22, 0x33, 0x44}));
    EXPECT_EQ(decode("AB24", 0x44332211, 255), (Rgba{0x11, 0x22, 0x33, 0x44}));
    EXPECT_EQ(decode("RA24", 0x11223344, 255), (Rgba{0x11, 0x22, 0x33, 0x44}));
    EXPECT_EQ(decode("BX24", 0x33221144, 255), (Rgba{0x11, 0x22, 0x33, 255}));
    EXPECT_EQ(decode("RG24", 0x112233, 255), (Rgba{0x11, 0x22, 0x33, 255}));
    EXPECT_EQ(decode("BG24", 0x332211, 255), (Rgba{0x11, 0x22, 0x33, 255}));
    EXPECT_EQ(decode("RG16", 0xf800, 255), (Rgba{255, 0, 0, 255}));
    EXPECT_EQ(decode("RG16", 0x07e0, 255), (Rgba{0, 255, 0, 255}));
    EXPECT_EQ(decode("BG16", 0xf800, 255), (Rgba{0, 0, 255, 255}));
    EXPECT_EQ(decode("XR30", 0x3ff00000, 65535), (Rgba{65535, 0, 0, 65535}));
    EXPECT_EQ(decode("AB30", 0x400003ff, 65535), (Rgba{65535, 0, 0, 21845}));
    EXPECT_EQ(decode("AB48", 0x4444333322221111, 65535), (Rgba{0x1111, 0x2222, 0x3333, 0x4444}));
    EXPECT_EQ(decode("XR48", 0x0000111122223333, 65535), (Rgba{0x1111, 0x2222, 0x3333, 65535}));
    EXPECT_EQ(decode("R8  ", 0x7f, 255), (Rgba{0x7f, 0x7f, 0x7f, 255}));
    EXPECT_EQ(decode("GR88", 0x2211, 255), (Rgba{0x11, 0x22, 0, 255}));
    EXPECT_EQ(decode("GR32", 0x22221111, 65535), (Rgba{0x1111, 0x2222, 0, 65535}));
}

TEST(Pixels, half_floats_are_clamped)
{
    EXPECT_EQ(decode("AB4H", 0x3c00'3800'bc00'7c00, 65535), (Rgba{65535, 0, 32768, 65535})); // inf, -1, 0.5, 1
    EXPECT_EQ(decode("AB4H", 0x0001'7e00'4000'0000, 65535), (Rgba{0, 65535, 0, 0}));         // 0, 2, NaN, smallest
}

/// Half a step of the format; nothing where it has as many steps as the numbers.
int tolerance(const PackedRgb& format, const BitField& channel, std::uint32_t maximum)
{
    if (channel.bits == 0) return 65535;
    const unsigned bits = format.half_float ? 10 : channel.bits;
    const std::uint32_t step = maximum / ((1u << bits) - 1);
    return step == 1 ? 0 : static_cast<int>(step / 2 + 1);
}

TEST(Pixels, what_was_encoded_is_decoded_again)
{
    for (const FormatInfo& format : all_formats()) {
        const PackedRgb* packed = find_packed_rgb(format.fourcc);
        if (!packed) continue;
        const std::uint32_t maximum = format.bits > 8 ? 65535 : 255;
        for (std::uint32_t value = 0; value <= maximum; value += format.bits > 8 ? 997 : 1) {
            const auto other = static_cast<std::uint16_t>(maximum - value);
            const Rgba in{static_cast<std::uint16_t>(value), other, static_cast<std::uint16_t>(value / 2), other};
            std::array<std::byte, 8> bytes{};
            Rgba out{};
            encode_row(*packed, in, maximum, bytes.data());
            decode_row(*packed, bytes.data(), maximum, out);
            for (std::size_t k = 0; k < 4; ++k)
                EXPECT_LE(std::abs(out[k] - in[k]), tolerance(*packed, packed->channels[k], maximum)) << format.name;
        }
    }
}

TEST(Pixels, padding_reads_as_opaque)
{
    const Rgba in{1, 2, 3, 0};
    std::array<std::byte, 8> bytes{};
    encode_row(*find_packed_rgb(fourcc("XB24")), in, 255, bytes.data());
    EXPECT_EQ(bytes[3], std::byte{255});
    encode_row(*find_packed_rgb(fourcc("XB4H")), in, 65535, bytes.data());
    EXPECT_EQ((std::array{bytes[6], bytes[7]}), (std::array{std::byte{0x00}, std::byte{0x3c}}));
}

TEST(Pixels, premultiplied_colour_is_divided_by_alpha)
{
    Rgba pixel{64, 128, 0, 128};
    unpremultiply(pixel, 255);
    EXPECT_EQ(pixel, (Rgba{128, 255, 0, 128}));
    Rgba clear{5, 5, 5, 0};
    unpremultiply(clear, 255);
    EXPECT_EQ(clear, (Rgba{0, 0, 0, 0}));
}

/// One 2x2 image of a single colour, in the order Y, Cb, Cr of the format's planes.
Rgba decode_yuv(const char (&code)[5], std::vector<std::vector<std::uint8_t>> planes)
{
    const Colour colour = default_colour(fourcc(code));
    YuvPlanes image{find_format(fourcc(code))};
    for (std::size_t i = 0; i < planes.size(); ++i) {
        image.data[i] = reinterpret_cast<const std::byte*>(planes[i].data());
        image.stride[i] = 0; // all rows alike
    }
    std::array<std::uint16_t, 8> row{};
    decode_yuv_row(image, *yuv_to_rgb(colour, image.format->bits), 1, 255, row);
    EXPECT_TRUE(std::equal(row.begin(), row.begin() + 4, row.begin() + 4)) << code;
    return {row[0], row[1], row[2], row[3]};
}

TEST(Pixels, yuv_is_converted_in_every_arrangement)
{
    // BT.709 limited red: Y 63, Cb 102, Cr 240.
    const Rgba red{255, 0, 0, 255};
    const auto near = [](const Rgba& a, const Rgba& b) {
        for (std::size_t k = 0; k < 4; ++k)
            if (std::abs(a[k] - b[k]) > 2) return false;
        return true;
    };
    EXPECT_TRUE(near(decode_yuv("NV12", {{63, 63}, {102, 240}}), red));
    EXPECT_TRUE(near(decode_yuv("NV21", {{63, 63}, {240, 102}}), red));
    EXPECT_TRUE(near(decode_yuv("NV16", {{63, 63}, {102, 240}}), red));
    EXPECT_TRUE(near(decode_yuv("YU12", {{63, 63}, {102}, {240}}), red));
    EXPECT_TRUE(near(decode_yuv("YV12", {{63, 63}, {240}, {102}}), red));
    EXPECT_TRUE(near(decode_yuv("YU24", {{63, 63}, {102, 102}, {240, 240}}), red));
    EXPECT_TRUE(near(decode_yuv("YUYV", {{63, 102, 63, 240}}), red));
    EXPECT_TRUE(near(decode_yuv("UYVY", {{102, 63, 240, 63}}), red));
    EXPECT_TRUE(near(decode_yuv("P010", {{0, 63, 0, 63}, {0, 102, 0, 240}}), red));
}

} // namespace
} // namespace dmb::ctl
