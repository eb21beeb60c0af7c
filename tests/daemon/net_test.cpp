// SPDX-License-Identifier: MIT
// The parts of the connection that need no event loop: unread replies, sockets handed over, lock, log, peers.
#include "daemon/net/activation.hpp"
#include "daemon/net/listener.hpp"
#include "daemon/net/outbox.hpp"
#include "daemon/policy/log_budget.hpp"
#include "daemon/policy/peer.hpp"
#include "proto/wire/channel.hpp"
#include "tests/daemon/broker_fixture.hpp"

#include <climits>
#include <functional>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

namespace dmb::test {
namespace {

class Replies : public FdTest {
protected:
    Replies()
    {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
        ours = UniqueFd::adopt(ends[0]);
        theirs = UniqueFd::adopt(ends[1]);
    }
    ~Replies() override
    {
        ours.reset();
        theirs.reset();
    }
    Outbox::Sent send(std::size_t fds, std::size_t size = 200)
    {
        const std::vector<std::byte> packet(size);
        const std::vector<int> numbers(fds, ours.get());
        return outbox.send(ours.get(), packet, numbers);
    }
    void read_one()
    {
        std::vector<std::byte> buffer(limits::packet_bytes);
        ASSERT_TRUE(wire::receive(theirs.get(), buffer, wire::Wait::yes));
    }

    InFlight in_flight{.fds = 0, .limit = 1000};
    UniqueFd ours, theirs;
    Outbox outbox{in_flight};
};

TEST_F(Replies, thirty_two_unread_descriptors_are_sent_and_not_one_more)
{
    for (std::size_t i = 0; i < limits::unread_fds; ++i) ASSERT_EQ(send(1), Outbox::Sent::yes) << i;
    EXPECT_EQ(send(1), Outbox::Sent::too_much_unread);
    EXPECT_EQ(in_flight.fds, limits::unread_fds);
}

TEST_F(Replies, packets_of_several_descriptors_are_counted_whole)
{
    for (std::size_t i = 0; i < limits::unread_fds / 4; ++i) ASSERT_EQ(send(4), Outbox::Sent::yes) << i;
    EXPECT_EQ(send(1), Outbox::Sent::too_much_unread);
    EXPECT_EQ(send(0), Outbox::Sent::yes);
}

TEST_F(Replies, a_peer_that_reads_is_served_for_ever)
{
    for (int i = 0; i < 1000; ++i) {
        ASSERT_EQ(send(4), Outbox::Sent::yes) << i;
        read_one();
    }
    EXPECT_LE(in_flight.fds, limits::unread_fds);
}

TEST_F(Replies, a_peer_that_stays_a_few_behind_is_served_for_ever)
{
    for (int i = 0; i < 8; ++i) ASSERT_EQ(send(1), Outbox::Sent::yes);
    for (int i = 0; i < 1000; ++i) {
        ASSERT_EQ(send(1), Outbox::Sent::yes) << i;
        read_one();
    }
}

TEST_F(Replies, unread_bytes_are_bounded_too)
{
    std::size_t sent = 0;
    while (send(0, 3000) == Outbox::Sent::yes) sent += 3000;
    EXPECT_LE(sent, limits::queued_bytes);
    EXPECT_GT(sent, limits::queued_bytes / 2);
}

TEST_F(Replies, the_sum_over_all_peers_is_bounded)
{
    in_flight.limit = 3;
    EXPECT_EQ(send(2), Outbox::Sent::yes);
    EXPECT_EQ(send(2), Outbox::Sent::too_many_in_flight);
    EXPECT_EQ(send(0), Outbox::Sent::yes);
    EXPECT_EQ(send(1), Outbox::Sent::yes);
}

TEST_F(Replies, a_peer_that_left_is_noticed)
{
    theirs.reset();
    EXPECT_EQ(send(1), Outbox::Sent::gone);
    EXPECT_EQ(in_flight.fds, 0u);
}

class Activation : public FdTest {
protected:
    void SetUp() override
    {
        ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
        ::unsetenv("LISTEN_FDNAMES");
    }
    void TearDown() override { ::unsetenv("LISTEN_PID"); }
    /// In another process, whose descriptors from 3 on are these; -1: not open.
    static int with_descriptors(const std::vector<int>& fds, const std::function<bool()>& holds)
    {
        const pid_t child = ::fork();
        if (child == 0) {
            // Out of the way first: they may lie where others shall be.
            std::vector<int> copies;
            for (const int fd : fds) copies.push_back(fd < 0 ? -1 : ::fcntl(fd, F_DUPFD, 200));
            for (std::size_t i = 0; i < fds.size(); ++i) {
                ::close(static_cast<int>(3 + i));
                if (copies[i] >= 0) ::dup2(copies[i], static_cast<int>(3 + i));
            }
            ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
            ::setenv("LISTEN_FDS", std::to_string(fds.size()).c_str(), 1);
            ::_exit(holds() ? 0 : 1);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        return status;
    }
    static UniqueFd listening(int type = SOCK_SEQPACKET)
    {
        UniqueFd out = UniqueFd::adopt(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
        const sockaddr_un anywhere{.sun_family = AF_UNIX, .sun_path = {}};
        EXPECT_EQ(::bind(out.get(), reinterpret_cast<const sockaddr*>(&anywhere), sizeof(sa_family_t)), 0);
        EXPECT_EQ(::listen(out.get(), 1), 0);
        return out;
    }
};

TEST_F(Activation, without_variables_nothing_is_taken)
{
    ::unsetenv("LISTEN_PID");
    ::setenv("LISTEN_FDS", "1", 1);
    EXPECT_TRUE(take_handed()->sockets.empty());
    EXPECT_EQ(::getenv("LISTEN_FDS"), nullptr) << "children must not see it";
}

TEST_F(Activation, variables_meant_for_another_process_are_ignored)
{
    ::setenv("LISTEN_PID", "1", 1);
    ::setenv("LISTEN_FDS", "1", 1);
    EXPECT_TRUE(take_handed()->sockets.empty());
}

TEST_F(Activation, what_is_no_number_is_refused)
{
    for (const char* count : {"", "x", "-1", "99999999999", "1x"}) {
        ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
        ::setenv("LISTEN_FDS", count, 1);
        EXPECT_FALSE(take_handed()) << count;
    }
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "0", 1);
    EXPECT_TRUE(take_handed()->sockets.empty());
}

TEST_F(Activation, unknown_descriptors_are_kept_aside_with_their_names_and_not_inherited)
{
    const UniqueFd clients = listening(), managers = listening(), stream = listening(SOCK_STREAM);
    const UniqueFd memory = *create_memfd("stored", 4096, 0);
    ::setenv("LISTEN_FDNAMES", "image-7:client:wrong:manager", 1);
    EXPECT_EQ(with_descriptors({memory.get(), clients.get(), stream.get(), managers.get()},
                               [] {
                                   const Result<Handed> handed = take_handed();
                                   return handed && handed->sockets.size() == 2 && !handed->sockets[0].manager &&
                                          handed->sockets[1].manager && handed->kept.size() == 2 &&
                                          handed->kept[0].name == "image-7" && handed->kept[0].fd.get() == 3 &&
                                          ::fcntl(3, F_GETFD) == FD_CLOEXEC && handed->kept[1].name == "wrong" &&
                                          handed->kept[1].fd.get() == 5 && ::fcntl(5, F_GETFD) == FD_CLOEXEC;
                               }),
              0);
}

TEST_F(Activation, sockets_without_names_are_told_apart_by_their_order_whatever_lies_between)
{
    const UniqueFd clients = listening(), managers = listening(), memory = *create_memfd("stored", 4096, 0);
    EXPECT_EQ(with_descriptors({memory.get(), clients.get(), memory.get(), managers.get()},
                               [] {
                                   const Result<Handed> handed = take_handed();
                                   return handed && handed->sockets.size() == 2 && !handed->sockets[0].manager &&
                                          handed->sockets[1].manager;
                               }),
              0);
}

TEST_F(Activation, a_hundred_descriptors_are_taken_and_those_that_are_not_open_are_left_out)
{
    const UniqueFd memory = *create_memfd("stored", 4096, 0);
    std::vector<int> fds(100, memory.get());
    fds[50] = -1;
    EXPECT_EQ(with_descriptors(fds,
                               [] {
                                   const Result<Handed> handed = take_handed();
                                   return handed && handed->sockets.empty() && handed->kept.size() == 99;
                               }),
              0);
    EXPECT_EQ(with_descriptors({},
                               [] {
                                   ::setenv("LISTEN_FDS", std::to_string(INT_MAX).c_str(), 1);
                                   return take_handed().has_value();
                               }),
              0);
}

TEST_F(Activation, a_notify_socket_is_not_inherited)
{
    ::setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
    const Notifier notifier = Notifier::from_environment();
    EXPECT_EQ(::getenv("NOTIFY_SOCKET"), nullptr);
    notifier.tell("READY=1");
    Notifier().tell("READY=1");
}

class Path : public FdTest {
protected:
    void SetUp() override
    {
        char pattern[] = "/tmp/dmabroker-unit-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern), nullptr);
        folder = pattern;
        path = folder + "/broker";
    }
    void TearDown() override { std::filesystem::remove_all(folder); }
    std::string folder, path;
};

TEST_F(Path, has_one_owner_at_a_time_and_is_tidied_up)
{
    {
        const auto first = PathLock::take(path);
        ASSERT_TRUE(first);
        EXPECT_EQ(PathLock::take(path).error().code, Errc::denied);
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder));
    EXPECT_TRUE(PathLock::take(path));
}

TEST_F(Path, a_stale_socket_is_replaced_and_a_file_is_not)
{
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(listen_on(path, 0600));
    EXPECT_TRUE(wire::connect(path).error().code == Errc::no_broker);
    std::filesystem::remove(path);
    UniqueFd::adopt(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)).reset();
    EXPECT_FALSE(listen_on(path, 0600));
    EXPECT_TRUE(std::filesystem::is_regular_file(path));
}

TEST_F(Path, on_which_somebody_listens_is_left_alone)
{
    const auto theirs = listen_on(path, 0600);
    EXPECT_EQ(listen_on(path, 0600).error().code, Errc::denied);
    EXPECT_TRUE(wire::connect(path));
}

TEST_F(Path, that_does_not_fit_an_address_is_refused)
{
    EXPECT_EQ(listen_on(std::string(200, 'x'), 0600).error().code, Errc::invalid_argument);
    EXPECT_EQ(listen_on("", 0600).error().code, Errc::invalid_argument);
}

TEST_F(Path, gets_the_mode_asked_for)
{
    const auto listening = listen_on(path, 0600);
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
}

class PeerTest : public FdTest {};

TEST_F(PeerTest, p10_users_that_look_alike_do_not_share_an_account)
{
    // In a new user namespace without a map, this very user is one of those that cannot be named.
    const pid_t child = ::fork();
    if (child == 0) {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0 || ::unshare(CLONE_NEWUSER) != 0) ::_exit(2);
        const Result<Peer> peer = peer_of(ends[0]);
        const bool apart = peer && peer->unmapped && account_key(*peer, 1) != account_key(*peer, 2);
        ::_exit(apart && account_key(*peer, 1) != peer->uid && peer->may_reopen ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) GTEST_SKIP() << "this machine allows no user namespace";
    EXPECT_EQ(status, 0);

    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const UniqueFd ours = UniqueFd::adopt(ends[0]), theirs = UniqueFd::adopt(ends[1]);
    const Result<Peer> self = peer_of(ours.get());
    ASSERT_TRUE(self);
    EXPECT_FALSE(self->unmapped);
    EXPECT_EQ(self->uid, ::getuid());
    EXPECT_TRUE(self->may_reopen) << "what this user made";
    EXPECT_EQ(account_key(*self, 1), account_key(*self, 2)) << "a user that can be named has one account";
}

TEST(LogBudget, a_flood_of_one_user_is_cut_short_and_counted)
{
    LogBudget budget;
    Instant now{1};
    int lines = 0;
    for (int i = 0; i < 1000; ++i) lines += budget.spend(1, now).has_value();
    EXPECT_EQ(lines, 10);
    EXPECT_TRUE(budget.spend(2, now)) << "others are still heard";
    now = after(now, 10 * second);
    EXPECT_EQ(budget.spend(1, now), 990u);
    EXPECT_EQ(budget.spend(1, now), 0u);
}

} // namespace
} // namespace dmb::test
