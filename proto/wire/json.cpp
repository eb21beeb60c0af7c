// SPDX-License-Identifier: MIT
// The fields of fields.hpp as JSON, with one spelling per value type below. The only code of proto that meets the JSON
// library. Reading is for strangers' files: what comes out is as untrusted as a packet, numbers are whole and fit, and
// every failure is a Result. Fields that are not known here are passed over; missing ones are a failure.
#include "proto/wire/json.hpp"

#include "proto/wire/fields.hpp"

#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace dmb::wire {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(std::string_view field, std::string_view what)
{
    throw std::invalid_argument(fmt::format("{}: {}", field, what));
}

// --- words: what is text in JSON -------------------------------------------------------------------

std::optional<FourCC> parse(std::string_view word, FourCC) { return parse_fourcc(word); }
std::optional<Modifier> parse(std::string_view word, Modifier) { return parse_modifier(word); }
std::optional<Usage> parse(std::string_view word, Usage) { return parse_usage(word); }
// Asked for by Word alone: nothing that is read has rights yet.
[[maybe_unused]] std::optional<Rights> parse(std::string_view word, Rights) { return parse_rights(word); }
std::optional<Uuid> parse(std::string_view word, const Uuid&) { return parse_uuid(word); }
template <std::size_t N> std::optional<BoundedText<N>> parse(std::string_view word, const BoundedText<N>&) { return word; }

template <class E>
concept CodePoint = requires(E e) { to_string(e); } && std::is_enum_v<E>;
template <CodePoint E> std::optional<E> parse(std::string_view word, E) { return parse_code_point<E>(word); }
/// Enums of the protocol start at 1 without gaps: the word is looked up by naming each value.
template <class E>
    requires(std::is_enum_v<E> && !CodePoint<E>)
std::optional<E> parse(std::string_view word, E)
{
    for (int i = 1; is_valid(static_cast<E>(i)); ++i)
        if (name(static_cast<E>(i)) == word) return static_cast<E>(i);
    return std::nullopt;
}

template <class T>
concept Word = requires(std::string_view word, T value) { parse(word, value); };
template <Word T> std::string spelling(const T& v)
{
    if constexpr (requires { v.view(); }) return std::string(v.view());
    else if constexpr (requires { to_string(v); }) return to_string(v);
    else return std::string(name(v));
}

template <class T> constexpr bool is_strong = false;
template <class Tag, class T> constexpr bool is_strong<Strong<Tag, T>> = true;
template <class T>
concept List = requires(T list) { list.begin(); };

// --- both ways -------------------------------------------------------------------------------------

template <class T> Json made(const T&);
template <class T> void take(const char* field, const Json&, T&);

/// What serialize() gives the fields of an object to.
struct Writer {
    Json& object;
    template <class... Fields> void operator()(Fields&&... fields) { ((object[fields.name] = made(fields.value)), ...); }
};
struct Reader {
    const Json& object;
    template <class... Fields> void operator()(Fields&&... fields) { (read(fields.name, fields.value), ...); }
    template <class T> void read(const char* field, T& value)
    {
        const auto found = object.find(field);
        if (found == object.end()) refuse(field, "missing");
        take(field, *found, value);
    }
};

template <class T> Json made(const T& v)
{
    if constexpr (std::is_integral_v<T>) return v;
    else if constexpr (is_strong<T>) return v.value;
    else if constexpr (Word<T>) return spelling(v);
    else if constexpr (List<T>) {
        Json list = Json::array();
        for (const auto& element : v) list.push_back(made(element));
        return list;
    } else {
        Json object = Json::object();
        Writer writer{object};
        serialize(writer, const_cast<T&>(v)); // one function for both ways; this one only reads
        return object;
    }
}

template <class T> void take_number(const char* field, const Json& json, T& v)
{
    if (!json.is_number_unsigned() || json.get<std::uint64_t>() > std::numeric_limits<T>::max())
        refuse(field, fmt::format("not a whole number up to {}", std::numeric_limits<T>::max()));
    v = json.get<T>();
}

template <class T> void take_word(const char* field, const Json& json, T& v)
{
    if (!json.is_string()) refuse(field, "not a text");
    const auto& word = json.get_ref<const std::string&>();
    const auto known = parse(word, v);
    if (!known) refuse(field, is_printable(word) ? "\"" + word + "\" is not known here" : "a word with control characters");
    v = *known;
}

template <class T> constexpr std::size_t most_elements = SIZE_MAX;
template <class T, std::size_t N> constexpr std::size_t most_elements<BoundedVector<T, N>> = N;

template <class T> void take_list(const char* field, const Json& json, T& v)
{
    if (!json.is_array() || json.size() > most_elements<T>) refuse(field, "not a list, or too long");
    for (const Json& element : json) {
        typename T::value_type value;
        take(field, element, value);
        v.push_back(std::move(value));
    }
}

template <class T> void take(const char* field, const Json& json, T& v)
{
    if constexpr (std::is_same_v<T, bool>) {
        if (!json.is_boolean()) refuse(field, "neither true nor false");
        v = json.get<bool>();
    } else if constexpr (std::is_integral_v<T>) take_number(field, json, v);
    else if constexpr (is_strong<T>) take_number(field, json, v.value);
    else if constexpr (Word<T>) take_word(field, json, v);
    else if constexpr (List<T>) take_list(field, json, v);
    else {
        if (!json.is_object()) refuse(field, "not an object");
        Reader reader{json};
        serialize(reader, v);
    }
}

template <class T> std::string write(const char* root, const T& value, int indent = 2)
{
    Json json;
    json[root] = made(value);
    return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

/// `what`: for the error.
template <class T> Result<T> read(const char* root, std::string_view what, std::string_view text, std::size_t most_bytes)
{
    if (text.size() > most_bytes) return fail(Errc::invalid_argument, "{} has at most {} bytes", what, most_bytes);
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object()) return fail(Errc::invalid_argument, "not the JSON form of {}", what);
    try {
        T value;
        Reader{json}.read(root, value);
        return value;
    } catch (const std::invalid_argument& e) {
        return fail(Errc::invalid_argument, "not the JSON form of {}: {}", what, e.what());
    }
}

} // namespace

std::string to_json(const ImageDesc& desc) { return write("image", desc); }
std::string to_json(const Snapshot& snapshot) { return write("snapshot", snapshot); }
std::string to_json(const Decision& decision) { return write("decision", decision); }
std::string to_json(const Capabilities& table) { return write("capabilities", table); }
std::string to_json(const Proof& proof) { return write("proof", proof, -1); }

Result<ImageDesc> image_desc_from_json(std::string_view text)
{
    return read<ImageDesc>("image", "an image description", text, limits::packet_bytes);
}

Result<Capabilities> capabilities_from_json(std::string_view text)
{
    Capabilities table = TRY(read<Capabilities>("capabilities", "a capability table", text, limits::snapshot_bytes));
    make_canonical(table);
    return table;
}

Result<Proof> proof_from_json(std::string_view text) { return read<Proof>("proof", "a proof", text, limits::packet_bytes); }

} // namespace dmb::wire
