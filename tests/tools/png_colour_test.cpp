// SPDX-License-Identifier: MIT
// Colour chunks against bytes written out from the PNG specification (third edition).
#include "tools/dmabrokerctl/png_colour.hpp"

#include <gtest/gtest.h>

namespace dmb::ctl {
namespace {

using Bytes = std::vector<std::uint8_t>;

const PngChunk cicp_pq{"cICP", {9, 16, 0, 1}};
const PngChunk srgb{"sRGB", {0}};
const PngChunk gamma22{"gAMA", {0x00, 0x00, 0xb1, 0x8f}};           // 45455
const PngChunk bt709{"cHRM", {0, 0, 0x7a, 0x26, 0, 0, 0x80, 0x84,   // white 31270 32900
                              0, 0, 0xfa, 0x00, 0, 0, 0x80, 0xe8,   // red 64000 33000
                              0, 0, 0x75, 0x30, 0, 0, 0xea, 0x60,   // green 30000 60000
                              0, 0, 0x3a, 0x98, 0, 0, 0x17, 0x70}}; // blue 15000 6000
const PngChunk profile{"iCCP", {'M', 'y', ' ', 'c', 'a', 'm', 0, 0, 1, 2, 3}};
/// A P3 display with D65 white, 0.005 to 1000 cd/m2.
const PngChunk mastering{"mDCV", {0x84, 0xd0, 0x3e, 0x80, 0x33, 0xc2, 0x86, 0xc4, 0x1d, 0x4c, 0x0b, 0xb8,
                                  0x3d, 0x13, 0x40, 0x42, 0x00, 0x98, 0x96, 0x80, 0x00, 0x00, 0x00, 0x32}};
const PngChunk light{"cLLI", {0x00, 0x98, 0x96, 0x80, 0x00, 0x3d, 0x09, 0x00}}; // 1000, 400 cd/m2

PngMeaning meaning(std::vector<PngChunk> chunks) { return meaning_of(chunks); }

void expect_meaning(std::vector<PngChunk> chunks, Primaries primaries, Transfer transfer, std::size_t notes = 0)
{
    const PngMeaning got = meaning(std::move(chunks));
    EXPECT_EQ(to_string(got.colour.primaries), to_string(primaries));
    EXPECT_EQ(to_string(got.colour.transfer), to_string(transfer));
    EXPECT_EQ(got.colour.matrix, MatrixCoefficients::identity);
    EXPECT_EQ(got.colour.range, ColourRange::full);
    EXPECT_EQ(got.notes.size(), notes) << (got.notes.empty() ? "" : got.notes[0]);
}

PngChunk named(PngChunk chunk, const char* name)
{
    chunk.name = name;
    return chunk;
}

TEST(PngColour, a_file_that_says_nothing_is_srgb) { expect_meaning({}, Primaries::bt709, Transfer::srgb); }

TEST(PngColour, cicp_ranks_before_iccp_before_srgb_before_gamma)
{
    expect_meaning({gamma22, bt709, srgb, profile, cicp_pq}, Primaries::bt2020, Transfer::pq);
    expect_meaning({gamma22, bt709, srgb, profile}, Primaries::unspecified, Transfer::unspecified, 1);
    expect_meaning({gamma22, bt709, srgb}, Primaries::bt709, Transfer::srgb);
    expect_meaning({gamma22, bt709}, Primaries::bt709, Transfer::gamma22);
}

TEST(PngColour, gamma_and_chromaticities_become_code_points)
{
    expect_meaning({{"gAMA", {0, 0, 0x8b, 0x82}}}, Primaries::bt709, Transfer::gamma28);
    expect_meaning({{"gAMA", {0, 1, 0x86, 0xa0}}}, Primaries::bt709, Transfer::linear);
    expect_meaning({bt709}, Primaries::bt709, Transfer::srgb);
    PngChunk rounded = bt709;
    rounded.data[3] = 0x30; // 31280
    expect_meaning({rounded}, Primaries::bt709, Transfer::srgb);
}

TEST(PngColour, what_h273_has_no_code_point_for_is_unspecified_and_noted)
{
    expect_meaning({{"gAMA", {0, 0, 0xd8, 0xf0}}}, Primaries::bt709, Transfer::unspecified, 1); // 1 / 1.8
    PngChunk adobe = bt709;
    adobe.data[17] = 0, adobe.data[18] = 0x52, adobe.data[19] = 0x08; // green x 21000
    expect_meaning({adobe}, Primaries::unspecified, Transfer::srgb, 1);
    expect_meaning({{"sRGB", {3}}}, Primaries::bt709, Transfer::srgb, 1);
}

TEST(PngColour, a_profile_is_known_by_its_name)
{
    EXPECT_EQ(meaning({profile}).profile, "My cam");
    EXPECT_EQ(meaning({{"iCCP", {0xe9, 'x', 7}}}).profile, "?x?") << "Latin-1 and what is no text";
    EXPECT_EQ(meaning({profile, cicp_pq}).profile, "") << "cICP says it all";
}

TEST(PngColour, mastering_and_light_are_carried)
{
    const PngMeaning got = meaning({cicp_pq, mastering, light});
    EXPECT_EQ(got.colour.mastering, (MasteringDisplay{*gamut_of(Primaries::display_p3), 10'000'000, 50}));
    EXPECT_EQ(got.colour.light, (ContentLight{1000, 400}));
    EXPECT_TRUE(got.notes.empty());
    EXPECT_EQ(meaning({cicp_pq, named(mastering, "mDCv"), named(light, "cLLi")}).colour, got.colour) << "the drafts' names";
}

TEST(PngColour, light_that_is_no_whole_number_is_rounded_and_noted)
{
    const PngMeaning got = meaning({{"cLLI", {0x00, 0x98, 0xbd, 0x90, 0xff, 0xff, 0xff, 0xff}}}); // 1001, 429496.7295
    EXPECT_EQ(got.colour.light, (ContentLight{1001, 65535}));
    EXPECT_EQ(got.notes.size(), 1u);
}

TEST(PngColour, chunks_that_are_broken_say_nothing_and_are_noted)
{
    for (const char* name : {"cICP", "sRGB", "gAMA", "cHRM", "mDCV", "cLLI"})
        for (const std::size_t size : {std::size_t{2}, std::size_t{40}})
            expect_meaning({{name, Bytes(size)}}, Primaries::bt709, Transfer::srgb, 1);
    expect_meaning({{"cICP", {9, 16, 9, 1}}}, Primaries::bt709, Transfer::srgb, 1);
    expect_meaning({{"cICP", {9, 16, 0, 2}}, gamma22}, Primaries::bt709, Transfer::gamma22, 1);
    EXPECT_EQ(meaning({{"iCCP", {}}}).profile, "");
}

TEST(PngColour, limited_range_is_told_apart)
{
    EXPECT_TRUE(meaning({{"cICP", {9, 16, 0, 0}}}).limited_range);
    EXPECT_FALSE(meaning({cicp_pq}).limited_range);
}

void expect_chunks(const Colour& colour, const std::vector<PngChunk>& wanted)
{
    const std::vector<PngChunk> got = chunks_of(colour);
    ASSERT_EQ(got.size(), wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i].name, wanted[i].name);
        EXPECT_EQ(got[i].data, wanted[i].data) << got[i].name;
    }
}

TEST(PngColour, srgb_is_written_with_what_old_readers_know) { expect_chunks(meaning({srgb}).colour, {srgb, gamma22, bt709}); }

TEST(PngColour, everything_else_is_written_as_code_points)
{
    expect_chunks(meaning({cicp_pq}).colour, {cicp_pq});
    expect_chunks(meaning({cicp_pq, mastering, light}).colour, {cicp_pq, mastering, light});
    expect_chunks({Primaries{200}, Transfer{201}}, {{"cICP", {200, 201, 0, 1}}});
    expect_chunks(meaning({gamma22, bt709}).colour, {{"cICP", {1, 4, 0, 1}}, gamma22, bt709});
    expect_chunks(meaning({srgb, light}).colour, {{"cICP", {1, 13, 0, 1}}, srgb, light, gamma22, bt709});
    expect_chunks({}, {{"cICP", {2, 2, 0, 1}}});
}

TEST(PngColour, whatever_is_written_means_the_same_when_read)
{
    for (unsigned primaries = 0; primaries < 256; ++primaries)
        for (const unsigned transfer : {0u, 1u, 2u, 4u, 5u, 8u, 13u, 16u, 18u, 255u}) {
            Colour colour{Primaries{static_cast<std::uint8_t>(primaries)}, Transfer{static_cast<std::uint8_t>(transfer)},
                          MatrixCoefficients::identity};
            colour.light.max_cll = static_cast<std::uint16_t>(primaries);
            EXPECT_EQ(meaning(chunks_of(colour)).colour, colour) << primaries << " " << transfer;
        }
}

} // namespace
} // namespace dmb::ctl
