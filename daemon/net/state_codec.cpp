// SPDX-License-Identifier: MIT
// Two visitors of fields() (core/state/saved.hpp): records field by field, lists with their count, everything smaller
// as on the wire. A number before all says which form it is: bytes of a broker with other fields are refused, not
// misread. The bytes may be anybody's, so memory grows with what was read; whether the values fit together is for
// State::load.
#include "daemon/net/state_codec.hpp"

#include "proto/wire/archive.hpp"
#include "proto/wire/fields.hpp"

namespace dmb {
namespace {

constexpr std::uint64_t form = 0x3130'6174'7342'4d44; // "DMBsta01"
constexpr std::size_t most_state_bytes = std::size_t{1} << 30;

template <class A, class T>
concept Record = requires(A& a, T& v) { fields(a, v); };

class Writer {
public:
    explicit Writer(std::span<std::byte> to) { out_.begin(to); }
    const std::byte* position() const { return out_.position(); }

    template <class T> void operator()(const char*, T& v) { put(v); }
    template <class T> void put(T& v)
    {
        if constexpr (Record<Writer, T>) fields(*this, v);
        else out_(v);
    }
    void put(Instant& v) { out_(v.ns); }
    void put(std::vector<std::byte>& v) { out_(v); }
    void put(std::string& v)
    {
        out_(static_cast<std::uint32_t>(v.size()));
        out_.put(v.data(), v.size());
    }
    template <class T> void put(std::vector<T>& v)
    {
        out_(static_cast<std::uint32_t>(v.size()));
        for (T& element : v) put(element);
    }
    template <class T, std::size_t N> void put(BoundedVector<T, N>& v)
    {
        out_(static_cast<std::uint32_t>(v.size()));
        for (T& element : v) put(element);
    }
    template <class T> void put(std::optional<T>& v)
    {
        out_(v.has_value());
        if (v) put(*v);
    }
    template <class T> void put(std::shared_ptr<const T>& v)
    {
        std::optional<T> copy = v ? std::optional<T>(*v) : std::nullopt;
        put(copy);
    }

private:
    wire::WireOut out_;
};

class Reader {
public:
    explicit Reader(std::span<const std::byte> from) { in_.begin(from); }
    std::size_t remaining() const { return in_.remaining(); }
    bool met_unknown_value() const { return in_.met_unknown_value(); }

    template <class T> void operator()(const char*, T& v) { get(v); }
    template <class T> void get(T& v)
    {
        if constexpr (Record<Reader, T>) fields(*this, v);
        else in_(v);
    }
    void get(Instant& v) { in_(v.ns); }
    void get(std::vector<std::byte>& v) { in_(v); }
    void get(std::string& v)
    {
        v.resize(count());
        in_.get(v.data(), v.size());
    }
    /// Grown one by one: memory follows received bytes.
    template <class T> void get(std::vector<T>& v)
    {
        for (std::size_t left = count(); left > 0; --left) get(v.emplace_back());
    }
    template <class T, std::size_t N> void get(BoundedVector<T, N>& v)
    {
        const std::size_t size = count();
        if (size > N) throw cereal::Exception("more elements than the limit");
        v.resize(size);
        for (T& element : v) get(element);
    }
    template <class T> void get(std::optional<T>& v)
    {
        bool is_there = false;
        in_(is_there);
        if (is_there) get(v.emplace());
    }
    template <class T> void get(std::shared_ptr<const T>& v)
    {
        std::optional<T> value;
        get(value);
        if (value) v = std::make_shared<const T>(std::move(*value));
    }

private:
    std::size_t count()
    {
        const auto count = in_.number<std::uint32_t>();
        if (count > in_.remaining()) throw cereal::Exception("more elements than bytes");
        return count;
    }
    wire::WireIn in_;
};

} // namespace

Result<std::vector<std::byte>> encode_state(Saved saved)
{
    for (std::size_t size = std::size_t{1} << 18; size <= most_state_bytes; size *= 2) {
        std::vector<std::byte> bytes(size);
        try {
            Writer out(bytes);
            std::uint64_t number = form;
            out.put(number);
            fields(out, saved);
            bytes.resize(static_cast<std::size_t>(out.position() - bytes.data()));
            return bytes;
        } catch (const cereal::Exception&) { // too small
        }
    }
    return fail(Errc::internal, "the state is larger than {} bytes", most_state_bytes);
}

Result<Saved> decode_state(std::span<const std::byte> bytes)
{
    try {
        Reader in(bytes);
        std::uint64_t number = 0;
        Saved saved;
        in.get(number);
        if (number != form) return fail(Errc::unsupported_version, "the state is of another version of the broker");
        fields(in, saved);
        if (in.remaining() != 0) throw cereal::Exception("bytes after the state");
        if (in.met_unknown_value()) throw cereal::Exception("a value that this version does not know");
        return saved;
    } catch (const std::exception& e) {
        return fail(Errc::invalid_argument, "malformed state of {} bytes: {}", bytes.size(), e.what());
    }
}

} // namespace dmb
