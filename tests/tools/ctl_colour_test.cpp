// SPDX-License-Identifier: MIT
// What colours mean, from files through images into files: chunks are compared byte for byte, whatever libpng thinks of
// them; and from one process to another.
#include "tests/tools/ctl_fixture.hpp"

namespace dmb::test {
namespace {

using namespace std::string_literals;

const RawChunk srgb{"sRGB", "\0"s};
const RawChunk gamma22{"gAMA", "\0\0\xb1\x8f"s};
const RawChunk bt709{"cHRM", "\0\0\x7a\x26\0\0\x80\x84\0\0\xfa\0\0\0\x80\xe8\0\0\x75\x30\0\0\xea\x60\0\0\x3a\x98\0\0\x17\x70"s};
const RawChunk pq{"cICP", "\x09\x10\0\x01"s};
const RawChunk hlg{"cICP", "\x09\x12\0\x01"s};
const RawChunk mastering{"mDCV", "\x84\xd0\x3e\x80\x33\xc2\x86\xc4\x1d\x4c\x0b\xb8\x3d\x13\x40\x42\0\x98\x96\x80\0\0\0\x32"s};
const RawChunk light{"cLLI", "\0\x98\x96\x80\0\x3d\x09\0"s};
constexpr const char* mastering_words = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)";

class CtlColour : public CtlTest {
protected:
    std::string plain_png() const
    {
        write_png(path("plain.png"), random_png(7, 5, PNG_COLOR_TYPE_RGB, 16, 1));
        return contents(path("plain.png"));
    }
    ToolResult put_with(const std::vector<RawChunk>& chunks, std::vector<std::string> more = {}) const
    {
        more.insert(more.begin(), {"put", "-"});
        return ctl(more, with_chunks(plain_png(), chunks));
    }
    /// What `get` writes, without header, pixels and end.
    std::vector<RawChunk> colour_chunks(const std::string& token) const
    {
        const ToolResult result = ctl({"get", token, path("out.png")});
        EXPECT_EQ(result.status, 0) << result.err;
        std::vector<RawChunk> out = chunks_in(contents(path("out.png")));
        std::erase_if(out, [](const RawChunk& c) { return c.name == "IHDR" || c.name == "IDAT" || c.name == "IEND"; });
        return out;
    }
    /// Of an image, as another process sees it.
    Json colour(const std::string& token) const { return json({"show", token}).at("image").at("desc").at("colour"); }
    std::string alloc(std::vector<std::string> words) const
    {
        words.insert(words.begin(), {"alloc", "--size", "8x8"});
        const ToolResult result = ctl(words);
        EXPECT_EQ(result.status, 0) << result.err;
        return result.last_word();
    }
};

TEST_F(CtlColour, a_file_that_says_srgb_or_nothing_comes_back_as_srgb)
{
    for (const auto& chunks : {std::vector<RawChunk>{}, {srgb}, {srgb, gamma22, bt709}}) {
        const ToolResult put = put_with(chunks);
        EXPECT_EQ(put.err, "");
        EXPECT_EQ(colour_chunks(put.last_word()), (std::vector{srgb, gamma22, bt709}));
    }
}

TEST_F(CtlColour, code_points_come_back_as_they_were)
{
    for (const RawChunk& cicp : {pq, hlg, RawChunk{"cICP", "\x0c\x0d\0\x01"s}, RawChunk{"cICP", "\xc8\xc9\0\x01"s}}) {
        const ToolResult put = put_with({cicp});
        EXPECT_EQ(put.err, "");
        EXPECT_EQ(colour_chunks(put.last_word()).at(0), cicp);
    }
}

TEST_F(CtlColour, gamma_and_chromaticities_of_libpng_come_back)
{
    write_png(path("in.png"), random_png(7, 5, PNG_COLOR_TYPE_RGB, 8, 1), [](png_structp png, png_infop info) {
        png_set_gAMA_fixed(png, info, 45455);
        png_set_cHRM_fixed(png, info, 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000);
    });
    const ToolResult put = ctl({"put", path("in.png")});
    EXPECT_EQ(colour(put.last_word()).at("transfer"), "gamma22");
    EXPECT_EQ(colour_chunks(put.last_word()), (std::vector{RawChunk{"cICP", "\x01\x04\0\x01"s}, gamma22, bt709}));
}

TEST_F(CtlColour, srgb_of_libpng_is_srgb)
{
    write_png(path("in.png"), random_png(7, 5, PNG_COLOR_TYPE_PALETTE, 4, 1),
              [](png_structp png, png_infop info) { png_set_sRGB_gAMA_and_cHRM(png, info, PNG_sRGB_INTENT_PERCEPTUAL); });
    EXPECT_EQ(colour_chunks(ctl({"put", path("in.png")}).last_word()), (std::vector{srgb, gamma22, bt709}));
}

TEST_F(CtlColour, an_icc_profile_leaves_its_name_and_a_note)
{
    const RawChunk profile{"iCCP", "My camera\0\0compressed"s};
    const ToolResult put = put_with({profile, srgb});
    EXPECT_NE(put.err.find("note: its ICC profile \"My camera\" is not carried"), std::string::npos) << put.err;
    const Json image = json({"show", put.last_word()}).at("image");
    EXPECT_EQ(image.at("label"), "ICC My camera");
    EXPECT_EQ(image.at("desc").at("colour").at("primaries"), "unspecified");
    EXPECT_EQ(colour_chunks(put.last_word()), (std::vector{RawChunk{"cICP", "\x02\x02\0\x01"s}}));
    const ToolResult named = put_with({profile}, {"--label", "mine", "--primaries", "display_p3", "--transfer", "srgb"});
    EXPECT_EQ(json({"show", named.last_word()}).at("image").at("label"), "mine");
    EXPECT_EQ(colour_chunks(named.last_word()).at(0), (RawChunk{"cICP", "\x0c\x0d\0\x01"s}));
}

TEST_F(CtlColour, hdr10_travels_from_a_file_to_another_process_and_into_a_file)
{
    const ToolResult put = put_with({pq, mastering, light}, {"--format", "XR30"});
    EXPECT_EQ(put.err, "");
    const std::string shown = ctl({"show", put.last_word()}).out;
    EXPECT_NE(shown.find("colour      primaries bt2020, transfer pq\n"), std::string::npos) << shown;
    EXPECT_NE(shown.find("mastered    0.005 to 1000 cd/m2, red 0.6800 0.3200, green 0.2650 0.6900"), std::string::npos)
        << shown;
    EXPECT_NE(shown.find("light       MaxCLL 1000, MaxFALL 400 cd/m2"), std::string::npos) << shown;
    EXPECT_EQ(colour_chunks(put.last_word()), (std::vector{pq, mastering, light}));
}

TEST_F(CtlColour, hdr10_can_be_allocated_and_is_seen_by_everybody)
{
    const std::string token = alloc({"--format", "XR30", "--primaries", "bt2020", "--transfer", "pq", "--mastering",
                                     mastering_words, "--content-light", "1000,400"});
    const Json seen = colour(token);
    EXPECT_EQ(seen.at("primaries"), "bt2020");
    EXPECT_EQ(seen.at("transfer"), "pq");
    EXPECT_EQ(seen.at("matrix"), "identity");
    EXPECT_EQ(seen.at("range"), "full");
    EXPECT_EQ(seen.at("mastering").at("gamut").at("red"), (Json{{"x", 34000}, {"y", 16000}}));
    EXPECT_EQ(seen.at("light"), (Json{{"max_cll", 1000}, {"max_fall", 400}}));
    EXPECT_EQ(json({"list"}).at("snapshot").at("images").at(0).at("desc").at("colour"), seen);
    EXPECT_EQ(colour_chunks(token), (std::vector{pq, mastering, light}));
}

TEST_F(CtlColour, what_is_not_said_is_the_default_of_the_format)
{
    const auto expect = [&](std::vector<std::string> words, const char* primaries, const char* transfer, const char* matrix,
                            const char* range) {
        const Json seen = colour(alloc(std::move(words)));
        EXPECT_EQ(seen.at("primaries"), primaries);
        EXPECT_EQ(seen.at("transfer"), transfer);
        EXPECT_EQ(seen.at("matrix"), matrix);
        EXPECT_EQ(seen.at("range"), range);
    };
    expect({"--format", "XR24"}, "bt709", "srgb", "identity", "full");
    expect({"--format", "NV12"}, "bt709", "bt709", "bt709", "limited");
    expect({"--format", "P010", "--primaries", "9", "--transfer", "16"}, "bt2020", "pq", "bt2020_ncl", "limited");
    expect({"--format", "NV12", "--primaries", "smpte170m", "--range", "full"}, "smpte170m", "bt709", "smpte170m", "full");
    expect({"--format", "YU24", "--matrix", "identity", "--range", "full"}, "bt709", "bt709", "identity", "full");
    expect({"--format", "XR24", "--primaries", "200", "--matrix", "0"}, "200", "srgb", "identity", "full");
}

TEST_F(CtlColour, what_no_image_can_have_is_refused_with_a_sentence)
{
    const auto refused = [&](std::vector<std::string> words, const char* code, const char* sentence) {
        words.insert(words.begin(), {"alloc", "--size", "8x8"});
        const Json error = json(words).at("error");
        EXPECT_EQ(error.at("code"), code);
        EXPECT_NE(error.at("text").get<std::string>().find(sentence), std::string::npos) << error;
    };
    refused({"--format", "XR24", "--range", "limited"}, "invalid_argument", "RGB, which is full range everywhere");
    refused({"--format", "XR24", "--matrix", "bt709"}, "invalid_argument", "has the matrix identity");
    refused({"--format", "NV12", "--matrix", "identity"}, "invalid_argument", "has fewer chroma samples");
    refused({"--format", "NV12", "--siting", "6"}, "unsupported", "siting 6");
    EXPECT_EQ(ctl({"alloc", "--buffer", "64", "--transfer", "pq"}).status, 1) << "a buffer has no colour";
    for (const auto& words : {std::vector<std::string>{"--primaries", "rec2020"},
                              {"--transfer", "256"},
                              {"--range", "studio"},
                              {"--mastering", "P3"},
                              {"--mastering", "G(60000,0)B(0,0)R(0,0)WP(0,0)L(2,1)"},
                              {"--content-light", "1000"},
                              {"--content-light", "0,0"},
                              {"--content-light", "70000,1"}}) {
        std::vector<std::string> all{"alloc", "--size", "8x8", "--format", "XR24"};
        all.insert(all.end(), words.begin(), words.end());
        EXPECT_EQ(ctl(all).status, 2) << words[0] << " " << words[1];
    }
    EXPECT_EQ(images(), 0u);
}

TEST_F(CtlColour, a_file_of_limited_range_is_not_taken_for_full)
{
    const RawChunk limited{"cICP", "\x09\x10\0\0"s};
    const ToolResult refused = put_with({limited});
    EXPECT_EQ(refused.status, 1);
    EXPECT_NE(refused.err.find("say --range full"), std::string::npos) << refused.err;
    EXPECT_EQ(images(), 0u);
    EXPECT_EQ(colour_chunks(put_with({limited}, {"--range", "full"}).last_word()), (std::vector{pq}));
}

TEST_F(CtlColour, yuv_is_written_with_its_own_primaries_and_transfer)
{
    const std::string plain = alloc({"--format", "NV12"});
    EXPECT_EQ(colour_chunks(plain), (std::vector{RawChunk{"cICP", "\x01\x01\0\x01"s}}));
    const std::string broadcast = alloc({"--format", "P010", "--primaries", "bt2020", "--transfer", "hlg"});
    EXPECT_EQ(colour_chunks(broadcast), (std::vector{hlg}));
    EXPECT_EQ(get(broadcast).bits, 16);
    const ToolResult none = ctl({"get", alloc({"--format", "P010", "--matrix", "ictcp"}), path("none.png")});
    EXPECT_EQ(none.status, 1);
    EXPECT_NE(none.err.find("ictcp"), std::string::npos) << none.err;
}

} // namespace
} // namespace dmb::test
