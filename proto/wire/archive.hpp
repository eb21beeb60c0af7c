// SPDX-License-Identifier: MIT
// The bounded archives. Little-endian, fixed width; an element count never exceeds the remaining bytes
// or the container's limit; bools are strict; no pointers, no maps. Stock cereal archives trust their input and
// must never see a packet.
//
//   integers   1, 2, 4 or 8 bytes          strong ids, fourcc, modifier, flags   their integer
//   bool       1 byte, 0 or 1              enums                                 their integer
//   text       u16 length, bytes           bounded vector                        u16 count, elements
//   token, uuid 16 bytes                   vector                                u32 count, elements
//   record     u32 size, fields
//
// It grows without a new version. A record (is_record) may have more bytes behind its last field than its reader
// knows: they are skipped. Enum values and flags that later versions may add are kept and noted
// (met_unknown_value); only what no version will ever have is malformed.
#pragma once
#include "proto/base/bounded.hpp"
#include "proto/base/strong.hpp"
#include "proto/image/types.hpp"

#include <bit>
#include <cereal/cereal.hpp>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace dmb::wire {

static_assert(std::endian::native == std::endian::little, "a big-endian port must swap in put() and get()");

class WireOut : public cereal::OutputArchive<WireOut, cereal::AllowEmptyClassElision> {
public:
    WireOut() : OutputArchive(this) {}
    /// From now on it writes there. An archive is used again and again: cereal's base has maps (which this
    /// protocol does not use) that cost more to construct and destroy than most messages to write.
    void begin(std::span<std::byte> to)
    {
        at_ = to.data();
        end_ = to.data() + to.size();
    }
    [[gnu::always_inline]] void put(const void* bytes, std::size_t size)
    {
        if (size > static_cast<std::size_t>(end_ - at_)) too_large();
        if (size != 0) std::memcpy(at_, bytes, size); // an empty vector's data() may be null
        at_ += size;
    }
    std::byte* position() const { return at_; }
    /// What `write_fields` puts becomes a record.
    template <class Fields> [[gnu::always_inline]] void record(Fields write_fields)
    {
        std::byte* const size = at_;
        put("\0\0\0", 4);
        write_fields();
#ifdef DMB_LATER_VERSION // tests/integration/later_dmabrokerd.cpp
        put("later", 5);
#endif
        const auto bytes = static_cast<std::uint32_t>(at_ - size - 4);
        std::memcpy(size, &bytes, sizeof bytes);
    }

private:
    [[noreturn, gnu::noinline, gnu::cold]] static void too_large() { throw cereal::Exception("message larger than a packet"); }
    std::byte* at_ = nullptr;
    std::byte* end_ = nullptr;
};

class WireIn : public cereal::InputArchive<WireIn, cereal::AllowEmptyClassElision> {
public:
    WireIn() : InputArchive(this) {}
    /// From now on it reads this; see WireOut::begin.
    void begin(std::span<const std::byte> from)
    {
        at_ = from.data();
        end_ = from.data() + from.size();
        unknown_value_ = false;
    }
    std::size_t remaining() const { return static_cast<std::size_t>(end_ - at_); }
    [[gnu::always_inline]] void get(void* bytes, std::size_t size)
    {
        if (size > remaining()) too_short();
        std::memcpy(bytes, at_, size);
        at_ += size;
    }
    template <class T> T number()
    {
        T value{};
        get(&value, sizeof value);
        return value;
    }
    /// The next `size` bytes; they stay in the packet.
    std::span<const std::byte> bytes(std::size_t size)
    {
        if (size > remaining()) too_short();
        at_ += size;
        return {at_ - size, size};
    }
    /// `read_fields` sees the record only; what it leaves is skipped.
    template <class Fields> [[gnu::always_inline]] void record(Fields read_fields)
    {
        const auto size = number<std::uint32_t>();
        if (size > remaining()) too_short();
        const std::byte* const outer_end = std::exchange(end_, at_ + size);
        const std::byte* const record_end = end_;
        read_fields();
        at_ = record_end;
        end_ = outer_end;
    }
    /// An enum value or flag that this version does not know was read.
    bool met_unknown_value() const { return unknown_value_; }
    void note_unknown_value() { unknown_value_ = true; }

private:
    [[noreturn, gnu::noinline, gnu::cold]] static void too_short() { throw cereal::Exception("message ends too early"); }
    const std::byte* at_ = nullptr;
    const std::byte* end_ = nullptr;
    bool unknown_value_ = false;
};

/// A value that may get more fields: it travels with its size. Said beside its fields, in fields.hpp.
template <class T> inline constexpr bool is_record = false;

/// Every value inside a message passes through here.
template <class T> [[gnu::always_inline]] inline void transfer(WireOut& a, const T& v)
{
    if constexpr (is_record<T>) a.record([&] { a(v); });
    else a(v);
}
template <class T> [[gnu::always_inline]] inline void transfer(WireIn& a, T& v)
{
    if constexpr (is_record<T>) a.record([&] { a(v); });
    else a(v);
}

/// A record's field that came later than its first version: older peers do not send it, and it stays as it is.
template <class T> void later(WireOut& a, const T& v) { transfer(a, v); }
template <class T> void later(WireIn& a, T& v)
{
    if (a.remaining() > 0) transfer(a, v);
}

/// The largest enum value that a version may ever have, and the flags that one may.
template <class E> inline constexpr unsigned largest_value = sizeof(E) == 1 ? 31 : 1023;
inline constexpr std::uint32_t possible_flags = 0x00ff'ffff;

template <class T>
concept WireInteger = std::is_integral_v<T> && !std::is_same_v<T, bool>;
template <class T>
concept WireEnum = std::is_enum_v<T> && !std::is_same_v<T, std::byte>;

} // namespace dmb::wire

// In namespaces where argument-dependent lookup finds them: the archive's for fundamental types, the
// value's own for ours.
namespace dmb::wire {

// Names are for the JSON form only.
template <class T> void CEREAL_SERIALIZE_FUNCTION_NAME(WireOut& a, cereal::NameValuePair<T>& field)
{
    transfer(a, field.value);
}
template <class T> void CEREAL_SERIALIZE_FUNCTION_NAME(WireIn& a, cereal::NameValuePair<T>& field) { transfer(a, field.value); }

template <WireInteger T> void CEREAL_SAVE_FUNCTION_NAME(WireOut& a, const T& v) { a.put(&v, sizeof v); }
template <WireInteger T> void CEREAL_LOAD_FUNCTION_NAME(WireIn& a, T& v) { a.get(&v, sizeof v); }

template <WireEnum E> void CEREAL_SAVE_FUNCTION_NAME(WireOut& a, const E& v) { a.put(&v, sizeof v); }
template <WireEnum E> void CEREAL_LOAD_FUNCTION_NAME(WireIn& a, E& v)
{
    const auto number = a.number<std::underlying_type_t<E>>();
    v = static_cast<E>(number);
    if (is_valid(v)) return;
    if (number == 0 || number > largest_value<E>) throw cereal::Exception("an enum value that no version has");
    a.note_unknown_value();
}

inline void CEREAL_SAVE_FUNCTION_NAME(WireOut& a, const bool& v)
{
    const std::uint8_t byte = v;
    a.put(&byte, 1);
}
inline void CEREAL_LOAD_FUNCTION_NAME(WireIn& a, bool& v)
{
    const auto byte = a.number<std::uint8_t>();
    if (byte > 1) throw cereal::Exception("a bool that is neither 0 nor 1");
    v = byte == 1;
}

template <std::size_t N> void CEREAL_SAVE_FUNCTION_NAME(WireOut& a, const std::array<std::uint8_t, N>& v)
{
    a.put(v.data(), N);
}
template <std::size_t N> void CEREAL_LOAD_FUNCTION_NAME(WireIn& a, std::array<std::uint8_t, N>& v) { a.get(v.data(), N); }

template <class T> void CEREAL_SAVE_FUNCTION_NAME(WireOut& a, const std::vector<T>& v)
{
    a(static_cast<std::uint32_t>(v.size()));
    for (const T& element : v) transfer(a, element);
}
template <class T> void CEREAL_LOAD_FUNCTION_NAME(WireIn& a, std::vector<T>& v)
{
    // Every element takes at least one byte, and is grown one by one: memory follows received bytes.
    const auto count = a.number<std::uint32_t>();
    if (count > a.remaining()) throw cereal::Exception("more elements than bytes");
    v.clear();
    for (std::uint32_t i = 0; i < count; ++i) transfer(a, v.emplace_back());
}
inline void CEREAL_SAVE_FUNCTION_NAME(WireOut& a, const std::vector<std::byte>& v)
{
    a(static_cast<std::uint32_t>(v.size()));
    a.put(v.data(), v.size());
}
inline void CEREAL_LOAD_FUNCTION_NAME(WireIn& a, std::vector<std::byte>& v)
{
    const auto bytes = a.bytes(a.number<std::uint32_t>());
    v.assign(bytes.begin(), bytes.end());
}

} // namespace dmb::wire

namespace dmb {

template <std::size_t N> void CEREAL_SAVE_FUNCTION_NAME(wire::WireOut& a, const BoundedText<N>& v)
{
    a(static_cast<std::uint16_t>(v.size()));
    a.put(v.view().data(), v.size());
}
template <std::size_t N> void CEREAL_LOAD_FUNCTION_NAME(wire::WireIn& a, BoundedText<N>& v)
{
    const auto size = a.number<std::uint16_t>();
    if (size > N) throw cereal::Exception("text beyond its limit");
    a.get(v.data(), size);
    v.set_size(size);
}

template <class T, std::size_t N> void CEREAL_SAVE_FUNCTION_NAME(wire::WireOut& a, const BoundedVector<T, N>& v)
{
    a(static_cast<std::uint16_t>(v.size()));
    for (const T& element : v) transfer(a, element);
}
template <class T, std::size_t N> void CEREAL_LOAD_FUNCTION_NAME(wire::WireIn& a, BoundedVector<T, N>& v)
{
    const auto count = a.number<std::uint16_t>();
    if (count > N) throw cereal::Exception("more elements than the limit");
    v.resize(count);
    for (T& element : v) transfer(a, element);
}

template <class Tag, class T> void CEREAL_SAVE_FUNCTION_NAME(wire::WireOut& a, const Strong<Tag, T>& v)
{
    a.put(&v.value, sizeof(T));
}
template <class Tag, class T> void CEREAL_LOAD_FUNCTION_NAME(wire::WireIn& a, Strong<Tag, T>& v) { a.get(&v.value, sizeof(T)); }

template <class E> void CEREAL_SAVE_FUNCTION_NAME(wire::WireOut& a, const Flags<E>& v) { a.put(&v.bits, sizeof v.bits); }
template <class E> void CEREAL_LOAD_FUNCTION_NAME(wire::WireIn& a, Flags<E>& v)
{
    v = Flags<E>::from_bits(a.number<std::uint32_t>());
    if (v.is_known()) return;
    if (v.bits & ~wire::possible_flags) throw cereal::Exception("a flag that no version has");
    a.note_unknown_value();
}

inline void CEREAL_SAVE_FUNCTION_NAME(wire::WireOut& a, const FourCC& v) { a(v.value); }
inline void CEREAL_LOAD_FUNCTION_NAME(wire::WireIn& a, FourCC& v) { a(v.value); }
inline void CEREAL_SAVE_FUNCTION_NAME(wire::WireOut& a, const Modifier& v) { a(v.value); }
inline void CEREAL_LOAD_FUNCTION_NAME(wire::WireIn& a, Modifier& v) { a(v.value); }
inline void CEREAL_SAVE_FUNCTION_NAME(wire::WireOut& a, const Token& v) { a.put(v.bytes.data(), v.bytes.size()); }
inline void CEREAL_LOAD_FUNCTION_NAME(wire::WireIn& a, Token& v) { a.get(v.bytes.data(), v.bytes.size()); }
inline void CEREAL_SAVE_FUNCTION_NAME(wire::WireOut& a, const BackendSet& v) { a(v.bits); }
inline void CEREAL_LOAD_FUNCTION_NAME(wire::WireIn& a, BackendSet& v)
{
    a(v.bits);
    if ((v.bits & ~BackendSet::known) == 0) return;
    if ((v.bits & 1) || (v.bits & ~wire::possible_flags)) throw cereal::Exception("a backend that no version has");
    a.note_unknown_value();
}

} // namespace dmb

// cereal brings its own, unchecked form for enums; ours takes precedence.
namespace cereal {
template <dmb::wire::WireEnum E>
struct specialize<dmb::wire::WireOut, E, specialization::non_member_load_save> : std::true_type {};
template <dmb::wire::WireEnum E>
struct specialize<dmb::wire::WireIn, E, specialization::non_member_load_save> : std::true_type {};
} // namespace cereal

CEREAL_REGISTER_ARCHIVE(dmb::wire::WireOut)
CEREAL_REGISTER_ARCHIVE(dmb::wire::WireIn)
CEREAL_SETUP_ARCHIVE_TRAITS(dmb::wire::WireIn, dmb::wire::WireOut)
