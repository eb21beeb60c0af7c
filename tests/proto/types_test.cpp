// SPDX-License-Identifier: MIT
// The words for small values, both ways: scripts rely on the spellings, parsers meet anything.
#include "proto/image/types.hpp"

#include <gtest/gtest.h>

namespace dmb {
namespace {

TEST(FourCC, is_written_as_its_letters_or_as_a_number)
{
    EXPECT_EQ(to_string(fourcc("XR24")), "XR24");
    EXPECT_EQ(to_string(fourcc("R8  ")), "R8");
    EXPECT_EQ(to_string(FourCC{1}), "0x00000001");
}

TEST(FourCC, reads_what_it_writes)
{
    for (const FourCC code : {fourcc("XR24"), fourcc("R8  "), FourCC{0}, FourCC{0xffffffff}, fourcc("0x1 ")})
        EXPECT_EQ(parse_fourcc(to_string(code)), code) << to_string(code);
}

TEST(FourCC, refuses_words_that_are_no_code)
{
    for (const char* word : {"", "XR240", "0x", "0x1g", "0x123456789"}) EXPECT_EQ(parse_fourcc(word), std::nullopt) << word;
}

TEST(Modifier, invalid_is_never_read_as_linear)
{
    EXPECT_EQ(to_string(modifier_linear), "LINEAR");
    EXPECT_EQ(to_string(modifier_invalid), "INVALID");
    EXPECT_EQ(parse_modifier("0x0100000000000002"), Modifier{0x0100000000000002});
    EXPECT_EQ(parse_modifier("0x00ffffffffffffff"), modifier_invalid);
    for (const char* word : {"", "linear", "12", "0x", "0x11111111111111111"})
        EXPECT_EQ(parse_modifier(word), std::nullopt) << word;
}

TEST(Flags, are_read_as_lists_of_words)
{
    EXPECT_EQ(to_string(UsageFlag::sample | UsageFlag::render), "sample,render");
    EXPECT_EQ(to_string(Usage()), "none");
    EXPECT_EQ(parse_usage("render,sample"), UsageFlag::sample | UsageFlag::render);
    EXPECT_EQ(parse_usage("none"), Usage());
    EXPECT_EQ(parse_usage("sample,"), std::nullopt);
    EXPECT_EQ(parse_usage(",sample"), std::nullopt);
    EXPECT_EQ(parse_usage("draw"), std::nullopt);
    EXPECT_EQ(parse_usage(to_string(Usage::all())), Usage::all());
    EXPECT_EQ(parse_rights(to_string(Rights::all())), Rights::all());
}

TEST(Flags, know_parts_from_unions)
{
    const Rights read_write = Right::read | Right::write;
    EXPECT_TRUE(read_write.has(Right::read));
    EXPECT_FALSE(Rights(Right::read).has(read_write));
    EXPECT_TRUE(Rights(Right::read).has_any(read_write));
    EXPECT_FALSE(Rights::from_bits(8).is_known());
}

TEST(Token, is_thirty_two_digits)
{
    const Token token{{0x00, 0x01, 0x7f, 0x80, 0xff, 0xab, 0xcd, 0xef, 1, 2, 3, 4, 5, 6, 7, 8}};
    EXPECT_EQ(to_string(token), "00017f80ffabcdef0102030405060708");
    EXPECT_EQ(parse_token(to_string(token)), token);
    EXPECT_EQ(parse_token("00017F80FFABCDEF0102030405060708"), token);
    for (const char* word :
         {"", "0", "00017f80ffabcdef010203040506070", "00017f80ffabcdef01020304050607080", "+0017f80ffabcdef0102030405060708",
          "0x017f80ffabcdef0102030405060708", "00017f80ffabcdef010203040506070 "})
        EXPECT_EQ(parse_token(word), std::nullopt) << word;
}

TEST(Backend, reads_its_own_words)
{
    for (int i = 1; is_valid(static_cast<Backend>(i)); ++i)
        EXPECT_EQ(parse_backend(name(static_cast<Backend>(i))), static_cast<Backend>(i));
    EXPECT_EQ(parse_backend("cuda"), std::nullopt);
    BackendSet set;
    set.add(Backend::client);
    set.add(Backend::memfd);
    EXPECT_TRUE(set.has(Backend::client));
    EXPECT_FALSE(set.has(Backend::gbm));
    EXPECT_EQ(set.bits & ~BackendSet::known, 0u);
}

} // namespace
} // namespace dmb
