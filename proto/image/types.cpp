// SPDX-License-Identifier: MIT
// Words for the small values of types.hpp, both ways; pure functions over constant tables. Scripts and golden files
// rely on these spellings. Words of enums stand in the order of the enum, which starts at 1 and has no gaps; a value of
// a newer peer is "unknown". Reading 32 characters as a token takes the same time whatever they are.
#include "proto/image/types.hpp"

#include <algorithm>
#include <charconv>
#include <fmt/core.h>
#include <span>

namespace dmb {
namespace {

struct FlagWord {
    std::uint32_t bit;
    std::string_view word;
};

constexpr std::array usage_words{
    FlagWord{1, "cpu_read"}, FlagWord{2, "cpu_write"}, FlagWord{4, "sample"},  FlagWord{8, "render"},
    FlagWord{16, "storage"}, FlagWord{32, "scanout"},  FlagWord{64, "encode"},
};
constexpr std::array right_words{FlagWord{1, "read"}, FlagWord{2, "write"}, FlagWord{4, "manage"}};

std::string flags_to_string(std::uint32_t bits, std::span<const FlagWord> words)
{
    std::string out;
    for (const FlagWord& flag : words)
        if (bits & flag.bit) out.append(out.empty() ? "" : ",").append(flag.word);
    return out.empty() ? "none" : out;
}

std::optional<std::uint32_t> parse_flags(std::string_view text, std::span<const FlagWord> words)
{
    if (text.empty() || text == "none") return 0;
    std::uint32_t bits = 0;
    for (;;) {
        const std::size_t comma = text.find(',');
        const auto found = std::ranges::find(words, text.substr(0, comma), &FlagWord::word);
        if (found == words.end()) return std::nullopt;
        bits |= found->bit;
        if (comma == std::string_view::npos) return bits;
        text.remove_prefix(comma + 1);
    }
}

bool is_number(std::string_view text) { return text.starts_with("0x") || text.starts_with("0X"); }

template <class T> std::optional<T> parse_hexadecimal(std::string_view text)
{
    if (!is_number(text)) return std::nullopt;
    text.remove_prefix(2);
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::string bytes_to_string(const std::array<std::uint8_t, 16>& bytes)
{
    constexpr char digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(32);
    for (const std::uint8_t byte : bytes) {
        out.push_back(digits[byte >> 4]);
        out.push_back(digits[byte & 15]);
    }
    return out;
}

/// The value of each hexadecimal digit, 0x10 for every other character. A table, because tokens are read on
/// the way of every open.
constexpr std::array<std::uint8_t, 256> digit_values = [] {
    std::array<std::uint8_t, 256> values{};
    values.fill(0x10);
    for (unsigned i = 0; i < 10; ++i) values['0' + i] = static_cast<std::uint8_t>(i);
    for (unsigned i = 0; i < 6; ++i) values['a' + i] = values['A' + i] = static_cast<std::uint8_t>(10 + i);
    return values;
}();
unsigned digit_value(char c) { return digit_values[static_cast<unsigned char>(c)]; }

std::optional<std::array<std::uint8_t, 16>> parse_bytes(std::string_view text)
{
    if (text.size() != 32) return std::nullopt;
    std::array<std::uint8_t, 16> bytes;
    unsigned seen = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const unsigned high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);
        seen |= high | low;
        bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    if (seen > 15) return std::nullopt;
    return bytes;
}

constexpr std::array memory_words{"dma_buf", "opaque", "memfd"};
constexpr std::array backend_words{"memfd", "udmabuf", "dma_heap", "gbm", "vulkan", "vulkan_opaque", "client"};
constexpr std::array rung_words{"copy", "blit", "system_dma_buf", "linear", "tiled"};
constexpr std::array protection_words{"none", "read_only_descriptor"};

/// Enums of this file start at 1 and have no gaps; a newer peer's may go on.
template <class E, std::size_t N> std::string_view word_of(E value, const std::array<const char*, N>& words)
{
    return is_valid(value) ? words[static_cast<std::size_t>(value) - 1] : "unknown";
}

} // namespace

std::string to_string(FourCC code)
{
    std::string word;
    for (unsigned shift = 0; shift < 32; shift += 8) word.push_back(static_cast<char>((code.value >> shift) & 0xff));
    const bool printable = std::ranges::all_of(word, [](char c) { return c >= ' ' && c <= '~'; });
    while (!word.empty() && word.back() == ' ') word.pop_back();
    if (!printable || word.empty() || is_number(word)) return fmt::format("0x{:08x}", code.value);
    return word;
}

std::optional<FourCC> parse_fourcc(std::string_view text)
{
    if (is_number(text)) {
        const auto number = parse_hexadecimal<std::uint32_t>(text);
        return number ? std::optional(FourCC{*number}) : std::nullopt;
    }
    if (text.empty() || text.size() > 4) return std::nullopt;
    char word[5] = "    ";
    std::ranges::copy(text, word);
    return fourcc(word);
}

std::string to_string(Modifier modifier)
{
    if (modifier == modifier_linear) return "LINEAR";
    if (modifier == modifier_invalid) return "INVALID";
    return fmt::format("0x{:016x}", modifier.value);
}

std::optional<Modifier> parse_modifier(std::string_view text)
{
    if (text == "LINEAR") return modifier_linear;
    if (text == "INVALID") return modifier_invalid;
    if (const auto number = parse_hexadecimal<std::uint64_t>(text)) return Modifier{*number};
    return std::nullopt;
}

std::string_view name(MemoryKind k) { return word_of(k, memory_words); }
std::string_view name(Backend b) { return word_of(b, backend_words); }
std::string_view name(Rung r) { return word_of(r, rung_words); }
std::string_view name(Protection p) { return word_of(p, protection_words); }

std::optional<Rung> parse_rung(std::string_view text)
{
    const auto found = std::ranges::find(rung_words, text);
    if (found == rung_words.end()) return std::nullopt;
    return static_cast<Rung>(found - rung_words.begin() + 1);
}

std::optional<Backend> parse_backend(std::string_view text)
{
    const auto found = std::ranges::find(backend_words, text);
    if (found == backend_words.end()) return std::nullopt;
    return static_cast<Backend>(found - backend_words.begin() + 1);
}

std::string to_string(Usage usage) { return flags_to_string(usage.bits, usage_words); }
std::optional<Usage> parse_usage(std::string_view text)
{
    const auto bits = parse_flags(text, usage_words);
    return bits ? std::optional(Usage::from_bits(*bits)) : std::nullopt;
}

std::string to_string(Rights rights) { return flags_to_string(rights.bits, right_words); }
std::optional<Rights> parse_rights(std::string_view text)
{
    const auto bits = parse_flags(text, right_words);
    return bits ? std::optional(Rights::from_bits(*bits)) : std::nullopt;
}

std::string to_string(const Token& token) { return bytes_to_string(token.bytes); }
std::optional<Token> parse_token(std::string_view text)
{
    const auto bytes = parse_bytes(text);
    return bytes ? std::optional(Token{*bytes}) : std::nullopt;
}

std::string to_string(const Uuid& uuid) { return bytes_to_string(uuid); }
std::optional<Uuid> parse_uuid(std::string_view text) { return parse_bytes(text); }

} // namespace dmb
