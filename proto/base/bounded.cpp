// SPDX-License-Identifier: MIT
// The check for text that comes from a peer and will be shown to a person, and the cut that never splits a character;
// the containers themselves are templates in the header. UTF-8 is decoded strictly: overlong forms, surrogates and what
// lies beyond U+10FFFF are malformed. Harmful is what moves a cursor or turns the direction of writing.
#include "proto/base/bounded.hpp"

namespace dmb {
namespace {

/// Length of the UTF-8 sequence that starts here, or 0 if it is malformed; its value in `out`.
std::size_t decode_one(std::string_view text, std::uint32_t& out)
{
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) {
        out = first;
        return 1;
    }
    const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
    out = first & (0x7fu >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return 0;
        out = (out << 6) | (byte(i) & 0x3fu);
    }
    constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = out >= 0xd800 && out <= 0xdfff;
    return out < smallest[length] || surrogate || out > 0x10ffff ? 0 : length;
}

bool is_harmful(std::uint32_t c)
{
    const bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
    const bool direction =
        c == 0x061c || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
    return control || direction || c == 0xfeff;
}

} // namespace

std::size_t whole_characters(std::string_view text)
{
    for (std::size_t back = 1; back <= 4 && back <= text.size(); ++back) {
        const auto byte = static_cast<unsigned char>(text[text.size() - back]);
        if ((byte & 0xc0) == 0x80) continue;
        const std::size_t length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
        return length > back ? text.size() - back : text.size();
    }
    return text.size();
}

bool is_printable(std::string_view text)
{
    while (!text.empty()) {
        std::uint32_t c = 0;
        const std::size_t length = decode_one(text, c);
        if (length == 0 || is_harmful(c)) return false;
        text.remove_prefix(length);
    }
    return true;
}

} // namespace dmb
