// SPDX-License-Identifier: MIT
// The JSON form of descriptions, both ways, and what happens to text that only looks like one.
#include "proto/wire/json.hpp"
#include "tests/proto/samples.hpp"

#include <gtest/gtest.h>

namespace dmb::wire {
namespace {

std::string replaced(std::string text, std::string_view from, std::string_view to)
{
    const std::size_t at = text.find(from);
    if (at == std::string::npos) throw std::invalid_argument(std::string(from));
    return text.replace(at, from.size(), to);
}

void expect_refused(const std::string& text)
{
    const Result<ImageDesc> result = image_desc_from_json(text);
    ASSERT_FALSE(result) << text.substr(0, 400);
    EXPECT_EQ(result.error().code, Errc::invalid_argument);
    EXPECT_TRUE(is_printable(result.error().reason.view())) << result.error().reason.view();
}

TEST(Json, a_description_comes_back_as_it_was)
{
    for (const ImageDesc& desc : {test::sample_desc(), test::sample_opaque_desc(), ImageDesc{.format = fourcc("R8  ")}}) {
        const Result<ImageDesc> back = image_desc_from_json(to_json(desc));
        ASSERT_TRUE(back) << back.error().reason.view();
        EXPECT_EQ(*back, desc);
    }
}

TEST(Json, text_without_blanks_is_the_same)
{
    std::string text = to_json(test::sample_desc());
    std::erase_if(text, [](char c) { return c == ' ' || c == '\n'; });
    const Result<ImageDesc> back = image_desc_from_json(text);
    ASSERT_TRUE(back) << back.error().reason.view();
    EXPECT_EQ(*back, test::sample_desc());
}

TEST(Json, the_largest_numbers_survive)
{
    ImageDesc desc = test::sample_desc();
    desc.modifier = {UINT64_MAX};
    desc.format = {UINT32_MAX};
    desc.planes[1] = {255, UINT32_MAX, UINT64_MAX};
    desc.memories[0].size = UINT64_MAX;
    EXPECT_EQ(image_desc_from_json(to_json(desc)).value(), desc);
}

TEST(Json, numbers_that_do_not_fit_are_refused_instead_of_cut)
{
    const std::string text = to_json(test::sample_desc());
    expect_refused(replaced(text, "\"memory\": 0", "\"memory\": 256"));
    expect_refused(replaced(text, "\"memory\": 0", "\"memory\": -1"));
    expect_refused(replaced(text, "\"stride\": 256", "\"stride\": 4294967296"));
    expect_refused(replaced(text, "\"width\": 6", "\"width\": 4294967302"));
    expect_refused(replaced(text, "\"width\": 6", "\"width\": 6.5"));
    for (const char* number :
         {"1e400", "6e0", "6E0", "6.0", "0.0e-9999", "-0", "1e-400", "NaN", "Infinity", "-Inf", "0x6", "06"})
        expect_refused(replaced(text, "\"width\": 6", "\"width\": " + std::string(number)));
    expect_refused(replaced(text, "\"offset\": 4096", "\"offset\": 18446744073709551616"));
    expect_refused(replaced(text, "\"offset\": 4096", "\"offset\": -4096"));
}

TEST(Json, unknown_words_and_missing_fields_are_refused)
{
    const std::string text = to_json(test::sample_desc());
    expect_refused(replaced(text, "\"memfd\"", "\"magic\""));
    expect_refused(replaced(text, "\"cpu_write,sample\"", "\"cpu_write,paint\""));
    expect_refused(replaced(text, "\"NV12\"", "\"NV12345\""));
    expect_refused(replaced(text, "\"LINEAR\"", "\"linear\""));
    expect_refused(replaced(text, "\"LINEAR\"", "0"));
    expect_refused(replaced(text, "\"memfd\"", "\"\\u001b[31m\""));
    expect_refused(replaced(text, "\"NV12\"", "\"\\u0000\\u202e 5\""));
    expect_refused(replaced(text, "\"stride\"", "\"pitch\""));
    expect_refused(replaced(text, "\"image\"", "\"picture\""));
}

TEST(Json, wrong_shapes_are_refused)
{
    const std::string text = to_json(test::sample_desc());
    for (const char* shape : {"", " ", "{", "}", "[]", "{}", "null", "0", "\"image\"", "{\"image\": null}", "{\"image\": []}",
                              "{\"image\": {}}", "{\"image\": \"x\"}", "nul", "{\"image\": {\"kind\": {}}}"})
        expect_refused(shape);
    expect_refused(replaced(text, "\"memfd\"", "7"));
    expect_refused(replaced(text, "\"memfd\"", "{}"));
    expect_refused(replaced(text, "\"width\": 6", "\"width\": \"6\""));
    expect_refused(replaced(text, "\"width\": 6", "\"width\": true"));
    expect_refused(replaced(text, "\"width\": 6", "\"width\": null"));
    expect_refused(replaced(text, "\"optimal_tiling\": false", "\"optimal_tiling\": 0"));
}

TEST(Json, lists_are_lists_of_at_most_four)
{
    const std::string text = to_json(test::sample_desc());
    const std::size_t open = text.find('[', text.find("\"planes\"")), close = text.find(']', open);
    for (const char* list : {"{}", "null", "5", "[5]", "[null]", "[[]]", "[{}]", "\"x\""})
        expect_refused(std::string(text).replace(open, close + 1 - open, list));
    const std::string plane = R"({"memory": 0, "stride": 256, "offset": 0})";
    expect_refused(std::string(text).replace(open, close + 1 - open,
                                             "[" + plane + "," + plane + "," + plane + "," + plane + "," + plane + "]"));
    EXPECT_TRUE(image_desc_from_json(std::string(text).replace(open, close + 1 - open, "[]")));
}

TEST(Json, text_cut_anywhere_is_refused)
{
    std::string text = to_json(test::sample_desc());
    while (!text.empty() && text.back() != '}') text.pop_back();
    for (std::size_t size = 0; size < text.size(); ++size) expect_refused(text.substr(0, size));
}

TEST(Json, text_after_the_description_is_refused)
{
    expect_refused(to_json(test::sample_desc()) + "x");
    expect_refused(to_json(test::sample_desc()) + to_json(test::sample_desc()));
    EXPECT_TRUE(image_desc_from_json(to_json(test::sample_desc()) + " \n"));
}

TEST(Json, deep_nesting_is_refused_however_it_is_written)
{
    const std::size_t depth = 30'000;
    expect_refused(std::string(depth, '['));
    expect_refused(std::string(depth, '[') + std::string(depth, ']'));
    expect_refused("{\"" + std::string(depth, '}') + "\":" + std::string(depth, '['));
    expect_refused("[\"" + std::string(depth, ']') + "\"," + std::string(depth, '['));
    expect_refused("[\"\\\"" + std::string(depth, ']') + "\"," + std::string(depth, '['));
    std::string nested;
    for (int i = 0; i < 10'000; ++i) nested += "{\"a\":";
    expect_refused(nested);
}

TEST(Json, more_text_than_a_packet_is_refused)
{
    expect_refused(to_json(test::sample_desc()) + std::string(limits::packet_bytes, ' '));
}

TEST(Json, what_a_client_called_itself_cannot_break_the_text)
{
    Snapshot snapshot = test::sample_snapshot();
    snapshot.clients[0].name = "a\"b\\c\x1b[31m</script>";
    const std::string text = to_json(snapshot);
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
    EXPECT_NE(text.find("a\\\"b\\\\c\\u001b"), std::string::npos) << text;
}

TEST(Json, no_snapshot_shows_a_token) { EXPECT_EQ(to_json(test::sample_snapshot()).find("0011"), std::string::npos); }

} // namespace
} // namespace dmb::wire
