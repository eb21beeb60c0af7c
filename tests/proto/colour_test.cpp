// SPDX-License-Identifier: MIT
// YUV to RGB against values worked out by hand from ITU-T H.273: 8-bit code points of white, black and
// the primaries, at 8, 10, 12 and 16 bits.
#include "proto/image/types.hpp"

#include <cmath>
#include <gtest/gtest.h>

namespace dmb {
namespace {

struct Rgb {
    double r, g, b;
};

/// Code points of `bits` bits, as a GPU reads them from the top of an 8- or 16-bit unit.
Rgb convert(const Colour& colour, unsigned bits, const std::array<unsigned, 3>& code)
{
    const YuvToRgb how = yuv_to_rgb(colour, bits);
    std::array<double, 3> sample{};
    for (std::size_t i = 0; i < 3; ++i)
        sample[i] = (bits > 8 ? static_cast<double>(code[i] << (16 - bits)) / 65535.0 : code[i] / 255.0) -
                    static_cast<double>(how.offset[i]);
    std::array<double, 3> out{};
    for (std::size_t row = 0; row < 3; ++row)
        for (std::size_t column = 0; column < 3; ++column)
            out[row] += static_cast<double>(how.matrix[3 * row + column]) * sample[column];
    return {out[0], out[1], out[2]};
}

void expect_rgb(Rgb got, Rgb wanted, double tolerance)
{
    EXPECT_NEAR(got.r, wanted.r, tolerance);
    EXPECT_NEAR(got.g, wanted.g, tolerance);
    EXPECT_NEAR(got.b, wanted.b, tolerance);
}

constexpr Colour limited_709{ColourMatrix::bt709, ColourRange::limited};
constexpr Colour limited_601{ColourMatrix::bt601, ColourRange::limited};
constexpr Colour full_601{ColourMatrix::bt601, ColourRange::full};
constexpr Colour limited_2020{ColourMatrix::bt2020, ColourRange::limited};

TEST(YuvToRgb, black_and_white_are_exact_in_every_matrix_range_and_depth)
{
    for (const ColourMatrix matrix : {ColourMatrix::bt601, ColourMatrix::bt709, ColourMatrix::bt2020})
        for (const unsigned bits : {8u, 10u, 12u, 16u}) {
            const unsigned step = 1u << (bits - 8), full = (1u << bits) - 1, middle = 128 * step;
            const Colour limited{matrix, ColourRange::limited}, whole{matrix, ColourRange::full};
            expect_rgb(convert(limited, bits, {16 * step, middle, middle}), {0, 0, 0}, 1e-4);
            expect_rgb(convert(limited, bits, {235 * step, middle, middle}), {1, 1, 1}, 1e-4);
            expect_rgb(convert(whole, bits, {0, middle, middle}), {0, 0, 0}, 1e-4);
            expect_rgb(convert(whole, bits, {full, middle, middle}), {1, 1, 1}, 1e-4);
        }
}

// The well-known code points of the primaries; half a code point of rounding is up to 2 % in RGB.
TEST(YuvToRgb, the_primaries_come_out_within_the_rounding_of_their_code_points)
{
    expect_rgb(convert(limited_709, 8, {63, 102, 240}), {1, 0, 0}, 0.01);
    expect_rgb(convert(limited_709, 8, {173, 42, 26}), {0, 1, 0}, 0.01);
    expect_rgb(convert(limited_709, 8, {32, 240, 118}), {0, 0, 1}, 0.01);
    expect_rgb(convert(limited_601, 8, {81, 90, 240}), {1, 0, 0}, 0.01);
    expect_rgb(convert(limited_601, 8, {145, 54, 34}), {0, 1, 0}, 0.01);
    expect_rgb(convert(limited_601, 8, {41, 240, 110}), {0, 0, 1}, 0.01);
    expect_rgb(convert(full_601, 8, {76, 85, 255}), {1, 0, 0}, 0.01);
    expect_rgb(convert(full_601, 8, {29, 255, 107}), {0, 0, 1}, 0.01);
    expect_rgb(convert(limited_2020, 10, {294, 387, 960}), {1, 0, 0}, 0.01);
}

/// The forward conversion of H.273 in double precision.
std::array<double, 3> to_yuv(const Rgb& rgb, double kr, double kb)
{
    const double y = kr * rgb.r + (1 - kr - kb) * rgb.g + kb * rgb.b;
    return {y, (rgb.b - y) / (2 * (1 - kb)), (rgb.r - y) / (2 * (1 - kr))};
}

TEST(YuvToRgb, reverses_the_forward_conversion_for_any_colour)
{
    const struct {
        ColourMatrix matrix;
        double kr, kb;
    } cases[] = {
        {ColourMatrix::bt601, 0.299, 0.114}, {ColourMatrix::bt709, 0.2126, 0.0722}, {ColourMatrix::bt2020, 0.2627, 0.0593}};
    for (const auto& c : cases)
        for (int i = 0; i < 125; ++i) {
            const Rgb rgb{(i % 5) / 4.0, (i / 5 % 5) / 4.0, (i / 25) / 4.0};
            const auto [y, cb, cr] = to_yuv(rgb, c.kr, c.kb);
            const auto code = [](double v) { return static_cast<unsigned>(std::lround(v * 256)); };
            const Colour limited{c.matrix, ColourRange::limited};
            expect_rgb(convert(limited, 16, {code(219 * y + 16), code(224 * cb + 128), code(224 * cr + 128)}), rgb, 1e-4);
        }
}

TEST(YuvToRgb, identity_means_green_blue_red)
{
    const Colour full{ColourMatrix::identity, ColourRange::full};
    expect_rgb(convert(full, 8, {51, 102, 204}), {0.8, 0.2, 0.4}, 1e-5);
    expect_rgb(convert(full, 10, {1023, 0, 1023}), {1, 1, 0}, 1e-4);
    const Colour limited{ColourMatrix::identity, ColourRange::limited};
    expect_rgb(convert(limited, 8, {235, 16, 235}), {1, 1, 0}, 1e-4);
}

} // namespace
} // namespace dmb
