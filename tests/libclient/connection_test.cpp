// SPDX-License-Identifier: MIT
// The library against a fake broker: what it sends, and what it makes of answers that are late, wrong,
// malformed or missing.
#include "tests/libclient/fake_broker.hpp"
#include "tests/support/fixture.hpp"

#include <fcntl.h>
#include <future>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace dmb::test {
namespace {

using namespace std::chrono_literals;
using dmabroker::Client;

class ConnectionTest : public FdTest {};

constexpr const char* some_token = "00112233445566778899aabbccddeeff";
const FourCC ab24 = fourcc("AB24");

/// The code with which `action` fails; 0 when it does not.
template <class Action> int code_of(Action action)
{
    try {
        action();
        return 0;
    } catch (const dmabroker::Error& error) {
        EXPECT_STRNE(error.what(), "");
        return error.code();
    }
}

bool readable(const Client& client)
{
    pollfd p{client.fd(), POLLIN, 0};
    return ::poll(&p, 1, 0) == 1;
}

/// Answers one open with a sealed memfd.
void serve_image(Peer& peer, std::uint32_t handle = 1, Extent size = {16, 16})
{
    peer.expect<wire::Open>();
    const ImageDesc desc = linear_desc(size, ab24);
    const UniqueFd memory = sealed_memfd(desc.memories[0].size);
    const int fd = memory.get();
    peer.reply(image_reply(desc, handle), {&fd, 1});
}

// ---- hello -------------------------------------------------------------------------------------------

TEST_F(ConnectionTest, hello_tells_the_name_and_version)
{
    wire::Hello hello;
    FakeBroker broker([&](Peer& peer) {
        hello = peer.expect<wire::Hello>();
        peer.reply(wire::HelloReply{});
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client::connect({.remote = broker.path(), .name = "painter"});
    broker.join();
    EXPECT_EQ(hello.name.view(), "painter");
    EXPECT_EQ(hello.magic, wire::magic);
    EXPECT_EQ(hello.newest_version, wire::version);
}

TEST_F(ConnectionTest, nobody_listening_is_no_broker)
{
    EXPECT_EQ(code_of([] { Client::connect({.remote = "/nonexistent/socket"}); }), DMABROKER_NO_BROKER);
}

TEST_F(ConnectionTest, a_path_that_no_socket_can_have_is_an_invalid_argument)
{
    EXPECT_EQ(code_of([] { Client::connect({.remote = std::string(200, 'x')}); }), DMABROKER_INVALID_ARGUMENT);
}

TEST_F(ConnectionTest, an_unprintable_name_is_refused_before_connecting)
{
    EXPECT_EQ(code_of([] { Client::connect({.remote = "/nonexistent/socket", .name = "a\033[31m"}); }),
              DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code_of([] { Client::connect({.remote = "/nonexistent/socket", .name = std::string(65, 'x')}); }),
              DMABROKER_INVALID_ARGUMENT);
}

TEST_F(ConnectionTest, a_goodbye_to_hello_gives_its_code)
{
    FakeBroker broker([](Peer& peer) {
        peer.expect<wire::Hello>();
        peer.event(wire::Goodbye{Errc::unsupported_version, "speak version 9"});
        peer.close();
    });
    EXPECT_EQ(code_of([&] { broker.connect(); }), DMABROKER_UNSUPPORTED_VERSION);
}

TEST_F(ConnectionTest, an_unknown_version_is_refused)
{
    FakeBroker broker([](Peer& peer) {
        peer.expect<wire::Hello>();
        peer.reply(wire::HelloReply{.version = 2});
    });
    EXPECT_EQ(code_of([&] { broker.connect(); }), DMABROKER_UNSUPPORTED_VERSION);
}

TEST_F(ConnectionTest, a_broker_that_says_nothing_times_out)
{
    FakeBroker broker([](Peer& peer) {
        peer.expect<wire::Hello>();
        EXPECT_TRUE(peer.wait_for_end());
    });
    EXPECT_EQ(code_of([&] { broker.connect(30ms); }), DMABROKER_TIMED_OUT);
}

TEST_F(ConnectionTest, a_broker_that_accepts_nothing_times_out)
{
    std::promise<void> done;
    FakeBroker broker([&](Peer&) { done.get_future().wait(); });
    // The first is accepted and never answered; then the backlog of 8 fills.
    std::vector<UniqueFd> crowd;
    for (int i = 0; i < 32; ++i) {
        auto socket = wire::connect(broker.path(), 20'000'000);
        if (!socket) {
            EXPECT_EQ(socket.error().code, Errc::timed_out);
            break;
        }
        crowd.push_back(std::move(*socket));
    }
    EXPECT_LT(crowd.size(), 32u);
    EXPECT_EQ(code_of([&] { broker.connect(20ms); }), DMABROKER_TIMED_OUT);
    done.set_value();
}

TEST_F(ConnectionTest, a_client_socket_is_not_taken_for_a_manager_socket)
{
    FakeBroker broker([](Peer& peer) { peer.greet(false); });
    ::setenv("DMABROKER_REMOTE", "/nonexistent/socket", 1);
    const std::string manager = broker.path() + ".manager";
    ASSERT_EQ(::symlink(broker.path().c_str(), manager.c_str()), 0);
    EXPECT_EQ(code_of([&] { Client::connect({.remote = broker.path(), .manager = true}); }), DMABROKER_DENIED);
    ::unsetenv("DMABROKER_REMOTE");
}

TEST_F(ConnectionTest, the_environment_names_the_socket)
{
    FakeBroker broker([](Peer& peer) { peer.greet(); });
    ::setenv("DMABROKER_REMOTE", broker.path().c_str(), 1);
    EXPECT_EQ(code_of([] { Client::connect(); }), 0);
    ::unsetenv("DMABROKER_REMOTE");
}

TEST_F(ConnectionTest, a_descriptor_in_the_environment_comes_first_and_is_used_once)
{
    FakeBroker broker([](Peer& peer) { peer.greet(); });
    UniqueFd socket = std::move(*wire::connect(broker.path()));
    ::setenv("DMABROKER_REMOTE", "/nonexistent/socket", 1);
    ::setenv("DMABROKER_SOCKET", std::to_string(socket.release()).c_str(), 1);
    EXPECT_EQ(code_of([] { Client::connect(); }), 0);
    EXPECT_EQ(code_of([] { Client::connect(); }), DMABROKER_NO_BROKER);
    ::unsetenv("DMABROKER_REMOTE");
}

TEST_F(ConnectionTest, a_wrong_descriptor_in_the_environment_is_refused)
{
    for (const char* wrong : {"12345", "x", "-1", "3.5"}) {
        ::setenv("DMABROKER_SOCKET", wrong, 1);
        EXPECT_NE(code_of([] { Client::connect(); }), 0) << wrong;
        ::unsetenv("DMABROKER_SOCKET");
    }
}

TEST_F(ConnectionTest, connect_fd_closes_what_is_no_packet_socket)
{
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ::close(pair[1]);
    dmabroker_client* client = nullptr;
    dmabroker_error error{};
    EXPECT_LT(dmabroker_connect_fd(pair[0], nullptr, &client, &error), 0);
    EXPECT_EQ(error.code, DMABROKER_BAD_DESCRIPTOR);
    EXPECT_EQ(client, nullptr);
    EXPECT_LT(dmabroker_connect_fd(-1, nullptr, &client, nullptr), 0);
}

TEST_F(ConnectionTest, connect_fd_makes_a_non_blocking_socket_wait)
{
    FakeBroker broker([](Peer& peer) {
        std::this_thread::yield();
        peer.greet();
    });
    UniqueFd socket = std::move(*wire::connect(broker.path()));
    ASSERT_EQ(::fcntl(socket.get(), F_SETFL, O_NONBLOCK), 0);
    dmabroker_client* client = nullptr;
    EXPECT_EQ(dmabroker_connect_fd(socket.release(), "x", &client, nullptr), 0);
    dmabroker_client_close(client);
}

// ---- answers -----------------------------------------------------------------------------------------

TEST_F(ConnectionTest, an_opened_image_is_as_the_broker_described_it)
{
    wire::Open request;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        request = peer.expect<wire::Open>();
        const ImageDesc desc = linear_desc({17, 5}, fourcc("NV12"));
        const UniqueFd memory = sealed_memfd(desc.memories[0].size);
        const int fd = memory.get();
        wire::ImageReply reply = image_reply(desc, 3);
        reply.rights = Right::read;
        reply.protection = Protection::read_only_descriptor;
        peer.reply(reply, {&fd, 1});
        EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{3});
    });
    Client client = broker.connect();
    const auto image = client.open(some_token, dmabroker::Rights::read, dmabroker::Usage::sample);
    EXPECT_EQ(to_string(request.token), some_token);
    EXPECT_EQ(request.usage, Usage(UsageFlag::sample));
    const dmabroker_image_info& info = image.info();
    EXPECT_EQ(info.struct_size, sizeof info);
    EXPECT_EQ(info.id, 43u);
    EXPECT_EQ(info.width, 17u);
    EXPECT_EQ(info.format, dmabroker::fourcc("NV12"));
    EXPECT_EQ(info.rights, unsigned(DMABROKER_READ));
    EXPECT_EQ(info.protection, unsigned(DMABROKER_PROTECTION_READ_ONLY_DESCRIPTOR));
    EXPECT_EQ(info.plane_count, 2u);
    EXPECT_EQ(info.memory_count, 1u);
    EXPECT_GE(image.fd(), 0);
    EXPECT_LT(image.fd(1), 0);
}

TEST_F(ConnectionTest, an_error_reply_arrives_with_code_and_sentence_and_the_connection_stays)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        peer.reply(wire::ErrorReply{Errc::token_expired, "the token expired; ask for another", {}});
        peer.expect<wire::Open>();
        peer.reply(wire::ErrorReply{Errc::denied, "evil \033[2J text", {}});
        serve_image(peer);
        peer.expect<wire::Release>();
    });
    Client client = broker.connect();
    dmabroker_image* image = nullptr;
    dmabroker_error error{};
    EXPECT_EQ(dmabroker_open(client.native(), some_token, DMABROKER_READ, 0, &image, &error), -ENOENT);
    EXPECT_EQ(error.code, DMABROKER_TOKEN_EXPIRED);
    EXPECT_STREQ(error.text, "the token expired; ask for another");
    EXPECT_EQ(dmabroker_open(client.native(), some_token, DMABROKER_READ, 0, &image, &error), -EACCES);
    EXPECT_STREQ(error.text, "(unprintable reason)");
    EXPECT_EQ(image, nullptr);
    EXPECT_EQ(code_of([&] { client.open(some_token); }), 0);
}

TEST_F(ConnectionTest, arguments_that_the_wire_cannot_carry_are_refused_without_sending)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client client = broker.connect();
    EXPECT_EQ(code_of([&] { client.open("not a token"); }), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code_of([&] { client.open(some_token, dmabroker::Rights::none); }), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code_of([&] { client.open(some_token, static_cast<dmabroker::Rights>(8)); }), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code_of([&] { client.open(some_token, dmabroker::Rights::read, static_cast<dmabroker::Usage>(4096)); }),
              DMABROKER_INVALID_ARGUMENT);
    const auto refused = [&](dmabroker::Allocation allocation) {
        allocation.size = {4, 4};
        allocation.format = ab24.value;
        return code_of([&] { client.allocate(allocation); });
    };
    EXPECT_EQ(refused({.modifiers = std::vector<std::uint64_t>(65)}), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(refused({.backends = 1}), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(refused({.minimum_rung = 6}), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(refused({.label = "two\nlines"}), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(refused({.colour = {.primaries = 300}}), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(refused({.colour = {.range = DMABROKER_RANGE_LIMITED}}), DMABROKER_INVALID_ARGUMENT) << "of RGB";
    EXPECT_EQ(refused({.colour = {.matrix = DMABROKER_MATRIX_BT709}}), DMABROKER_INVALID_ARGUMENT) << "of RGB";
    EXPECT_EQ(refused({.colour = {.siting = 9}}), DMABROKER_UNSUPPORTED);
    EXPECT_EQ(refused({.contents = dmabroker_pixels{}}), DMABROKER_INVALID_ARGUMENT);
}

TEST_F(ConnectionTest, structures_of_another_size_are_judged_by_what_they_carry)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        serve_image(peer);
        peer.expect<wire::MintToken>();
        peer.reply(wire::TokenReply{});
        peer.expect<wire::Release>();
    });
    Client client = broker.connect();
    auto image = client.open(some_token);
    char token[DMABROKER_TOKEN_SIZE];
    dmabroker_error error{};
    struct Newer {
        dmabroker_token_options known;
        std::uint64_t unknown;
    } options{{sizeof(Newer), DMABROKER_READ, 0, 0, 0, 0}, 1};
    EXPECT_LT(dmabroker_image_token(image.native(), &options.known, token, &error), 0);
    EXPECT_EQ(error.code, DMABROKER_UNSUPPORTED);
    options.known.struct_size = 0;
    EXPECT_LT(dmabroker_image_token(image.native(), &options.known, token, &error), 0);
    EXPECT_EQ(error.code, DMABROKER_INVALID_ARGUMENT);
    options.known.struct_size = sizeof options;
    options.unknown = 0;
    EXPECT_EQ(dmabroker_image_token(image.native(), &options.known, token, &error), 0);
    EXPECT_STREQ(token, "00000000000000000000000000000000");
}

// ---- what a broker must not do -------------------------------------------------------------------------

/// Each answers an open in a way that must end the connection.
struct Misbehaviour {
    const char* name;
    std::function<void(Peer&)> answer;
};

class MisbehaviourTest : public FdTest, public ::testing::WithParamInterface<Misbehaviour> {};

TEST_P(MisbehaviourTest, ends_the_connection_and_leaks_nothing)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        GetParam().answer(peer);
    });
    Client client = broker.connect();
    EXPECT_EQ(code_of([&] { client.open(some_token); }), DMABROKER_DISCONNECTED);
    EXPECT_EQ(code_of([&] { client.open(some_token); }), DMABROKER_DISCONNECTED);
    EXPECT_EQ(code_of([&] { client.dispatch(); }), DMABROKER_DISCONNECTED);
    EXPECT_TRUE(readable(client)) << "the end was not told yet";
    const auto event = client.next_event();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->type, DMABROKER_EVENT_DISCONNECTED);
    EXPECT_NE(event->text, "");
    EXPECT_FALSE(client.next_event());
    EXPECT_FALSE(readable(client)) << "a loop that waits before it reconnects would spin";
}

void answer_with(Peer& peer, const ImageDesc& desc, std::size_t fds)
{
    const UniqueFd memory = sealed_memfd(65536);
    const std::array<int, 4> all{memory.get(), memory.get(), memory.get(), memory.get()};
    peer.reply(image_reply(desc), std::span(all).first(fds));
}

const Misbehaviour misbehaviours[] = {
    {"end_of_file", [](Peer& peer) { peer.close(); }},
    {"a_zero_length_packet", [](Peer& peer) { peer.send_bytes({}); }},
    {"garbage",
     [](Peer& peer) {
         const std::array<std::byte, 64> garbage{std::byte{9}};
         peer.send_bytes(garbage);
     }},
    {"a_short_header", [](Peer& peer) { peer.send_bytes(std::array<std::byte, 3>{}); }},
    {"no_descriptor", [](Peer& peer) { answer_with(peer, linear_desc({8, 8}, ab24), 0); }},
    {"too_many_descriptors", [](Peer& peer) { answer_with(peer, linear_desc({8, 8}, ab24), 3); }},
    {"a_plane_past_its_memory",
     [](Peer& peer) {
         ImageDesc desc = linear_desc({8, 8}, ab24);
         desc.planes[0].offset = desc.memories[0].size;
         answer_with(peer, desc, 1);
     }},
    {"a_size_beyond_the_limit",
     [](Peer& peer) {
         ImageDesc desc = linear_desc({8, 8}, ab24);
         desc.size.width = 1u << 31;
         answer_with(peer, desc, 1);
     }},
    {"an_answer_of_another_kind", [](Peer& peer) { peer.reply(wire::Done{}); }},
    {"an_answer_to_another_serial", [](Peer& peer) { peer.send(wire::Done{}, peer.serial() + 1); }},
    {"an_answer_without_serial", [](Peer& peer) { peer.event(wire::Done{}); }},
    {"a_request", [](Peer& peer) { peer.reply(wire::Open{}); }},
    {"goodbye", [](Peer& peer) { peer.event(wire::Goodbye{Errc::too_many_requests, "too many wrong tokens"}); }},
    {"descriptors_on_an_error",
     [](Peer& peer) {
         const UniqueFd memory = sealed_memfd(4096);
         const int fd = memory.get();
         peer.reply(wire::ErrorReply{}, {&fd, 1});
     }},
    {"every_byte_of_an_answer_but_the_last",
     [](Peer& peer) {
         std::array<std::byte, 1024> packet;
         const std::size_t size = wire::encode(wire::ErrorReply{}, peer.serial(), packet).value();
         peer.send_bytes(std::span(packet).first(size - 1));
     }},
};

INSTANTIATE_TEST_SUITE_P(Answers, MisbehaviourTest, ::testing::ValuesIn(misbehaviours),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_F(ConnectionTest, an_image_of_another_size_than_asked_for_ends_the_connection)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Allocate>();
        const ImageDesc desc = linear_desc({8, 7}, ab24);
        const UniqueFd memory = sealed_memfd(desc.memories[0].size);
        const int fd = memory.get();
        peer.reply(image_reply(desc), {&fd, 1});
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client client = broker.connect();
    EXPECT_EQ(code_of([&] { client.allocate({.size = {8, 8}, .format = ab24.value}); }), DMABROKER_DISCONNECTED);
}

TEST_F(ConnectionTest, the_goodbye_of_a_broker_that_left_our_request_unread_is_told)
{
    std::promise<void> said;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        peer.event(wire::Goodbye{Errc::shutting_down, "the machine goes down"});
        pollfd p{peer.socket(), POLLIN, 0};
        ::poll(&p, 1, 10'000); // unread when closed: the kernel reports ECONNRESET first
        peer.close();
        said.set_value();
    });
    Client client = broker.connect();
    try {
        client.open(some_token);
        FAIL();
    } catch (const dmabroker::Error& error) {
        EXPECT_EQ(error.code(), DMABROKER_DISCONNECTED);
        EXPECT_NE(std::string(error.what()).find("the machine goes down"), std::string::npos) << error.what();
    }
    said.get_future().wait();
}

TEST_F(ConnectionTest, the_goodbye_is_told_when_sending_fails)
{
    std::promise<void> gone;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        peer.event(wire::Goodbye{Errc::shutting_down, "the machine goes down"});
        peer.close();
        gone.set_value();
    });
    Client client = broker.connect();
    gone.get_future().wait();
    try {
        client.open(some_token);
        FAIL();
    } catch (const dmabroker::Error& error) {
        EXPECT_NE(std::string(error.what()).find("the machine goes down"), std::string::npos) << error.what();
    }
}

// ---- time ----------------------------------------------------------------------------------------------

TEST_F(ConnectionTest, a_late_answer_is_dropped_with_its_descriptors_and_its_handle_given_back)
{
    std::promise<void> given_up;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        const std::uint64_t late = peer.serial();
        given_up.get_future().wait();
        EXPECT_EQ(peer.expect<wire::Cancel>().request, late);
        peer.reply(wire::ErrorReply{Errc::not_found, "it is done", {}});
        const ImageDesc desc = linear_desc({8, 8}, ab24);
        const UniqueFd memory = sealed_memfd(desc.memories[0].size);
        const int fd = memory.get();
        peer.send(image_reply(desc, 5), late, {&fd, 1});
        peer.expect<wire::Open>();
        peer.reply(wire::ErrorReply{Errc::not_found, "no such token", {}});
        EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{5});
    });
    Client client = broker.connect(500ms);
    EXPECT_EQ(code_of([&] { client.open(some_token); }), DMABROKER_TIMED_OUT);
    given_up.set_value();
    EXPECT_EQ(code_of([&] { client.open(some_token); }), DMABROKER_NOT_FOUND);
}

TEST_F(ConnectionTest, a_flood_of_events_does_not_extend_the_wait)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        try {
            for (;;) peer.event(wire::ImageRevoked{HandleId{1}});
        } catch (const std::exception&) {
        }
    });
    const auto before = std::chrono::steady_clock::now();
    {
        Client client = broker.connect(500ms);
        EXPECT_NE(code_of([&] { client.open(some_token); }), 0);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - before, 60s) << "the flood itself never ends";
}

TEST_F(ConnectionTest, a_broker_that_reads_nothing_blocks_neither_close_nor_the_next_request_for_ever)
{
    std::promise<void> done;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        for (std::uint32_t i = 1; i <= 600; ++i) serve_image(peer, i);
        done.get_future().wait();
        // All 600 handles come back, those that did not fit into the socket before the last request.
        for (std::uint32_t i = 1; i <= 600; ++i) EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{i});
        peer.expect<wire::RevokeImage>();
        peer.reply(wire::Done{});
    });
    Client client = broker.connect(5s);
    {
        std::vector<dmabroker::Image> images;
        for (int i = 0; i < 600; ++i) images.push_back(client.open(some_token));
        for (auto& image : images) {
            const auto closed = std::move(image);
        }
    }
    done.set_value();
    EXPECT_EQ(code_of([&] { client.revoke_image(1); }), 0);
}

// ---- events ----------------------------------------------------------------------------------------------

TEST_F(ConnectionTest, revoked_images_are_told_once_and_closed_ones_never)
{
    std::promise<void> sent;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        serve_image(peer, 1);
        serve_image(peer, 2);
        peer.event(wire::ImageRevoked{HandleId{2}});
        peer.event(wire::ImageRevoked{HandleId{1}});
        peer.event(wire::ImageRevoked{HandleId{1}});
        peer.event(wire::ImageRevoked{HandleId{77}});
        sent.set_value();
        EXPECT_FALSE(peer.wait_for_end()); // the release of image 2
    });
    Client client = broker.connect();
    const auto first = client.open(some_token);
    auto second = std::optional(client.open(some_token));
    EXPECT_FALSE(client.next_event());
    sent.get_future().wait();
    EXPECT_TRUE(readable(client));
    client.dispatch();
    second.reset();
    const auto event = client.next_event();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->type, DMABROKER_EVENT_IMAGE_REVOKED);
    EXPECT_EQ(event->image, first.native());
    EXPECT_FALSE(client.next_event());
}

TEST_F(ConnectionTest, events_between_request_and_answer_are_kept)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        serve_image(peer, 1);
        peer.expect<wire::SetLease>();
        peer.event(wire::ImageRevoked{HandleId{1}});
        peer.reply(wire::Done{});
        EXPECT_FALSE(peer.wait_for_end());
    });
    Client client = broker.connect();
    auto image = client.open(some_token);
    image.set_lease(dmabroker::forever);
    const auto event = client.next_event();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->image, image.native());
}

// ---- lifetimes -------------------------------------------------------------------------------------------

TEST_F(ConnectionTest, images_outlive_their_client)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        serve_image(peer, 1);
        serve_image(peer, 2);
        EXPECT_TRUE(peer.wait_for_end());
    });
    auto client = std::optional(broker.connect());
    auto image = client->open(some_token);
    auto other = std::optional(client->open(some_token));
    client.reset();
    EXPECT_EQ(image.size().width, 16u);
    EXPECT_EQ(code_of([&] { image.token(dmabroker::Rights::read); }), DMABROKER_DISCONNECTED);
    EXPECT_EQ(code_of([&] { image.set_lease(1s); }), DMABROKER_DISCONNECTED);
    other.reset();
    auto mapping = image.map(dmabroker::Direction::write);
    {
        const auto closed = std::move(image);
    }
    auto mapped = mapping.begin(dmabroker::Direction::write);
    mapped.data()[0] = std::byte{1};
    mapped.end();
}

TEST_F(ConnectionTest, null_is_an_error_or_ignored_everywhere)
{
    dmabroker_error error{};
    dmabroker_client_close(nullptr);
    dmabroker_image_close(nullptr);
    dmabroker_cpu_unmap(nullptr);
    dmabroker_free(nullptr);
    EXPECT_EQ(dmabroker_image_get_info(nullptr), nullptr);
    EXPECT_EQ(dmabroker_cpu_data(nullptr, 0), nullptr);
    EXPECT_LT(dmabroker_get_fd(nullptr), 0);
    EXPECT_LT(dmabroker_image_get_fd(nullptr, 0), 0);
    EXPECT_STREQ(dmabroker_code_name(0), "unknown");
    EXPECT_STREQ(dmabroker_code_name(-1), "unknown");
    EXPECT_STREQ(dmabroker_code_name(1 << 20), "unknown");
    EXPECT_STREQ(dmabroker_code_name(DMABROKER_SHUTTING_DOWN), "shutting_down");
    for (const int result :
         {dmabroker_connect(nullptr, nullptr, &error), dmabroker_dispatch(nullptr, &error),
          dmabroker_next_event(nullptr, nullptr), dmabroker_allocate(nullptr, nullptr, nullptr, &error),
          dmabroker_open(nullptr, nullptr, 0, 0, nullptr, &error),
          dmabroker_register(nullptr, nullptr, nullptr, nullptr, 0, nullptr, &error),
          dmabroker_image_token(nullptr, nullptr, nullptr, &error), dmabroker_revoke_token(nullptr, nullptr, &error),
          dmabroker_revoke_image(nullptr, 0, &error), dmabroker_image_set_lease(nullptr, 0, &error),
          dmabroker_inspect(nullptr, 0, nullptr, &error), dmabroker_image_to_json(nullptr, nullptr, &error),
          dmabroker_image_from_json(nullptr, nullptr, &error), dmabroker_cpu_map(nullptr, 0, nullptr, &error),
          dmabroker_cpu_begin(nullptr, 0, &error), dmabroker_cpu_end(nullptr, 0, &error)})
        EXPECT_EQ(result, -EINVAL);
}

TEST_F(ConnectionTest, descriptions_survive_their_json_form)
{
    dmabroker_image_info info{};
    info.struct_size = sizeof info;
    info.width = 17;
    info.height = 5;
    info.format = dmabroker::fourcc("NV12");
    info.kind = DMABROKER_MEMFD;
    info.plane_count = 2;
    info.memory_count = 1;
    info.planes[0].stride = 256;
    info.planes[1] = {0, 256, 4096};
    info.memory_size[0] = 8192;
    info.colour.primaries = DMABROKER_PRIMARIES_BT2020;
    info.colour.transfer = 200; // no word for it
    info.colour.siting = DMABROKER_SITING_TOP_LEFT;
    info.colour.mastering = {{34000, 16000}, {13250, 34500}, {7500, 3000}, {15635, 16450}, 10'000'000, 50};
    info.colour.light = {1000, 65535};
    const std::string text = dmabroker::to_json(info);
    const dmabroker_image_info read = dmabroker::info_from_json(text);
    EXPECT_EQ(dmabroker::to_json(read), text);
    EXPECT_EQ(read.planes[1].offset, 4096u);
    EXPECT_EQ(read.colour.primaries, unsigned(DMABROKER_PRIMARIES_BT2020));
    EXPECT_EQ(read.colour.transfer, 200u);
    EXPECT_EQ(read.colour.matrix, unsigned(DMABROKER_MATRIX_BT2020_NCL)) << "goes with the primaries";
    EXPECT_EQ(read.colour.range, unsigned(DMABROKER_RANGE_LIMITED));
    EXPECT_EQ(read.colour.siting, unsigned(DMABROKER_SITING_TOP_LEFT));
    EXPECT_EQ(read.colour.alpha, unsigned(DMABROKER_ALPHA_STRAIGHT));
    EXPECT_EQ(read.colour.mastering.red.x, 34000u);
    EXPECT_EQ(read.colour.mastering.max_luminance, 10'000'000u);
    EXPECT_EQ(read.colour.light.max_fall, 65535u);
    EXPECT_EQ(code_of([] { dmabroker::info_from_json("{"); }), DMABROKER_INVALID_ARGUMENT);
}

} // namespace
} // namespace dmb::test
