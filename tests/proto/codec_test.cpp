// SPDX-License-Identifier: MIT
// Packets from an enemy: every message cut at every byte, with bytes after it, with counts, lengths,
// bools, enums and flags that no message may have, and with the wrong number of descriptors.
#include "tests/proto/samples.hpp"

#include <cstring>
#include <gtest/gtest.h>
#include <random>

namespace dmb::wire {
namespace {

using test::Bytes;
using test::encoded;

template <class Variant> Errc decode_error(std::span<const std::byte> packet, std::size_t fds)
{
    Decoded<Variant> out;
    const Result<> result = decode(packet, fds, out);
    return result ? Errc{} : result.error().code;
}

/// Offset of the first place where two encodings differ: finds a field without knowing the layout.
std::size_t first_difference(const Bytes& a, const Bytes& b)
{
    return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

template <class T> void poke(Bytes& bytes, std::size_t at, T value) { std::memcpy(bytes.data() + at, &value, sizeof value); }

TEST(Codec, every_message_comes_back_as_it_was)
{
    test::for_each_sample([](const char* name, const auto& message) {
        using Message = std::decay_t<decltype(message)>;
        const Bytes bytes = encoded(message, 77);
        test::for_each_direction<Message>([&]<class Variant>() {
            Decoded<Variant> out;
            const Result<> result = decode(bytes, message.fd_count(), out);
            ASSERT_TRUE(result) << name << ": " << result.error().reason.view();
            EXPECT_EQ(out.serial, 77u);
            ASSERT_TRUE(std::holds_alternative<Message>(out.message)) << name;
            EXPECT_EQ(std::get<Message>(out.message), message) << name;
        });
    });
}

TEST(Codec, default_messages_come_back_too)
{
    test::for_each_sample([](const char* name, const auto& sample) {
        using Message = std::decay_t<decltype(sample)>;
        Message message;
        if constexpr (requires { message.desc.format; }) message.desc.format = fourcc("R8  ");
        test::for_each_direction<Message>([&]<class Variant>() {
            Decoded<Variant> out;
            ASSERT_TRUE(decode(encoded(message), message.fd_count(), out)) << name;
            EXPECT_EQ(std::get<Message>(out.message), message) << name;
        });
    });
}

TEST(Codec, a_message_cut_at_any_byte_is_refused)
{
    test::for_each_sample([](const char* name, const auto& message) {
        using Message = std::decay_t<decltype(message)>;
        const Bytes bytes = encoded(message);
        test::for_each_direction<Message>([&]<class Variant>() {
            for (std::size_t size = 0; size < bytes.size(); ++size) {
                // A copy of exactly that size: a sanitizer sees a read past its end.
                const Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
                EXPECT_EQ(decode_error<Variant>(cut, message.fd_count()), Errc::protocol_violation)
                    << name << " cut at " << size;
            }
        });
    });
}

TEST(Codec, bytes_after_a_message_are_refused)
{
    test::for_each_sample([](const char* name, const auto& message) {
        using Message = std::decay_t<decltype(message)>;
        const std::size_t size = encoded(message).size();
        for (const std::size_t longer : {size + 1, size + 8, limits::packet_bytes}) {
            Bytes bytes = encoded(message);
            bytes.resize(longer);
            test::for_each_direction<Message>([&]<class Variant>() {
                EXPECT_EQ(decode_error<Variant>(bytes, message.fd_count()), Errc::protocol_violation) << name;
            });
        }
    });
}

TEST(Codec, the_number_of_descriptors_must_be_exact)
{
    test::for_each_sample([](const char* name, const auto& message) {
        using Message = std::decay_t<decltype(message)>;
        for (std::size_t fds = 0; fds <= limits::packet_fds + 1; ++fds)
            test::for_each_direction<Message>([&]<class Variant>() {
                const Errc wanted = fds == message.fd_count() ? Errc{} : Errc::protocol_violation;
                EXPECT_EQ(decode_error<Variant>(encoded(message), fds), wanted) << name << " with " << fds;
            });
    });
}

TEST(Codec, an_unknown_opcode_is_unsupported_and_keeps_its_serial)
{
    for (const std::uint16_t opcode : std::initializer_list<std::uint16_t>{0, 30, 63, 64, 74, 255, 0xffff}) {
        Bytes bytes = encoded(Done{}, 99);
        poke(bytes, 0, opcode);
        Decoded<Request> out;
        const Result<> result = decode(bytes, 0, out);
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().code, Errc::unsupported) << opcode;
        EXPECT_EQ(out.serial, 99u);
    }
}

TEST(Codec, messages_of_the_other_direction_are_unsupported)
{
    test::for_each_sample([](const char* name, const auto& message) {
        using Message = std::decay_t<decltype(message)>;
        const Bytes bytes = encoded(message);
        if constexpr (!test::is_in<Message, Request>) {
            EXPECT_EQ(decode_error<Request>(bytes, message.fd_count()), Errc::unsupported) << name;
        }
        if constexpr (!test::is_in<Message, Reply>) {
            EXPECT_EQ(decode_error<Reply>(bytes, message.fd_count()), Errc::unsupported) << name;
        }
    });
}

TEST(Codec, the_reserved_header_field_must_be_zero)
{
    for (const std::uint16_t reserved : std::initializer_list<std::uint16_t>{1, 0x100, 0xffff}) {
        Bytes bytes = encoded(Release{{1}});
        poke(bytes, 2, reserved);
        EXPECT_EQ(decode_error<Request>(bytes, 0), Errc::protocol_violation);
    }
}

TEST(Codec, a_bool_is_zero_or_one)
{
    MintToken off, on;
    on.one_shot = true;
    const Bytes a = encoded(off), b = encoded(on);
    const std::size_t at = first_difference(a, b);
    for (unsigned value = 0; value < 256; ++value) {
        Bytes bytes = a;
        poke(bytes, at, static_cast<std::uint8_t>(value));
        EXPECT_EQ(decode_error<Request>(bytes, 0), value <= 1 ? Errc{} : Errc::protocol_violation) << value;
    }
}

template <class Variant, class Message, class Change> void expect_enum(Message message, unsigned count, Change change)
{
    Message other = message;
    change(other);
    const Bytes a = encoded(message);
    const std::size_t at = first_difference(a, encoded(other));
    for (unsigned value = 0; value < 256; ++value) {
        Bytes bytes = a;
        poke(bytes, at, static_cast<std::uint8_t>(value));
        const bool valid = value >= 1 && value <= count;
        EXPECT_EQ(decode_error<Variant>(bytes, message.fd_count()), valid ? Errc{} : Errc::protocol_violation) << value;
    }
}

TEST(Codec, an_enum_has_one_of_its_values)
{
    expect_enum<Request>(Register{}, 3, [](Register& m) { m.desc.kind = MemoryKind::dma_buf; });
    expect_enum<Request>(Register{}, 7, [](Register& m) { m.desc.backend = Backend::gbm; });
    expect_enum<Request>(Register{}, 5, [](Register& m) { m.desc.rung = Rung::tiled; });
    expect_enum<Reply>(ImageReply{}, 2, [](ImageReply& m) { m.protection = Protection::read_only_descriptor; });
    ErrorReply error;
    error.candidates = test::sample_candidates();
    expect_enum<Reply>(error, 3, [](ErrorReply& m) { m.candidates[0].verdict = Verdict::chosen; });
    expect_enum<Reply>(error, 27, [](ErrorReply& m) { m.code = Errc::denied; });
}

TEST(Codec, flags_nobody_knows_are_refused)
{
    Open open;
    const Bytes plain = encoded(open);
    open.rights = Right::write;
    const std::size_t rights = first_difference(plain, encoded(open));
    const std::size_t usage = rights + 4;
    for (unsigned bit = 0; bit < 32; ++bit) {
        Bytes bytes = plain;
        poke(bytes, rights, 1u << bit);
        EXPECT_EQ(decode_error<Request>(bytes, 0), bit < 3 ? Errc{} : Errc::protocol_violation) << bit;
        bytes = plain;
        poke(bytes, usage, 1u << bit);
        EXPECT_EQ(decode_error<Request>(bytes, 0), bit < 7 ? Errc{} : Errc::protocol_violation) << bit;
    }
    Allocate allocate, only_memfd;
    only_memfd.spec.backends.add(Backend::memfd);
    const Bytes any = encoded(allocate);
    const std::size_t backends = first_difference(any, encoded(only_memfd));
    for (unsigned bit = 0; bit < 32; ++bit) {
        Bytes bytes = any;
        poke(bytes, backends, 1u << bit);
        EXPECT_EQ(decode_error<Request>(bytes, 0), bit >= 1 && bit <= 7 ? Errc{} : Errc::protocol_violation) << bit;
    }
}

TEST(Codec, a_text_is_at_most_its_limit)
{
    Hello hello;
    const Bytes empty = encoded(hello);
    const std::size_t at = empty.size() - 2;
    for (const std::uint16_t size : std::initializer_list<std::uint16_t>{64, 65, 255, 0xffff}) {
        Bytes bytes = empty;
        bytes.resize(empty.size() + size, std::byte{'x'});
        poke(bytes, at, size);
        EXPECT_EQ(decode_error<Request>(bytes, 0), size <= 64 ? Errc{} : Errc::protocol_violation) << size;
    }
}

TEST(Codec, counts_beyond_the_limit_or_the_packet_are_refused)
{
    Allocate allocate, one;
    one.spec.modifiers.push_back(modifier_linear);
    const Bytes none = encoded(allocate);
    const std::size_t at = first_difference(none, encoded(one));
    for (const std::uint16_t count : std::initializer_list<std::uint16_t>{1, 64, 65, 0x7fff, 0xffff}) {
        Bytes bytes = none;
        poke(bytes, at, count);
        EXPECT_EQ(decode_error<Request>(bytes, 0), Errc::protocol_violation) << count;
    }
    for (const std::uint16_t count : std::initializer_list<std::uint16_t>{64, 65}) {
        Bytes bytes = none;
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at) + 2, count * sizeof(std::uint64_t), std::byte{0});
        poke(bytes, at, count);
        EXPECT_EQ(decode_error<Request>(bytes, 0), count <= 64 ? Errc{} : Errc::protocol_violation) << count;
    }
}

TEST(Codec, an_image_has_at_most_four_planes_and_memories)
{
    for (const std::size_t count : {0u, 4u, 5u, 255u}) {
        ImageDesc desc;
        desc.planes.resize(std::min<std::size_t>(count, 4));
        desc.memories.resize(1);
        Bytes bytes = encoded(Register{desc, "", 0});
        ImageDesc fewer = desc;
        fewer.planes.resize(count == 0 ? 1 : 0);
        const std::size_t at = first_difference(bytes, encoded(Register{fewer, "", 0}));
        poke(bytes, at, static_cast<std::uint16_t>(count));
        EXPECT_EQ(decode_error<Request>(bytes, 1), count <= 4 ? Errc{} : Errc::protocol_violation) << count;
    }
}

TEST(Codec, a_huge_count_costs_neither_time_nor_memory)
{
    Bytes bytes(header_bytes + 9);
    poke(bytes, 0, static_cast<std::uint16_t>(Opcode::worker_hello));
    for (const std::uint32_t count : {10u, 0x8000'0000u, 0xffff'ffffu}) {
        poke(bytes, header_bytes, count);
        EXPECT_EQ(decode_error<WorkerReply>(bytes, 0), Errc::protocol_violation);
    }
    for (const std::uint64_t count : {std::uint64_t{1} << 31, std::uint64_t{1} << 46, std::uint64_t{1} << 62, UINT64_MAX}) {
        poke(bytes, header_bytes, count);
        EXPECT_EQ(decode_error<WorkerReply>(bytes, 0), Errc::protocol_violation);
        EXPECT_FALSE(decode_snapshot(std::span(bytes).subspan(header_bytes)));
    }
}

TEST(Codec, encoding_into_too_little_room_is_an_error)
{
    test::for_each_sample([](const char* name, const auto& message) {
        const Bytes bytes = encoded(message);
        Bytes room(bytes.size() - 1);
        EXPECT_FALSE(encode(message, 5, room)) << name;
        room.resize(bytes.size());
        EXPECT_EQ(encode(message, 5, room).value(), bytes.size()) << name;
    });
}

TEST(Codec, the_largest_messages_fit_into_a_packet)
{
    const std::string text(240, 'x');
    Candidates candidates;
    while (!candidates.full()) candidates.push_back({Backend::gbm, text.c_str(), Verdict::refused, text.c_str()});
    EXPECT_LT(encoded(ErrorReply{Errc::no_backend, text.c_str(), {17}, candidates}).size(), 4096u);
    Allocate allocate;
    while (!allocate.spec.modifiers.full()) allocate.spec.modifiers.push_back(modifier_invalid);
    EXPECT_LT(encoded(allocate).size(), 1024u);
}

TEST(Codec, random_bytes_never_do_more_than_fail)
{
    std::mt19937_64 random(3);
    test::for_each_sample([&](const char*, const auto& message) {
        for (int i = 0; i < 2000; ++i) {
            Bytes bytes = encoded(message);
            for (std::uint64_t flips = 1 + random() % 4; flips > 0; --flips)
                bytes[random() % bytes.size()] = static_cast<std::byte>(random());
            Decoded<Request> request;
            Decoded<Reply> reply;
            Decoded<WorkerReply> worker;
            (void)decode(bytes, message.fd_count(), request);
            (void)decode(bytes, message.fd_count(), reply);
            (void)decode(bytes, message.fd_count(), worker);
        }
    });
}

TEST(SnapshotCodec, comes_back_as_it_was_and_refuses_every_cut)
{
    const Snapshot snapshot = test::sample_snapshot();
    const Bytes bytes = encode_snapshot(snapshot).value();
    const Result<Snapshot> back = decode_snapshot(bytes);
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, snapshot);
    for (std::size_t size = 0; size < bytes.size(); ++size)
        EXPECT_FALSE(decode_snapshot(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)))) << size;
    Bytes longer = bytes;
    longer.push_back({});
    EXPECT_FALSE(decode_snapshot(longer));
}

TEST(SnapshotCodec, grows_beyond_a_packet)
{
    Snapshot snapshot = test::sample_snapshot();
    snapshot.images.resize(10'000, snapshot.images[0]);
    const Result<Bytes> bytes = encode_snapshot(snapshot);
    ASSERT_TRUE(bytes);
    EXPECT_GT(bytes->size(), limits::packet_bytes);
    EXPECT_EQ(decode_snapshot(*bytes).value(), snapshot);
}

} // namespace
} // namespace dmb::wire
