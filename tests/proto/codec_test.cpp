// SPDX-License-Identifier: MIT
// Packets from an enemy: every message cut at every byte, with bytes after it, with counts, lengths,
// bools, enums and flags that no message may have, and with the wrong number of descriptors. And packets from a peer of
// a later version: sections, longer records and values that nobody knows yet.
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

TEST(Codec, bytes_after_a_message_that_are_no_section_are_refused)
{
    test::for_each_sample([](const char* name, const auto& message) {
        using Message = std::decay_t<decltype(message)>;
        const std::size_t size = encoded(message).size();
        for (const std::size_t longer : {size + 1, size + 8, limits::packet_bytes})
            for (const std::byte filler : {std::byte{0}, std::byte{0xff}}) {
                Bytes bytes = encoded(message);
                bytes.resize(longer, filler);
                test::for_each_direction<Message>([&]<class Variant>() {
                    EXPECT_EQ(decode_error<Variant>(bytes, message.fd_count()), Errc::protocol_violation) << name;
                });
            }
    });
}

/// As a later version would write it.
Bytes with_section(Bytes bytes, std::uint16_t tag, std::uint16_t fds, std::size_t size)
{
    const std::size_t at = bytes.size();
    bytes.resize(at + 8 + size, std::byte{0x5a});
    poke(bytes, at, tag);
    poke(bytes, at + 2, fds);
    poke(bytes, at + 4, static_cast<std::uint32_t>(size));
    std::uint16_t promised = 0;
    std::memcpy(&promised, bytes.data() + 2, sizeof promised);
    poke(bytes, 2, static_cast<std::uint16_t>(promised + fds));
    return bytes;
}

TEST(Codec, sections_that_nobody_knows_are_skipped_with_their_descriptors)
{
    test::for_each_sample([](const char* name, const auto& message) {
        using Message = std::decay_t<decltype(message)>;
        const Bytes bytes = with_section(with_section(encoded(message, 77), 1, 2, 0), 0xffff, 1, 33);
        test::for_each_direction<Message>([&]<class Variant>() {
            Decoded<Variant> out;
            const Result<> result = decode(bytes, message.fd_count() + 3, out);
            ASSERT_TRUE(result) << name << ": " << result.error().reason.view();
            EXPECT_EQ(std::get<Message>(out.message), message) << name;
            EXPECT_EQ(decode_error<Variant>(bytes, message.fd_count()), Errc::protocol_violation) << name;
        });
    });
}

TEST(Codec, a_section_that_lies_about_its_size_is_refused)
{
    const Bytes good = with_section(encoded(Done{}), 7, 0, 16);
    for (const std::uint32_t size : {15u, 17u, 0x8000'0000u, 0xffff'ffffu}) {
        Bytes bytes = good;
        poke(bytes, header_bytes + 4, size);
        EXPECT_EQ(decode_error<Reply>(bytes, 0), Errc::protocol_violation) << size;
    }
    EXPECT_EQ(decode_error<Reply>(with_section(encoded(Done{}), 0, 0, 16), 0), Errc::protocol_violation) << "tag 0";
}

/// Where records begin: whatever is a u32 whose value says that the packet goes on as long.
template <class Variant, class Message> std::size_t count_growable_records(const Message& message)
{
    const Bytes bytes = encoded(message);
    std::size_t found = 0;
    for (std::size_t at = header_bytes; at + 4 < bytes.size(); ++at) {
        std::uint32_t size = 0;
        std::memcpy(&size, bytes.data() + at, sizeof size);
        if (size == 0 || size > bytes.size() - at - 4) continue;
        Bytes longer = bytes;
        poke(longer, at, size + 3);
        longer.insert(longer.begin() + static_cast<std::ptrdiff_t>(at + 4 + size), 3, std::byte{0x77});
        Decoded<Variant> out;
        if (!decode(longer, message.fd_count(), out)) continue;
        const auto* same = std::get_if<Message>(&out.message);
        if (same && *same == message) ++found;
    }
    return found;
}

TEST(Codec, a_record_may_be_longer_than_its_reader_knows)
{
    EXPECT_EQ(count_growable_records<Request>(Release{{3}}), 0u);
    EXPECT_GE(count_growable_records<Reply>(WhyReply{test::sample_decision()}), 1u);
    WorkerHello hello{{test::sample_exports(), test::sample_exports()}};
    EXPECT_GE(count_growable_records<WorkerReply>(hello), 2u);
}

TEST(Codec, a_record_that_ends_too_early_is_refused)
{
    WhyReply message;
    message.decision.candidates = {{Backend::gbm, "node", Verdict::failed, "reason"}};
    const Bytes bytes = encoded(message);
    const std::size_t size = 1 + 2 + 4 + 1 + 2 + 6; // of the one candidate, which is last
    const std::size_t at = bytes.size() - size - 4;
    std::uint32_t stated = 0;
    std::memcpy(&stated, bytes.data() + at, sizeof stated);
    ASSERT_EQ(stated, size);
    for (std::uint32_t wrong = 0; wrong < size + 2; ++wrong) {
        if (wrong == size) continue;
        Bytes lying = bytes;
        poke(lying, at, wrong);
        EXPECT_EQ(decode_error<Reply>(lying, 0), Errc::protocol_violation) << wrong;
    }
}

TEST(Codec, the_number_of_descriptors_must_be_exact)
{
    test::for_each_sample([](const char* name, const auto& message) {
        using Message = std::decay_t<decltype(message)>;
        for (std::size_t fds = 0; fds <= 9; ++fds)
            test::for_each_direction<Message>([&]<class Variant>() {
                const Errc wanted = fds == message.fd_count() ? Errc{} : Errc::protocol_violation;
                EXPECT_EQ(decode_error<Variant>(encoded(message), fds), wanted) << name << " with " << fds;
            });
    });
}

TEST(Codec, an_unknown_opcode_is_unsupported_and_keeps_its_serial)
{
    for (const std::uint16_t opcode : std::initializer_list<std::uint16_t>{0, 33, 63, 64, 74, 255, 0xffff}) {
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
    for (const std::uint32_t reserved : {1u, 0x100u, 0xffff'ffffu}) {
        Bytes bytes = encoded(Release{{1}});
        poke(bytes, 4, reserved);
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

/// 0 and what no version may have are malformed; what a later one may have is kept, and said.
template <class Variant, class Message, class Change>
void expect_enum(Message message, unsigned count, Change change, unsigned first = 1)
{
    Message other = message;
    change(other);
    const Bytes a = encoded(message);
    const std::size_t at = first_difference(a, encoded(other));
    for (unsigned value = 0; value < 256; ++value) {
        Bytes bytes = a;
        poke(bytes, at, static_cast<std::uint8_t>(value));
        const bool known = value >= first && value <= count, possible = known || (value >= 1 && value <= 31);
        Decoded<Variant> out;
        const Result<> result = decode(bytes, message.fd_count(), out);
        EXPECT_EQ(result.has_value(), possible) << value;
        EXPECT_EQ(result ? Errc{} : result.error().code, possible ? Errc{} : Errc::protocol_violation) << value;
        EXPECT_EQ(result && out.has_unknown_value, possible && !known) << value;
    }
}

TEST(Codec, an_enum_has_one_of_its_values_or_one_of_a_later_version)
{
    expect_enum<Request>(Register{}, 3, [](Register& m) { m.desc.kind = MemoryKind::dma_buf; });
    expect_enum<Request>(Register{}, 7, [](Register& m) { m.desc.backend = Backend::gbm; });
    expect_enum<Request>(Register{}, 5, [](Register& m) { m.desc.rung = Rung::tiled; });
    expect_enum<Reply>(ImageReply{}, 2, [](ImageReply& m) { m.protection = Protection::read_only_descriptor; });
    const WhyReply why{test::sample_decision()};
    expect_enum<Reply>(why, 3, [](WhyReply& m) { m.decision.candidates[0].verdict = Verdict::chosen; });
}

TEST(Codec, an_error_code_of_a_later_version_arrives_as_it_is)
{
    ErrorReply error{Errc::denied, "no", {}};
    Bytes bytes = encoded(error);
    for (const std::uint16_t code : std::initializer_list<std::uint16_t>{31, 200, 1023}) {
        poke(bytes, header_bytes, code);
        Decoded<Reply> out;
        ASSERT_TRUE(decode(bytes, 0, out)) << code;
        EXPECT_EQ(static_cast<std::uint16_t>(std::get<ErrorReply>(out.message).code), code);
        EXPECT_EQ(name(std::get<ErrorReply>(out.message).code), "unknown");
        EXPECT_LT(negative_errno(std::get<ErrorReply>(out.message).code), 0);
    }
    for (const std::uint16_t code : std::initializer_list<std::uint16_t>{0, 1024, 0xffff}) {
        poke(bytes, header_bytes, code);
        EXPECT_EQ(decode_error<Reply>(bytes, 0), Errc::protocol_violation) << code;
    }
}

TEST(Codec, flags_of_a_later_version_are_kept_and_said_and_others_are_refused)
{
    const auto expect = [](const Bytes& bytes, bool known, bool possible) {
        Decoded<Request> out;
        const Result<> result = decode(bytes, 0, out);
        EXPECT_EQ(result.has_value(), possible);
        EXPECT_EQ(result && out.has_unknown_value, possible && !known);
    };
    Open open;
    const Bytes plain = encoded(open);
    open.rights = Right::write;
    const std::size_t rights = first_difference(plain, encoded(open));
    const std::size_t usage = rights + 4;
    for (unsigned bit = 0; bit < 32; ++bit) {
        SCOPED_TRACE(bit);
        Bytes bytes = plain;
        poke(bytes, rights, 1u << bit);
        expect(bytes, bit < 3, bit < 24);
        bytes = plain;
        poke(bytes, usage, 1u << bit);
        expect(bytes, bit < 7, bit < 24);
    }
    Allocate allocate, only_memfd;
    only_memfd.spec.backends.add(Backend::memfd);
    const Bytes any = encoded(allocate);
    const std::size_t backends = first_difference(any, encoded(only_memfd));
    for (unsigned bit = 0; bit < 32; ++bit) {
        SCOPED_TRACE(bit);
        Bytes bytes = any;
        poke(bytes, backends, 1u << bit);
        expect(bytes, bit >= 1 && bit <= 7, bit >= 1 && bit < 24);
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
    Bytes with_one = encoded(one);
    std::copy_n(none.begin(), header_bytes + 4, with_one.begin()); // the size of the spec, a record, differs first
    const std::size_t at = first_difference(none, with_one);
    for (const std::uint16_t count : std::initializer_list<std::uint16_t>{1, 64, 65, 0x7fff, 0xffff}) {
        Bytes bytes = none;
        poke(bytes, at, count);
        EXPECT_EQ(decode_error<Request>(bytes, 0), Errc::protocol_violation) << count;
    }
    for (const std::uint16_t count : std::initializer_list<std::uint16_t>{64, 65}) {
        Bytes bytes = none;
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at) + 2, count * sizeof(std::uint64_t), std::byte{0});
        poke(bytes, at, count);
        std::uint32_t size = 0; // of the spec, a record
        std::memcpy(&size, bytes.data() + header_bytes, sizeof size);
        poke(bytes, header_bytes, static_cast<std::uint32_t>(size + count * sizeof(std::uint64_t)));
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
        // The size of the record differs first.
        Bytes other = encoded(Register{fewer, "", 0});
        std::copy_n(bytes.begin(), header_bytes + 4, other.begin());
        const std::size_t at = first_difference(bytes, other);
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
    EXPECT_LT(encoded(ErrorReply{Errc::no_backend, text.c_str(), {17}}).size(), 512u);
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

TEST(TableCodec, a_table_comes_back_as_it_was_without_what_only_a_later_version_knows)
{
    Capabilities table = test::sample_capabilities();
    EXPECT_EQ(decode_capabilities(encode_capabilities(table).value()).value(), table);
    Capabilities later = table;
    later.rows[0].kind = static_cast<MemoryKind>(9);
    later.rows.push_back(later.rows[1]);
    later.rows[2].usage = Usage::from_bits(1 << 20);
    later.api = static_cast<Api>(20);
    const Capabilities read = decode_capabilities(encode_capabilities(later).value()).value();
    EXPECT_EQ(read.api, Api::other);
    ASSERT_EQ(read.rows.size(), 1u);
    EXPECT_EQ(read.rows[0], table.rows[1]);
}

TEST(TableCodec, cuts_and_huge_counts_are_refused)
{
    const Bytes bytes = encode_capabilities(test::sample_capabilities()).value();
    for (std::size_t size = 0; size < bytes.size(); ++size)
        EXPECT_FALSE(decode_capabilities(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)))) << size;
    Capabilities table = test::sample_capabilities();
    table.rows.resize(limits::capability_rows + 1, table.rows[0]);
    EXPECT_FALSE(decode_capabilities(encode_capabilities(table).value()));
    table.rows.resize(limits::capability_rows);
    const Bytes largest = encode_capabilities(table).value();
    EXPECT_LE(largest.size(), limits::table_bytes);
    EXPECT_TRUE(decode_capabilities(largest));
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
