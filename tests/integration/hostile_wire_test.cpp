// SPDX-License-Identifier: MIT
// The real broker against clients that break the rules of the protocol: cut, oversized, empty and
// untimely packets, silence, floods, stray descriptors. Names carry the row of the fault list they prove.
#include "tests/integration/hostile.hpp"

#include <cstring>
#include <fstream>
#include <sys/socket.h>
#include <thread>

namespace dmb {
namespace {

using test::Clock;
using test::encoded;
using test::eventually;
using test::Fds;
using test::Hostile;
using test::make_allocate;
using test::make_desc;
using test::make_memfd;
using test::RawClient;
using test::repeat;
using test::since;
using Greeting = RawClient::Greeting;

TEST_F(Hostile, w01_a_message_cut_at_any_byte_ends_only_its_connection)
{
    const UniqueFd memfd = make_memfd(8192);
    test::for_each_sample([&]<class Message>(const char* name, const Message& message) {
        if constexpr (test::is_in<Message, wire::Request>) {
            const std::vector<std::byte> bytes = encoded(message);
            for (std::size_t size = 1; size < bytes.size(); size += size < 12 ? 1 : 7) {
                const bool hello = std::is_same_v<Message, wire::Hello>;
                RawClient attacker = client(hello ? Greeting::no : Greeting::yes);
                attacker.say_bytes(std::span(bytes).first(size), repeat(memfd.get(), message.fd_count()));
                ASSERT_TRUE(attacker.ends()) << name << " cut at " << size;
                EXPECT_EQ(attacker.goodbye, Errc::protocol_violation) << name << " cut at " << size;
            }
        }
    });
}

TEST_F(Hostile, w03_w07_packets_of_any_wrong_size_are_refused)
{
    const std::vector<std::byte> hello = encoded(wire::Hello{});
    for (const std::size_t size : {std::size_t{1}, std::size_t{7}, hello.size() + 1, limits::packet_bytes, limits::packet_bytes + 1, 2 * limits::packet_bytes}) {
        RawClient attacker = client(Greeting::no);
        std::vector<std::byte> bytes = hello;
        bytes.resize(size);
        attacker.say_bytes(bytes);
        EXPECT_TRUE(attacker.ends()) << size;
        EXPECT_EQ(attacker.goodbye, Errc::protocol_violation) << size;
    }
}

TEST_F(Hostile, w04_huge_counts_cost_the_broker_nothing)
{
    const auto memory = [&] {
        std::ifstream statm("/proc/" + std::to_string(broker.pid()) + "/statm");
        std::size_t total = 0, resident = 0;
        statm >> total >> resident;
        return resident * 4096;
    };
    const std::size_t before = memory();
    const auto start = Clock::now();
    for (int i = 0; i < 100; ++i) {
        RawClient attacker = client();
        std::vector<std::byte> bytes = encoded(wire::Allocate{});
        std::memset(bytes.data() + wire::header_bytes + 12, 0xff, i % 2 ? 2 : bytes.size() - wire::header_bytes - 12);
        attacker.say_bytes(bytes);
        ASSERT_TRUE(attacker.ends());
    }
    EXPECT_LT(since(start), 5.0);
    EXPECT_LT(memory(), before + (1u << 20));
}

TEST_F(Hostile, w05_any_byte_set_to_nonsense_is_answered_or_ends_the_connection)
{
    const UniqueFd memfd = make_memfd(8192);
    const std::vector<std::byte> good = encoded(wire::Register{test::sample_desc(), "x", 0});
    for (std::size_t at = 0; at < good.size(); ++at) {
        RawClient attacker = client();
        std::vector<std::byte> bytes = good;
        bytes[at] = std::byte{0x7f};
        attacker.say_bytes(bytes, {memfd.get()});
        const auto answer = attacker.hear();
        ASSERT_TRUE(answer) << "byte " << at << " was not answered at all";
    }
}

TEST_F(Hostile, w08_requests_out_of_order_end_the_connection)
{
    test::for_each_sample([&]<class Message>(const char* name, const Message& message) {
        if constexpr (!std::is_same_v<Message, wire::Hello>) {
            RawClient early = client(Greeting::no);
            const UniqueFd memfd = make_memfd(8192);
            early.say(message, repeat(memfd.get(), message.fd_count()));
            EXPECT_TRUE(early.ends()) << name << " before hello";
        }
    });
    RawClient twice = client();
    twice.say(wire::Hello{});
    EXPECT_TRUE(twice.ends());
    EXPECT_EQ(twice.goodbye, Errc::protocol_violation);
    wire::Hello stranger;
    stranger.magic = 0x12345678;
    RawClient wrong = client(Greeting::no);
    wrong.say(stranger);
    EXPECT_TRUE(wrong.ends());
}

TEST_F(Hostile, w08_replies_and_unknown_messages_from_a_client_are_unsupported)
{
    RawClient attacker = client();
    const UniqueFd memfd = make_memfd(8192);
    test::for_each_sample([&]<class Message>(const char* name, const Message& message) {
        if constexpr (!test::is_in<Message, wire::Request>) {
            EXPECT_EQ(attacker.error(message, repeat(memfd.get(), message.fd_count())), Errc::unsupported) << name;
        }
    });
    for (const std::uint16_t opcode : std::initializer_list<std::uint16_t>{0, 19, 63, 67, 0xffff}) {
        std::vector<std::byte> bytes = encoded(wire::Done{});
        std::memcpy(bytes.data(), &opcode, sizeof opcode);
        ASSERT_TRUE(attacker.say_bytes(bytes, {memfd.get()}));
        const auto answer = attacker.hear();
        ASSERT_TRUE(answer) << opcode;
        ASSERT_TRUE(std::holds_alternative<wire::ErrorReply>(answer->message));
        EXPECT_EQ(std::get<wire::ErrorReply>(answer->message).code, Errc::unsupported);
    }
    EXPECT_EQ(attacker.get<wire::ImageReply>(make_allocate({1, 1})).desc.size, (Extent{1, 1}));
}

TEST_F(Hostile, w08_a_serial_used_twice_is_answered_twice)
{
    RawClient attacker = client();
    attacker.say(make_allocate({8, 8}), {}, 7);
    attacker.say(make_allocate({8, 8}), {}, 7);
    for (int i = 0; i < 2; ++i) {
        const auto answer = attacker.hear();
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->serial, 7u);
        EXPECT_TRUE(std::holds_alternative<wire::ImageReply>(answer->message));
    }
}

TEST_F(Hostile, w09_silent_connections_are_cut_after_five_seconds)
{
    std::vector<RawClient> silent;
    for (int i = 0; i < 64; ++i) silent.push_back(client(Greeting::no));
    const auto start = Clock::now();
    while (since(start) < 4.0) {
        const auto asked = Clock::now();
        bystander_is_served();
        EXPECT_LT(since(asked), 0.5);
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    EXPECT_FALSE(silent[0].ends(0.1)) << "cut too early";
    for (RawClient& attacker : silent) EXPECT_TRUE(attacker.ends(5));
    EXPECT_LT(since(start), 8.0);
}

TEST_F(Hostile, w10_a_client_that_never_reads_is_cut_and_costs_little)
{
    RawClient attacker = client();
    const std::vector<std::byte> request = encoded(wire::Open{token, Right::read, UsageFlag::cpu_read});
    int sent = 0;
    const auto start = Clock::now();
    while (sent < 10'000 && since(start) < 10) {
        if (attacker.say_bytes(request, {}, false)) ++sent;
        else if (errno != EAGAIN) break;
        else std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    bystander_is_served();
    EXPECT_LT(broker.fds(), fds + 100);
    EXPECT_TRUE(eventually([&] { return !attacker.say_bytes(request, {}, false) && errno != EAGAIN; }, 5)) << "not cut after " << sent;
}

TEST_F(Hostile, w10_unread_errors_are_bounded_too)
{
    RawClient attacker = client();
    const std::vector<std::byte> request = encoded(make_allocate({0, 0}));
    const auto start = Clock::now();
    for (int sent = 0; sent < 10'000 && since(start) < 10;) {
        if (attacker.say_bytes(request, {}, false)) ++sent;
        else if (errno != EAGAIN) break;
        else if (since(start) > 3) break; // back-pressure instead of a cut is fine as well
    }
    bystander_is_served();
}

TEST_F(Hostile, w11_half_closed_connections_are_served_or_dropped)
{
    RawClient no_more = client();
    no_more.say(make_allocate({8, 8}));
    ::shutdown(no_more.fd(), SHUT_WR);
    const auto answer = no_more.hear();
    EXPECT_TRUE(!answer || std::holds_alternative<wire::ImageReply>(answer->message) || std::holds_alternative<wire::Goodbye>(answer->message));
    EXPECT_TRUE(no_more.ends());

    RawClient deaf = client();
    ::shutdown(deaf.fd(), SHUT_RD);
    for (int i = 0; i < 10; ++i) deaf.say(make_allocate({8, 8}));
    deaf.close();

    for (int i = 0; i < 200; ++i) {
        RawClient gone = client();
        gone.say(make_allocate({64, 64}));
        gone.close();
    }
}

TEST_F(Hostile, w12_empty_packets_end_the_connection_and_their_descriptors)
{
    const UniqueFd memfd = make_memfd(4096);
    for (const std::size_t count : {0u, 3u}) {
        RawClient attacker = client();
        attacker.say_bytes({}, repeat(memfd.get(), count));
        EXPECT_TRUE(attacker.ends()) << count;
    }
}

TEST_F(Hostile, w15_forged_credentials_do_not_change_who_one_is)
{
    RawClient attacker = client();
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))]{};
    std::vector<std::byte> bytes = encoded(make_allocate({8, 8}));
    iovec data{bytes.data(), bytes.size()};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_CREDENTIALS;
    c->cmsg_len = CMSG_LEN(sizeof(ucred));
    const ucred forged{1, ::getuid(), ::getgid()};
    std::memcpy(CMSG_DATA(c), &forged, sizeof forged);
    if (::sendmsg(attacker.fd(), &header, MSG_NOSIGNAL) >= 0) {
        const auto answer = attacker.hear();
        ASSERT_TRUE(answer);
        EXPECT_TRUE(std::holds_alternative<wire::ImageReply>(answer->message));
    }
    for (const ClientInfo& info : snapshot().clients) EXPECT_EQ(info.pid, static_cast<std::uint32_t>(::getpid()));
}

TEST_F(Hostile, w16_names_that_would_harm_a_terminal_are_refused)
{
    using namespace std::string_view_literals;
    const std::string_view bad[] = {"a\0b"sv, "\x1b[31m"sv, "\xe2\x80\xae" "evil"sv, "\xff\xfe"sv, "line\nbreak"sv};
    for (const std::string_view name : bad) {
        wire::Hello hello;
        hello.name = name;
        RawClient attacker = client(Greeting::no);
        attacker.say(hello);
        EXPECT_TRUE(attacker.ends());
        EXPECT_EQ(attacker.goodbye, Errc::invalid_argument);
        RawClient labeller = client();
        wire::Allocate allocate = make_allocate({8, 8});
        allocate.label = name;
        EXPECT_EQ(labeller.error(allocate), Errc::invalid_argument);
        const UniqueFd memfd = make_memfd(256);
        EXPECT_EQ(labeller.error(wire::Register{make_desc({8, 8}), name, 0}, {memfd.get()}), Errc::invalid_argument);
    }
    EXPECT_EQ(broker.log().find('\x1b'), std::string::npos);
}

TEST_F(Hostile, f01_every_other_number_of_descriptors_ends_the_connection)
{
    const UniqueFd memfd = make_memfd(8192);
    test::for_each_sample([&]<class Message>(const char* name, const Message& message) {
        if constexpr (test::is_in<Message, wire::Request>)
            for (const std::size_t count : {0u, 1u, 2u, 4u, 5u, 16u, 253u}) {
                if (count == message.fd_count()) continue;
                RawClient attacker = client(std::is_same_v<Message, wire::Hello> ? Greeting::no : Greeting::yes);
                attacker.say(message, repeat(memfd.get(), count));
                EXPECT_TRUE(attacker.ends()) << name << " with " << count;
                EXPECT_EQ(attacker.goodbye, Errc::protocol_violation) << name << " with " << count;
            }
    });
}

TEST_F(Hostile, f03_floods_of_descriptors_cut_their_senders_only)
{
    const UniqueFd memfd = make_memfd(4096);
    const std::vector<std::byte> request = encoded(wire::Inspect{});
    const Fds flood = repeat(memfd.get(), 253);
    for (int round = 0; round < 100; ++round) {
        std::vector<RawClient> attackers;
        for (int i = 0; i < 10; ++i) attackers.push_back(client(Greeting::no));
        for (RawClient& attacker : attackers)
            for (int i = 0; i < 3; ++i) attacker.say_bytes(request, flood, false);
        if (round % 10 == 0) bystander_is_served();
    }
}

} // namespace
} // namespace dmb
