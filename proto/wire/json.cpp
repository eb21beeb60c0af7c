// SPDX-License-Identifier: MIT
// The fields of fields.hpp through cereal's JSON archives, with one spelling per value type below. Reading is for
// strangers' files: it accepts only whole numbers and few levels, because the parser behind it recurses and has
// undefined behaviour at fractions, and every failure is a Result. What comes out is as untrusted as a packet.
#include "proto/wire/json.hpp"

#include "proto/wire/fields.hpp"

#include <algorithm>
#include <cereal/archives/json.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>
#include <sstream>

namespace dmb {
namespace {

template <class A>
concept Text = cereal::traits::is_text_archive<A>::value;

[[noreturn]] void refuse(const std::string& word)
{
    throw cereal::Exception(is_printable(word) ? "\"" + word + "\" is not known here" : "a word with control characters");
}

template <class T> T require(std::optional<T> value, const std::string& word)
{
    if (!value) refuse(word);
    return *value;
}

/// Enums of the protocol start at 1 without gaps: the word is looked up by naming each value.
template <class E> E parse_enum(const std::string& word)
{
    for (int i = 1; is_valid(static_cast<E>(i)); ++i)
        if (name(static_cast<E>(i)) == word) return static_cast<E>(i);
    refuse(word);
}

} // namespace

template <Text A> std::string save_minimal(const A&, const FourCC& v) { return to_string(v); }
template <Text A> void load_minimal(const A&, FourCC& v, const std::string& word) { v = require(parse_fourcc(word), word); }
template <Text A> std::string save_minimal(const A&, const Modifier& v) { return to_string(v); }
template <Text A> void load_minimal(const A&, Modifier& v, const std::string& word) { v = require(parse_modifier(word), word); }
template <Text A> std::string save_minimal(const A&, const Usage& v) { return to_string(v); }
template <Text A> void load_minimal(const A&, Usage& v, const std::string& word) { v = require(parse_usage(word), word); }
template <Text A> std::string save_minimal(const A&, const Rights& v) { return to_string(v); }
template <Text A> void load_minimal(const A&, Rights& v, const std::string& word) { v = require(parse_rights(word), word); }
template <Text A, class Tag, class T> T save_minimal(const A&, const Strong<Tag, T>& v) { return v.value; }
template <Text A, class Tag, class T> void load_minimal(const A&, Strong<Tag, T>& v, const T& number) { v.value = number; }
template <Text A, std::size_t N> std::string save_minimal(const A&, const BoundedText<N>& v) { return std::string(v.view()); }
template <Text A, std::size_t N> void load_minimal(const A&, BoundedText<N>& v, const std::string& text) { v.assign(text); }

#define WORDS(E)                                                                                                               \
    template <Text A> std::string save_minimal(const A&, const E& v) { return std::string(name(v)); }                          \
    template <Text A> void load_minimal(const A&, E& v, const std::string& word) { v = parse_enum<E>(word); }
WORDS(MemoryKind)
WORDS(Backend)
WORDS(Rung)
WORDS(Verdict)
WORDS(Api)
WORDS(Demand)
WORDS(ProofResult)
#undef WORDS

#define CODE_POINTS(E)                                                                                                         \
    template <Text A> std::string save_minimal(const A&, const E& v) { return to_string(v); }                                  \
    template <Text A> void load_minimal(const A&, E& v, const std::string& word)                                               \
    {                                                                                                                          \
        v = require(parse_code_point<E>(word), word);                                                                          \
    }
CODE_POINTS(Primaries)
CODE_POINTS(Transfer)
CODE_POINTS(MatrixCoefficients)
CODE_POINTS(ColourRange)
CODE_POINTS(ChromaSiting)
CODE_POINTS(AlphaMode)
#undef CODE_POINTS

template <Text A, class T, std::size_t N> void CEREAL_SAVE_FUNCTION_NAME(A& a, const BoundedVector<T, N>& v)
{
    a(cereal::make_size_tag(static_cast<cereal::size_type>(v.size())));
    for (const T& element : v) a(element);
}
template <Text A, class T, std::size_t N> void CEREAL_LOAD_FUNCTION_NAME(A& a, BoundedVector<T, N>& v)
{
    cereal::size_type count = 0;
    a(cereal::make_size_tag(count));
    if (count > N) throw cereal::Exception("more elements than the limit");
    v.resize(count);
    for (T& element : v) a(element);
}

} // namespace dmb

namespace cereal {
/// cereal reads a small number as a large one and cuts it.
inline void CEREAL_LOAD_FUNCTION_NAME(JSONInputArchive& a, std::uint8_t& v)
{
    std::uint32_t number = 0;
    a.loadValue(number);
    if (number > UINT8_MAX) throw Exception(std::to_string(number) + " is larger than 255");
    v = static_cast<std::uint8_t>(number);
}
inline void CEREAL_LOAD_FUNCTION_NAME(JSONInputArchive& a, std::uint16_t& v)
{
    std::uint32_t number = 0;
    a.loadValue(number);
    if (number > UINT16_MAX) throw Exception(std::to_string(number) + " is larger than 65535");
    v = static_cast<std::uint16_t>(number);
}

// Uuid is a std::array: cereal finds these in its own namespace.
template <class A, traits::EnableIf<traits::is_text_archive<A>::value> = traits::sfinae>
std::string CEREAL_SAVE_MINIMAL_FUNCTION_NAME(const A&, const dmb::Uuid& v)
{
    return dmb::to_string(v);
}
template <class A, traits::EnableIf<traits::is_text_archive<A>::value> = traits::sfinae>
void CEREAL_LOAD_MINIMAL_FUNCTION_NAME(const A&, dmb::Uuid& v, const std::string& word)
{
    v = dmb::require(dmb::parse_uuid(word), word);
}
} // namespace cereal

namespace dmb::wire {
namespace {

template <class T> std::string write(const char* root, const T& value)
{
    std::ostringstream stream;
    {
        cereal::JSONOutputArchive archive(
            stream, cereal::JSONOutputArchive::Options(17, cereal::JSONOutputArchive::Options::IndentChar::space, 2));
        archive(cereal::make_nvp(root, value));
    }
    return std::move(stream).str();
}

template <class T> Result<T> read(const char* root, std::string_view text)
{
    try {
        std::istringstream stream{std::string(text)};
        cereal::JSONInputArchive archive(stream);
        T value;
        archive(cereal::make_nvp(root, value));
        return value;
    } catch (const std::exception& e) {
        return fail(Errc::invalid_argument, "not the JSON form of {}: {}", root, e.what());
    }
}

/// What rapidjson may see. It parses recursively: a deep nest would end our stack before it ends the
/// parse; and its fractions meet undefined behaviour, so there are only whole numbers. Brackets inside
/// strings are text, or they could hide others.
bool is_plain(std::string_view text)
{
    constexpr std::string_view outside_strings = "{}[]:,\" \t\r\n0123456789truefalsn";
    int depth = 0;
    bool in_string = false, escaped = false, after_digit = false;
    return std::ranges::all_of(text, [&](char c) {
        if (in_string) {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            return true;
        }
        in_string = c == '"';
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        const bool fraction = after_digit && c >= 'a' && c <= 'z';
        after_digit = c >= '0' && c <= '9';
        return depth < 32 && !fraction && outside_strings.contains(c);
    });
}

} // namespace

std::string to_json(const ImageDesc& desc) { return write("image", desc); }
std::string to_json(const Snapshot& snapshot) { return write("snapshot", snapshot); }
std::string to_json(const Decision& decision) { return write("decision", decision); }
std::string to_json(const Capabilities& table) { return write("capabilities", table); }
std::string to_json(const Proof& proof)
{
    std::string text = write("proof", proof);
    std::ranges::replace(text, '\n', ' '); // in strings they are escaped
    return text;
}

Result<ImageDesc> image_desc_from_json(std::string_view text)
{
    if (text.size() > limits::packet_bytes || !is_plain(text))
        return fail(Errc::invalid_argument,
                    "an image description has at most {} bytes, 32 levels and whole numbers, and this has not",
                    limits::packet_bytes);
    return read<ImageDesc>("image", text);
}

Result<Capabilities> capabilities_from_json(std::string_view text)
{
    if (text.size() > limits::snapshot_bytes || !is_plain(text))
        return fail(Errc::invalid_argument,
                    "a capability table has at most {} bytes, 32 levels and whole numbers, and this has not",
                    limits::snapshot_bytes);
    Capabilities table = TRY(read<Capabilities>("capabilities", text));
    make_canonical(table);
    return table;
}

Result<Proof> proof_from_json(std::string_view text)
{
    if (text.size() > limits::packet_bytes || !is_plain(text))
        return fail(Errc::invalid_argument, "a proof has at most {} bytes, 32 levels and whole numbers, and this has not",
                    limits::packet_bytes);
    return read<Proof>("proof", text);
}

} // namespace dmb::wire
