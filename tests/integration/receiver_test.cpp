// SPDX-License-Identifier: MIT
// dmabroker-receiver by itself, the test in the broker's place: what it lets through, what it refuses, and that whatever
// hangs in it hangs nobody else.
#include "proto/wire/parcel.hpp"
#include "tests/integration/raw_client.hpp"
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"
#include "tests/support/lingering_socket.hpp"
#include "tests/support/silent_file.hpp"

#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb {
namespace {

using test::Fds;
using test::make_memfd;
using Kind = wire::Parcel::Kind;

struct Arrived {
    wire::Parcel head;
    std::string bytes;
    wire::PacketFds fds;
};

std::pair<UniqueFd, UniqueFd> make_pair(int type = SOCK_SEQPACKET)
{
    int ends[2];
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("socketpair");
    return {UniqueFd::adopt(ends[0]), UniqueFd::adopt(ends[1])};
}

/// A client's end of a channel, and the pipe that keeps it open.
struct Client {
    ClientId id;
    UniqueFd socket, life;

    bool say(std::string_view text, const Fds& fds = {}) const
    {
        return wire::send(socket.get(), std::as_bytes(std::span(text)), fds, wire::Wait::yes).value_or(false);
    }
    bool is_at_end(double seconds = 10) const
    {
        pollfd waiting{socket.get(), 0, 0};
        return ::poll(&waiting, 1, static_cast<int>(seconds * 1000)) == 1;
    }
};

class Receiver : public test::FdTest {
protected:
    Receiver()
    {
        auto [ours, theirs] = make_pair();
        control = std::move(ours);
        pid = ::fork();
        if (pid != 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int standard = 0; standard < 3; ++standard) ::dup2(STDERR_FILENO, standard);
        ::dup2(theirs.get(), 3);
        ::close_range(4, ~0U, 0);
        char name[] = "dmabroker-receiver";
        char* argv[] = {name, nullptr};
        ::execv(RECEIVER, argv);
        ::_exit(127);
    }
    ~Receiver() override
    {
        control.reset();
        if (pid > 0) ::kill(pid, SIGKILL), ::waitpid(pid, nullptr, 0);
    }

    Client open(std::uint64_t number)
    {
        auto [ours, theirs] = make_pair();
        int pipe[2];
        EXPECT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
        const UniqueFd reading = UniqueFd::adopt(pipe[0]);
        const int fds[] = {theirs.get(), reading.get()};
        EXPECT_TRUE(wire::send(control.get(), std::as_bytes(std::span(&number, 1)), fds, wire::Wait::yes).value_or(false));
        Client out{ClientId{number}, std::move(ours), UniqueFd::adopt(pipe[1])};
        EXPECT_EQ(hear().head.kind, Kind::opened);
        return out;
    }

    /// What the broker would receive next; kind `ended` of client 0 when nothing comes.
    Arrived hear(double seconds = 10)
    {
        pollfd waiting{control.get(), POLLIN, 0};
        if (::poll(&waiting, 1, static_cast<int>(seconds * 1000)) != 1) return {};
        std::vector<std::byte> bytes(wire::parcel_bytes);
        auto packet = wire::receive(control.get(), bytes, wire::Wait::no);
        if (!packet || !*packet) return {};
        const auto text = std::span(bytes).first((*packet)->size);
        const Result<wire::Parcel> head = wire::read_head(text);
        EXPECT_TRUE(head);
        const auto rest = text.subspan(wire::parcel_head_bytes);
        return {head.value_or(wire::Parcel{}),
                {reinterpret_cast<const char*>(rest.data()), rest.size()},
                std::move((*packet)->fds)};
    }

    void is_served(const Client& client)
    {
        const UniqueFd memory = make_memfd(4096);
        EXPECT_TRUE(client.say("good", {memory.get()}));
        Arrived arrived = hear();
        while (arrived.head.client != client.id && arrived.head.client != ClientId{}) arrived = hear(); // of others
        EXPECT_EQ(arrived.head.kind, Kind::packet) << arrived.head.error.reason.view();
        EXPECT_EQ(arrived.head.client, client.id);
        EXPECT_EQ(arrived.bytes, "good");
        EXPECT_EQ(arrived.fds.size(), 1u);
    }

    void is_refused(const Client& client, const UniqueFd& fd, const char* what)
    {
        ASSERT_TRUE(fd) << what;
        EXPECT_TRUE(client.say(what, {fd.get()}));
        const Arrived arrived = hear();
        EXPECT_EQ(arrived.head.kind, Kind::refused) << what;
        EXPECT_EQ(arrived.head.error.code, Errc::bad_descriptor) << what;
        EXPECT_EQ(arrived.head.descriptors, 1u) << what;
        EXPECT_FALSE(arrived.head.error.reason.empty()) << what;
        EXPECT_EQ(arrived.bytes, what);
        EXPECT_TRUE(arrived.fds.empty()) << what;
    }

    /// All its threads are done with what came: they and the descriptors in each one's table are as many as they are for so
    /// many channels.
    bool is_at_rest_with(std::size_t channels) const
    {
        const std::string task = std::to_string(pid) + "/task";
        std::size_t threads = 0, fds = 0;
        for (const auto& thread : std::filesystem::directory_iterator("/proc/" + task)) {
            ++threads;
            fds += test::count_fds(task + "/" + thread.path().filename().string());
        }
        return threads == 2 + channels && fds == 2 * own_fds + channels * (own_fds + 2);
    }
    bool comes_to_rest_with(std::size_t channels) const
    {
        return test::eventually([&] { return is_at_rest_with(channels); });
    }

    static constexpr std::size_t own_fds = 4; ///< standard ones and the socket to the broker
    UniqueFd control;
    pid_t pid = -1;
};

TEST_F(Receiver, a_packet_with_sealed_memory_is_passed_on_with_its_descriptors)
{
    const Client client = open(7);
    is_served(client);
    const UniqueFd memory = make_memfd(4096);
    EXPECT_TRUE(client.say("three", {memory.get(), memory.get(), memory.get()}));
    EXPECT_EQ(hear().fds.size(), 3u);
}

TEST_F(Receiver, whatever_is_neither_a_dma_buf_nor_a_sealed_memfd_is_refused_and_the_channel_stays)
{
    const Client client = open(7);
    int pipe[2];
    ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    const UniqueFd reading = UniqueFd::adopt(pipe[0]);
    is_refused(client, UniqueFd::adopt(pipe[1]), "a pipe");
    is_refused(client, make_memfd(4096, 0), "an unsealed memfd");
    is_refused(client, UniqueFd::adopt(::open("/", O_PATH | O_CLOEXEC)), "an O_PATH descriptor");
    is_refused(client, UniqueFd::adopt(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), "a folder");
    is_refused(client, UniqueFd::adopt(::eventfd(0, EFD_CLOEXEC)), "an eventfd");
    is_refused(client, UniqueFd::adopt(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)), "a terminal");
    is_refused(client, UniqueFd::adopt(::epoll_create1(EPOLL_CLOEXEC)), "epoll");
    is_refused(client, make_pair().first, "a socket");
    is_served(client);
    EXPECT_TRUE(comes_to_rest_with(1));
}

TEST_F(Receiver, sockets_inside_of_sockets_are_closed)
{
    const Client client = open(7);
    UniqueFd nested = make_memfd(4096, 0);
    for (int depth = 0; depth < 3; ++depth) {
        auto [kept, inner] = make_pair();
        const int fds[] = {nested.get()};
        ASSERT_TRUE(wire::send(kept.get(), std::as_bytes(std::span("x", 1)), fds, wire::Wait::yes).value_or(false));
        nested = std::move(inner);
    }
    is_refused(client, nested, "a socket that holds a socket that holds a socket");
    is_served(client);
}

TEST_F(Receiver, an_empty_packet_and_one_that_is_too_large_end_the_channel)
{
    const UniqueFd memory = make_memfd(4096);
    const Client empty = open(7);
    EXPECT_TRUE(empty.say("", {memory.get()}));
    EXPECT_EQ(hear().head.error.code, Errc::protocol_violation);
    EXPECT_TRUE(empty.is_at_end());
    EXPECT_EQ(hear().head.kind, Kind::ended);
    const Client large = open(8);
    EXPECT_TRUE(large.say(std::string(limits::packet_bytes + 1, 'x'), {memory.get()}));
    const Arrived arrived = hear();
    EXPECT_EQ(arrived.head.kind, Kind::cut);
    EXPECT_EQ(arrived.head.error.code, Errc::protocol_violation);
    EXPECT_TRUE(large.is_at_end());
}

TEST_F(Receiver, the_largest_packet_is_passed_on)
{
    const Client client = open(7);
    const UniqueFd memory = make_memfd(4096);
    EXPECT_TRUE(client.say(std::string(limits::packet_bytes, 'x'), {memory.get()}));
    EXPECT_EQ(hear().bytes.size(), limits::packet_bytes);
}

TEST_F(Receiver, a_client_that_leaves_is_reported_when_nothing_of_it_is_left)
{
    Client client = open(7);
    client.socket.reset();
    const Arrived arrived = hear();
    EXPECT_EQ(arrived.head.kind, Kind::ended);
    EXPECT_EQ(arrived.head.client, client.id);
    EXPECT_TRUE(comes_to_rest_with(0));
}

TEST_F(Receiver, a_channel_that_the_broker_no_longer_wants_ends)
{
    Client client = open(7);
    client.life.reset();
    EXPECT_TRUE(client.is_at_end());
    EXPECT_EQ(hear().head.kind, Kind::ended);
}

TEST_F(Receiver, a_broker_that_reads_nothing_holds_the_clients_up_and_loses_nothing)
{
    const Client client = open(7);
    const UniqueFd memory = make_memfd(4096);
    const int fds[] = {memory.get()};
    const std::string text(8192, 'x');
    // Until both sockets are full.
    int sent = 0;
    while (test::eventually(
        [&] { return wire::send(client.socket.get(), std::as_bytes(std::span(text)), fds, wire::Wait::no).value_or(false); },
        0.3))
        ++sent;
    int arrived = 0;
    while (arrived < sent && hear().head.kind == Kind::packet) ++arrived;
    EXPECT_EQ(arrived, sent);
    is_served(client);
}

TEST_F(Receiver, it_ends_with_the_brokers_socket)
{
    const Client client = open(7);
    control.reset();
    EXPECT_TRUE(client.is_at_end());
    EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
    pid = -1;
}

// --- what hangs --------------------------------------------------------------------------------

TEST_F(Receiver, a_file_that_cannot_be_closed_is_refused_and_its_sender_goes_on)
{
    const Client hostile = open(7), other = open(8);
    test::SilentFile file;
    if (!file.missing().empty()) GTEST_SKIP() << file.missing();
    EXPECT_TRUE(hostile.say("hang", {file.fd()}));
    const Arrived refused = hear();
    EXPECT_EQ(refused.head.kind, Kind::refused);
    EXPECT_EQ(refused.head.error.code, Errc::bad_descriptor);
    EXPECT_TRUE(file.is_being_closed());
    is_served(hostile);
    is_served(other);
}

TEST_F(Receiver, a_client_whose_descriptors_pile_up_is_cut_and_no_other)
{
    const Client hostile = open(7), other = open(8);
    test::SilentFile file;
    if (!file.missing().empty()) GTEST_SKIP() << file.missing();
    int refused = 0;
    Arrived last;
    do {
        EXPECT_TRUE(hostile.say("hang", {file.fd()}));
        last = hear();
    } while (last.head.kind == Kind::refused && ++refused < 4);
    EXPECT_EQ(refused, 4);
    last = hear();
    EXPECT_EQ(last.head.kind, Kind::cut);
    EXPECT_EQ(last.head.error.code, Errc::bad_descriptor);
    EXPECT_EQ(last.head.client, hostile.id);
    EXPECT_TRUE(hostile.is_at_end());
    is_served(other);
    EXPECT_EQ(hear(0.2).head.client, ClientId{}) << "it is reported as ended while it hangs";
}

TEST_F(Receiver, many_clients_with_hanging_descriptors_disturb_no_other)
{
    const Client other = open(1);
    std::vector<Client> hostile;
    for (std::uint64_t i = 0; i < 12; ++i) hostile.push_back(open(100 + i));
    test::SilentFile file;
    if (!file.missing().empty()) GTEST_SKIP() << file.missing();
    for (int round = 0; round < 3; ++round)
        for (const Client& client : hostile) client.say("hang", {file.fd()});
    int refused = 0;
    for (Arrived arrived = hear(); arrived.head.client != ClientId{} && refused < 33; arrived = hear(3))
        refused += arrived.head.kind == Kind::refused;
    EXPECT_GE(refused, 32);
    is_served(other);
}

TEST_F(Receiver, killed_while_descriptors_hang_it_leaves_no_socket_open)
{
    const Client hostile = open(7), other = open(8);
    auto file = std::make_unique<test::SilentFile>();
    if (!file->missing().empty()) GTEST_SKIP() << file->missing();
    EXPECT_TRUE(hostile.say("hang", {file->fd()}));
    EXPECT_EQ(hear().head.kind, Kind::refused);
    EXPECT_TRUE(file->is_being_closed());
    ::kill(pid, SIGKILL);
    EXPECT_TRUE(hostile.is_at_end());
    EXPECT_TRUE(other.is_at_end());
    std::byte byte;
    EXPECT_EQ(::recv(control.get(), &byte, 1, 0), 0);
    EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), 0) << "the kernel cannot end it yet";
    file.reset();
    EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
    pid = -1;
}

TEST_F(Receiver, a_socket_that_lingers_holds_nobody_up)
{
    const Client hostile = open(7), other = open(8);
    test::LingeringSocket lingering(30);
    EXPECT_TRUE(hostile.say("linger", {lingering.fd()}));
    lingering.give_away();
    EXPECT_EQ(hear().head.kind, Kind::refused);
    is_served(hostile);
    is_served(other);
    lingering.end();
}

TEST_F(Receiver, sockets_that_linger_in_a_channel_nobody_reads_any_more_hold_nobody_up)
{
    Client hostile = open(7);
    const Client other = open(8);
    ::kill(pid, SIGSTOP);
    test::LingeringSocket first(30), second(30);
    EXPECT_TRUE(hostile.say("", {first.fd()}));
    EXPECT_TRUE(hostile.say("linger", {second.fd()}));
    first.give_away(), second.give_away();
    hostile.socket.reset();
    ::kill(pid, SIGCONT);
    EXPECT_EQ(hear().head.kind, Kind::cut);
    is_served(other);
    first.end(), second.end();
    EXPECT_EQ(hear().head.kind, Kind::ended);
}

} // namespace
} // namespace dmb
