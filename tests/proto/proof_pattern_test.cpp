// SPDX-License-Identifier: MIT
// The pattern must tell every mistake that importers make, in every format, and nothing else.
#include "proto/image/proof_pattern.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fmt/format.h>
#include <functional>

namespace dmb::test {
namespace {

using Bytes = std::vector<std::byte>;
constexpr Extent sizes[] = {{64, 64}, {66, 34}, {130, 66}};

void each(const std::function<void(const FormatInfo&, Extent)>& visit)
{
    for (const FormatInfo& format : all_formats())
        for (const Extent size : sizes) {
            SCOPED_TRACE(fmt::format("{} {}x{}", format.name, size.width, size.height));
            visit(format, size);
        }
}

/// Rearranges the rows of every plane.
Bytes with_rows(const FormatInfo& format, Extent size, const Bytes& from, const std::function<void(Bytes&, Extent)>& change)
{
    Bytes out;
    auto at = from.begin();
    for (std::size_t p = 0; p < format.plane_count; ++p) {
        const auto row = static_cast<std::uint32_t>(row_bytes(format, p, size.width));
        const std::uint32_t rows = plane_extent(format, p, size).height;
        Bytes plane(at, at + row * rows);
        at += row * rows;
        change(plane, {row, rows});
        out.insert(out.end(), plane.begin(), plane.end());
    }
    return out;
}

TEST(ProofPattern, contents_are_right_and_their_inverse_is_wrong)
{
    each([](const FormatInfo& format, Extent size) {
        const Bytes plain = proof_contents(format, size), inverse = proof_contents(format, size, ProofPattern::inverse);
        EXPECT_EQ(plain.size(), packed_bytes(format, size));
        EXPECT_TRUE(wrong_packed(format, size, plain).empty());
        EXPECT_TRUE(wrong_packed(format, size, inverse, ProofPattern::inverse).empty());
        EXPECT_FALSE(wrong_packed(format, size, inverse).empty());
        EXPECT_FALSE(wrong_packed(format, size, Bytes(plain.size())).empty());
        EXPECT_FALSE(wrong_packed(format, size, Bytes(plain.size(), std::byte{0xff})).empty());
        EXPECT_FALSE(wrong_packed(format, size, std::span(plain).first(plain.size() - 1)).empty());
    });
}

TEST(ProofPattern, flips_and_wrong_strides_show)
{
    each([](const FormatInfo& format, Extent size) {
        const Bytes plain = proof_contents(format, size);
        const Bytes upside_down = with_rows(format, size, plain, [](Bytes& plane, Extent rows) {
            for (std::uint32_t y = 0; y < rows.height / 2; ++y)
                std::swap_ranges(plane.begin() + y * rows.width, plane.begin() + (y + 1) * rows.width,
                                 plane.begin() + (rows.height - 1 - y) * rows.width);
        });
        EXPECT_FALSE(wrong_packed(format, size, upside_down).empty());
        const Bytes shifted = with_rows(format, size, plain, [](Bytes& plane, Extent rows) {
            for (std::uint32_t y = 0; y < rows.height; ++y)
                std::rotate(plane.begin() + y * rows.width, plane.begin() + y * rows.width + 16 * y % rows.width,
                            plane.begin() + (y + 1) * rows.width);
        });
        EXPECT_FALSE(wrong_packed(format, size, shifted).empty());
        const Bytes mirrored = with_rows(format, size, plain, [](Bytes& plane, Extent rows) {
            for (std::uint32_t y = 0; y < rows.height; ++y)
                std::reverse(plane.begin() + y * rows.width, plane.begin() + (y + 1) * rows.width);
        });
        EXPECT_FALSE(wrong_packed(format, size, mirrored).empty());
    });
}

/// Every pair of formats with blocks of equal bytes and equal channels in another order.
TEST(ProofPattern, exchanged_channels_show)
{
    std::size_t pairs = 0;
    for (const auto& [one, other] : {std::pair("XR24", "XB24"),
                                     {"AR24", "RA24"},
                                     {"RG24", "BG24"},
                                     {"RG16", "BG16"},
                                     {"XR30", "XB30"},
                                     {"AR48", "AB48"},
                                     {"AR4H", "AB4H"},
                                     {"GR88", "RG88"},
                                     {"NV12", "NV21"},
                                     {"YU12", "YV12"},
                                     {"YUYV", "UYVY"}}) {
        const FormatInfo *a = find_format(*parse_fourcc(one)), *b = find_format(*parse_fourcc(other));
        ASSERT_TRUE(a && b);
        EXPECT_FALSE(wrong_packed(*a, {64, 64}, proof_contents(*b, {64, 64})).empty()) << one;
        ++pairs;
    }
    EXPECT_EQ(pairs, 11u);
}

TEST(ProofPattern, padding_counts_for_nothing)
{
    for (const char* code : {"XR24", "RX24", "XR30", "XB48", "XR4H", "P010"}) {
        const FormatInfo& format = *find_format(*parse_fourcc(code));
        Bytes bytes = proof_contents(format, {16, 16});
        std::uint64_t used = 0;
        for (const ChannelBits& bits : channels_of(format, 0)) used |= ((std::uint64_t{1} << bits.count) - 1) << bits.first;
        const std::size_t unit = format.planes[0].bytes_per_block;
        const std::size_t luma = row_bytes(format, 0, 16) * 16;
        for (std::size_t i = 0; i < luma; ++i) bytes[i] |= static_cast<std::byte>(~used >> (8 * (i % unit)));
        EXPECT_NE(bytes, proof_contents(format, {16, 16})) << code;
        EXPECT_TRUE(wrong_packed(format, {16, 16}, bytes).empty()) << code;
    }
}

/// The layouts that drm_fourcc.h draws.
TEST(ProofPattern, channels_lie_where_the_fourcc_says)
{
    using List = BoundedVector<ChannelBits, 4>;
    const auto of = [](const char* code, std::size_t plane = 0) {
        return channels_of(*find_format(*parse_fourcc(code)), plane);
    };
    EXPECT_EQ(of("XR24"), (List{{Channel::blue, 0, 8, 0}, {Channel::green, 8, 8, 0}, {Channel::red, 16, 8, 0}}));
    EXPECT_EQ(of("RG16"), (List{{Channel::blue, 0, 5, 0}, {Channel::green, 5, 6, 0}, {Channel::red, 11, 5, 0}}));
    EXPECT_EQ(
        of("AB30"),
        (List{{Channel::red, 0, 10, 0}, {Channel::green, 10, 10, 0}, {Channel::blue, 20, 10, 0}, {Channel::alpha, 30, 2, 0}}));
    EXPECT_EQ(
        of("AB4H"),
        (List{{Channel::red, 0, 16, 0}, {Channel::green, 16, 16, 0}, {Channel::blue, 32, 16, 0}, {Channel::alpha, 48, 16, 0}}));
    EXPECT_EQ(of("GR32"), (List{{Channel::red, 0, 16, 0}, {Channel::green, 16, 16, 0}}));
    EXPECT_EQ(of("NV21", 1), (List{{Channel::cr, 0, 8, 0}, {Channel::cb, 8, 8, 0}}));
    EXPECT_EQ(of("P010"), (List{{Channel::luma, 6, 10, 0}}));
    EXPECT_EQ(of("YV12", 1), (List{{Channel::cr, 0, 8, 0}}));
}

TEST(ProofPattern, a_block_survives_decoding_and_encoding)
{
    for (const FormatInfo& format : all_formats()) {
        if (format.planes[0].block_width > 1) continue;
        const BlockCodec codec(format, 0);
        const std::size_t unit = format.planes[0].bytes_per_block;
        std::uint64_t used = 0;
        for (const ChannelBits& bits : channels_of(format, 0)) used |= ((std::uint64_t{1} << bits.count) - 1) << bits.first;
        if (format.sample == SampleType::sfloat) used &= 0xbfff'bfff'bfff'bfff; // neither infinite nor NaN
        for (unsigned seed = 0; seed < 64; ++seed) {
            Bytes in(unit), out(unit);
            for (std::size_t i = 0; i < unit; ++i) in[i] = static_cast<std::byte>((seed * 37 + i * 29) & (used >> (8 * i)));
            codec.encode(codec.decode(in), out);
            EXPECT_EQ(in, out) << format.name;
        }
    }
}

TEST(ProofPattern, samples_are_judged_per_channel)
{
    const FormatInfo& format = *find_format(fourcc("AR24"));
    const Bytes bytes = proof_contents(format, {32, 32});
    const BlockCodec codec(format, 0);
    std::size_t checked = 0;
    for (std::uint32_t y = 0; y < 32; ++y)
        for (std::uint32_t x = 0; x < 32; ++x) {
            Sampled seen = codec.decode(std::span(bytes).subspan((y * 32 + x) * 4, 4));
            EXPECT_TRUE(wrong_sample(format, x, y, seen).empty());
            for (float& channel : seen) {
                channel = 1 - channel;
                EXPECT_FALSE(wrong_sample(format, x, y, seen).empty());
                channel = 1 - channel;
            }
            ++checked;
        }
    EXPECT_EQ(checked, 1024u);
}

/// A driver's conversion passes under any matrix; exchanged chroma does not.
TEST(ProofPattern, converted_samples_pass_under_any_matrix)
{
    const FormatInfo& format = *find_format(fourcc("NV12"));
    for (const auto matrix : {MatrixCoefficients::smpte170m, MatrixCoefficients::bt709, MatrixCoefficients::bt2020_ncl}) {
        std::size_t swapped_shows = 0;
        for (const bool swap : {false, true})
            for (std::uint32_t y = 0; y < 64; ++y)
                for (std::uint32_t x = 0; x < 64; ++x) {
                    const auto bit = [&](Channel c) { return proof_bit(c, x, y, ProofPattern::plain) ? 1.0F : 0.0F; };
                    const float s[3] = {bit(Channel::luma), bit(swap ? Channel::cr : Channel::cb),
                                        bit(swap ? Channel::cb : Channel::cr)};
                    const YuvToRgb yuv = *yuv_to_rgb({.matrix = matrix, .range = ColourRange::limited}, 8);
                    Sampled seen{0, 0, 0, 1};
                    for (std::size_t i = 0; i < 9; ++i) seen[i / 3] += yuv.matrix[i] * (s[i % 3] - yuv.offset[i % 3]);
                    const bool wrong = !wrong_sample(format, x, y, seen).empty();
                    if (swap) swapped_shows += wrong;
                    else EXPECT_FALSE(wrong) << x << "," << y;
                }
        EXPECT_GT(swapped_shows, 10u);
    }
}

} // namespace
} // namespace dmb::test
