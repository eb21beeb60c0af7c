// SPDX-License-Identifier: MIT
// Colour against ITU-T H.273: code points and their words, the rules of formats, and YUV to RGB against values worked
// out by hand (8-bit code points of white, black and the primaries) and against the forward equations.
#include "proto/image/format_colour.hpp"
#include "proto/image/image_desc.hpp"

#include <cmath>
#include <functional>
#include <gtest/gtest.h>

namespace dmb {
namespace {

// --- words

struct CodePoint {
    unsigned number;
    const char* word;
};

template <class E> void expect_words(std::initializer_list<CodePoint> all)
{
    for (const auto& [number, word] : all) {
        EXPECT_EQ(to_string(static_cast<E>(number)), word);
        EXPECT_EQ(parse_code_point<E>(word), static_cast<E>(number)) << word;
    }
    for (unsigned number = 0; number < 256; ++number) {
        EXPECT_EQ(parse_code_point<E>(std::to_string(number)), static_cast<E>(number)) << "numbers are words too";
        EXPECT_EQ(parse_code_point<E>(to_string(static_cast<E>(number))), static_cast<E>(number)) << number;
    }
    for (const char* nonsense : {"", "256", "-1", "0x1", "BT709", "bt709 ", "1 "})
        EXPECT_FALSE(parse_code_point<E>(nonsense)) << nonsense;
}

TEST(ColourWords, are_those_of_h273)
{
    expect_words<Primaries>({{1, "bt709"},
                             {2, "unspecified"},
                             {4, "bt470m"},
                             {5, "bt470bg"},
                             {6, "smpte170m"},
                             {7, "smpte240m"},
                             {8, "film"},
                             {9, "bt2020"},
                             {10, "xyz"},
                             {11, "dci_p3"},
                             {12, "display_p3"},
                             {22, "ebu3213"}});
    expect_words<Transfer>({{1, "bt709"},
                            {2, "unspecified"},
                            {4, "gamma22"},
                            {5, "gamma28"},
                            {6, "smpte170m"},
                            {7, "smpte240m"},
                            {8, "linear"},
                            {9, "log"},
                            {10, "log_sqrt"},
                            {11, "xvycc"},
                            {12, "bt1361"},
                            {13, "srgb"},
                            {14, "bt2020_10"},
                            {15, "bt2020_12"},
                            {16, "pq"},
                            {17, "smpte428"},
                            {18, "hlg"}});
    expect_words<MatrixCoefficients>({{0, "identity"},
                                      {1, "bt709"},
                                      {2, "unspecified"},
                                      {4, "fcc"},
                                      {5, "bt470bg"},
                                      {6, "smpte170m"},
                                      {7, "smpte240m"},
                                      {8, "ycgco"},
                                      {9, "bt2020_ncl"},
                                      {10, "bt2020_cl"},
                                      {11, "smpte2085"},
                                      {12, "chroma_ncl"},
                                      {13, "chroma_cl"},
                                      {14, "ictcp"}});
    expect_words<ColourRange>({{0, "limited"}, {1, "full"}});
    expect_words<ChromaSiting>({{0, "left"}, {1, "centre"}, {2, "top_left"}, {3, "top"}, {4, "bottom_left"}, {5, "bottom"}});
    expect_words<AlphaMode>({{0, "straight"}, {1, "premultiplied"}});
}

TEST(ColourWords, a_code_point_without_a_word_is_its_number)
{
    EXPECT_EQ(to_string(Primaries{3}), "3");
    EXPECT_EQ(to_string(Transfer{200}), "200");
    EXPECT_EQ(to_string(MatrixCoefficients{17}), "17");
}

// --- formats

Errc refusal(const Colour& colour, const char (&format)[5])
{
    const auto result = check_colour(colour, fourcc(format));
    return result ? Errc{} : result.error().code;
}

TEST(ColourOfFormats, rgb_is_srgb_and_yuv_bt709_limited_unless_said)
{
    for (const char* format : {"XR24", "AB48", "XR30", "AB4H", "R8  "}) {
        const Colour colour = default_colour(*parse_fourcc(format));
        EXPECT_EQ(colour, (Colour{Primaries::bt709, Transfer::srgb, MatrixCoefficients::identity, ColourRange::full}));
    }
    for (const char* format : {"NV12", "P010", "YUYV", "YU24"}) {
        const Colour colour = default_colour(*parse_fourcc(format));
        EXPECT_EQ(colour, (Colour{Primaries::bt709, Transfer::bt709, MatrixCoefficients::bt709, ColourRange::limited}));
    }
    EXPECT_EQ(default_colour(buffer_format), Colour{});
}

TEST(ColourOfFormats, a_request_may_ask_for_every_default_and_for_nothing)
{
    for (const char* format : {"XR24", "AB4H", "NV12", "YUYV", "YU24", "BLOB"}) {
        EXPECT_TRUE(check_colour(default_colour(*parse_fourcc(format)), *parse_fourcc(format))) << format;
        EXPECT_TRUE(check_colour({}, *parse_fourcc(format))) << format;
    }
}

TEST(ColourOfFormats, rgb_is_full_range_and_has_no_matrix)
{
    EXPECT_EQ(refusal({.range = ColourRange::limited}, "XR24"), Errc::invalid_argument);
    EXPECT_EQ(refusal({.matrix = MatrixCoefficients::bt709}, "XR24"), Errc::invalid_argument);
    EXPECT_EQ(refusal({.matrix = MatrixCoefficients::identity}, "XR24"), Errc{});
}

TEST(ColourOfFormats, identity_in_yuv_needs_all_chroma_samples)
{
    EXPECT_EQ(refusal({.matrix = MatrixCoefficients::identity}, "YU24"), Errc{});
    for (const char* format : {"NV12", "NV16", "YU12", "YUYV", "P010"})
        EXPECT_FALSE(check_colour({.matrix = MatrixCoefficients::identity}, *parse_fourcc(format))) << format;
}

TEST(ColourOfFormats, unknown_code_points_pass_and_unknown_ways_to_read_are_refused)
{
    EXPECT_EQ(refusal({.primaries = Primaries{0}, .transfer = Transfer{255}}, "XR24"), Errc{});
    EXPECT_EQ(refusal({.matrix = MatrixCoefficients{77}}, "NV12"), Errc{});
    EXPECT_EQ(refusal({.range = ColourRange{2}}, "NV12"), Errc::unsupported);
    EXPECT_EQ(refusal({.siting = ChromaSiting{6}}, "NV12"), Errc::unsupported);
    EXPECT_EQ(refusal({.alpha = AlphaMode{2}}, "NV12"), Errc::unsupported);
}

TEST(ColourOfFormats, another_format_has_the_same_colours_in_its_own_model)
{
    Colour pq{Primaries::bt2020, Transfer::pq, MatrixCoefficients::identity};
    pq.light = {1000, 400};
    const Colour yuv = adapted(pq, fourcc("XR30"), fourcc("P010"));
    EXPECT_EQ(yuv.matrix, MatrixCoefficients::bt2020_ncl);
    EXPECT_EQ(yuv.range, ColourRange::limited);
    EXPECT_EQ(yuv.transfer, Transfer::pq);
    EXPECT_EQ(adapted(yuv, fourcc("P010"), fourcc("XR30")), pq);
    EXPECT_EQ(adapted(pq, fourcc("XR30"), fourcc("AB4H")), pq);
    EXPECT_EQ(adapted(yuv, fourcc("P010"), fourcc("NV12")), yuv);
    EXPECT_EQ(adapted(pq, fourcc("XR30"), fourcc("YU24")).matrix, MatrixCoefficients::bt2020_ncl);
    const Colour gbr = adapted({.matrix = MatrixCoefficients::identity}, fourcc("YU24"), fourcc("NV12"));
    EXPECT_EQ(gbr.matrix, MatrixCoefficients::bt709) << "identity needs all chroma samples";
}

// --- YUV to RGB

struct Rgb {
    double r, g, b;
};

/// Code points of `bits` bits, as a GPU reads them from the top of an 8- or 16-bit unit.
Rgb convert(const Colour& colour, unsigned bits, const std::array<double, 3>& code)
{
    const YuvToRgb how = yuv_to_rgb(colour, bits).value();
    std::array<double, 3> sample{};
    for (std::size_t i = 0; i < 3; ++i)
        sample[i] = (bits > 8 ? code[i] * (1 << (16 - bits)) / 65535.0 : code[i] / 255.0) - static_cast<double>(how.offset[i]);
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

constexpr Colour with(MatrixCoefficients matrix, ColourRange range) { return {.matrix = matrix, .range = range}; }

constexpr Colour limited_709 = with(MatrixCoefficients::bt709, ColourRange::limited);
constexpr Colour limited_601 = with(MatrixCoefficients::smpte170m, ColourRange::limited);
constexpr Colour full_601 = with(MatrixCoefficients::bt470bg, ColourRange::full);
constexpr Colour limited_2020 = with(MatrixCoefficients::bt2020_ncl, ColourRange::limited);

TEST(YuvToRgb, black_and_white_are_exact_in_every_matrix_range_and_depth)
{
    for (const auto matrix : {MatrixCoefficients::bt709, MatrixCoefficients::fcc, MatrixCoefficients::bt470bg,
                              MatrixCoefficients::smpte170m, MatrixCoefficients::smpte240m, MatrixCoefficients::ycgco,
                              MatrixCoefficients::bt2020_ncl, MatrixCoefficients::unspecified})
        for (const unsigned bits : {8u, 10u, 12u, 16u}) {
            const double step = 1u << (bits - 8), full = (1u << bits) - 1, middle = 128 * step;
            const Colour limited = with(matrix, ColourRange::limited), whole = with(matrix, ColourRange::full);
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

/// The signals of H.273 in double precision: E'Y 0 to 1, E'PB and E'PR -0.5 to 0.5.
using Signals = std::array<double, 3>;

Signals differences(const Rgb& rgb, double kr, double kb)
{
    const double y = kr * rgb.r + (1 - kr - kb) * rgb.g + kb * rgb.b;
    return {y, (rgb.b - y) / (2 * (1 - kb)), (rgb.r - y) / (2 * (1 - kr))};
}

/// Of 16 bits; `chroma` 224, or 219 where the signals are made of quantised R, G, B.
std::array<double, 3> quantised(const Signals& s, ColourRange range, double chroma)
{
    if (range == ColourRange::full) return {65535 * s[0], 65535 * s[1] + 32768, 65535 * s[2] + 32768};
    return {256 * (219 * s[0] + 16), 256 * (chroma * s[1] + 128), 256 * (chroma * s[2] + 128)};
}

void expect_reversed(Colour colour, double chroma, const std::function<Signals(const Rgb&)>& forward)
{
    for (const ColourRange range : {ColourRange::limited, ColourRange::full})
        for (int i = 0; i < 125; ++i) {
            const Rgb rgb{(i % 5) / 4.0, (i / 5 % 5) / 4.0, (i / 25) / 4.0};
            colour.range = range;
            expect_rgb(convert(colour, 16, quantised(forward(rgb), range, chroma)), rgb, 1e-5);
        }
}

TEST(YuvToRgb, reverses_the_forward_conversion_for_any_colour)
{
    const struct {
        MatrixCoefficients matrix;
        double kr, kb;
    } cases[] = {{MatrixCoefficients::bt709, 0.2126, 0.0722},      {MatrixCoefficients::fcc, 0.30, 0.11},
                 {MatrixCoefficients::bt470bg, 0.299, 0.114},      {MatrixCoefficients::smpte170m, 0.299, 0.114},
                 {MatrixCoefficients::smpte240m, 0.212, 0.087},    {MatrixCoefficients::bt2020_ncl, 0.2627, 0.0593},
                 {MatrixCoefficients::unspecified, 0.2126, 0.0722}};
    for (const auto& c : cases)
        expect_reversed({.matrix = c.matrix}, 224, [&](const Rgb& rgb) { return differences(rgb, c.kr, c.kb); });
    expect_reversed({.matrix = MatrixCoefficients::ycgco}, 219, [](const Rgb& rgb) {
        return Signals{rgb.g / 2 + (rgb.r + rgb.b) / 4, rgb.g / 2 - (rgb.r + rgb.b) / 4, (rgb.r - rgb.b) / 2};
    });
    expect_reversed({.matrix = MatrixCoefficients::smpte2085}, 224, [](const Rgb& rgb) {
        return Signals{rgb.g, (0.986566 * rgb.b - rgb.g) / 2, (rgb.r - 0.991902 * rgb.g) / 2};
    });
}

// The luma of primaries is the middle row of their RGB to XYZ matrix, known to four digits from their standards.
TEST(YuvToRgb, the_weights_follow_from_the_primaries_where_that_is_said)
{
    const struct {
        Primaries primaries;
        double kr, kb;
    } cases[] = {{Primaries::bt709, 0.2126, 0.0722},      {Primaries::bt2020, 0.2627, 0.0593},
                 {Primaries::display_p3, 0.2290, 0.0793}, {Primaries::dci_p3, 0.2095, 0.0689},
                 {Primaries::bt470m, 0.2990, 0.1146},     {Primaries::smpte170m, 0.2124, 0.0866}};
    for (const auto& c : cases) {
        const auto how = yuv_to_rgb({.primaries = c.primaries, .matrix = MatrixCoefficients::chroma_ncl}, 8);
        ASSERT_TRUE(how);
        EXPECT_NEAR(1 - static_cast<double>(how->matrix[2]) / 2, c.kr, 2e-4) << to_string(c.primaries);
        EXPECT_NEAR(1 - static_cast<double>(how->matrix[7]) / 2, c.kb, 2e-4) << to_string(c.primaries);
    }
}

TEST(YuvToRgb, an_unspecified_matrix_is_the_usual_one_of_the_primaries)
{
    const auto same = [](const Colour& a, const Colour& b) { return yuv_to_rgb(a, 8)->matrix == yuv_to_rgb(b, 8)->matrix; };
    EXPECT_TRUE(same({.primaries = Primaries::bt2020}, {.matrix = MatrixCoefficients::bt2020_ncl}));
    EXPECT_TRUE(same({.primaries = Primaries::bt470bg}, {.matrix = MatrixCoefficients::bt470bg}));
    EXPECT_TRUE(same({.primaries = Primaries::display_p3}, {.matrix = MatrixCoefficients::bt709}));
}

TEST(YuvToRgb, there_is_none_where_the_transfer_function_comes_between)
{
    for (const auto matrix : {MatrixCoefficients::bt2020_cl, MatrixCoefficients::chroma_cl, MatrixCoefficients::ictcp,
                              MatrixCoefficients{3}, MatrixCoefficients{200}})
        EXPECT_FALSE(yuv_to_rgb({.primaries = Primaries::bt2020, .matrix = matrix}, 10)) << to_string(matrix);
    EXPECT_FALSE(yuv_to_rgb({.primaries = Primaries{99}, .matrix = MatrixCoefficients::chroma_ncl}, 8));
}

TEST(YuvToRgb, identity_means_green_blue_red)
{
    const Colour full = with(MatrixCoefficients::identity, ColourRange::full);
    expect_rgb(convert(full, 8, {51, 102, 204}), {0.8, 0.2, 0.4}, 1e-5);
    expect_rgb(convert(full, 10, {1023, 0, 1023}), {1, 1, 0}, 1e-4);
    expect_rgb(convert(with(MatrixCoefficients::identity, ColourRange::limited), 8, {235, 16, 235}), {1, 1, 0}, 1e-4);
}

} // namespace
} // namespace dmb
