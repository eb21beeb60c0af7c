// SPDX-License-Identifier: MIT
// The fd-passing socket against a peer that sends too many descriptors, oversized packets, nothing,
// or strange control messages. Every test counts descriptors: what was received must be gone.
#include "proto/wire/channel.hpp"
#include "tests/support/fixture.hpp"

#include <cstring>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace dmb::wire {
namespace {

class Channel : public test::FdTest {
protected:
    Channel()
    {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
            ours = UniqueFd::adopt(ends[0]);
            theirs = UniqueFd::adopt(ends[1]);
        }
    }
    static UniqueFd make_fd() { return UniqueFd::adopt(::eventfd(0, EFD_CLOEXEC)); }

    /// A packet as a hostile peer would build it: `parts` SCM_RIGHTS messages of `each` descriptors.
    void send_raw(std::size_t bytes, std::size_t parts, std::size_t each)
    {
        const UniqueFd fd = make_fd();
        const std::vector<int> fds(each, fd.get());
        std::vector<char> data(bytes, 'x'), control(parts * CMSG_SPACE(each * sizeof(int)));
        iovec vector{data.data(), data.size()};
        msghdr header{};
        header.msg_iov = &vector;
        header.msg_iovlen = 1;
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        std::size_t left = parts;
        for (cmsghdr* c = CMSG_FIRSTHDR(&header); c && left > 0; --left) {
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(each * sizeof(int));
            std::memcpy(CMSG_DATA(c), fds.data(), each * sizeof(int));
            c = CMSG_NXTHDR(&header, c);
        }
        ASSERT_EQ(::sendmsg(theirs.get(), &header, MSG_NOSIGNAL), static_cast<ssize_t>(bytes)) << std::strerror(errno);
    }
    Result<std::optional<Packet>> take() { return receive(ours.get(), buffer, Wait::no); }
    Errc take_error()
    {
        const auto packet = take();
        return packet ? Errc{} : packet.error().code;
    }

    UniqueFd ours, theirs;
    std::vector<std::byte> buffer = std::vector<std::byte>(limits::packet_bytes);
};

TEST_F(Channel, a_packet_arrives_with_its_descriptors_in_order_and_close_on_exec)
{
    const UniqueFd a = make_fd(), b = make_fd();
    const int fds[] = {a.get(), b.get()};
    const std::byte bytes[] = {std::byte{1}, std::byte{2}, std::byte{3}};
    ASSERT_TRUE(send(theirs.get(), bytes, fds, Wait::yes).value());
    const std::uint64_t seven = 7;
    ASSERT_EQ(::write(b.get(), &seven, sizeof seven), 8);
    auto packet = take();
    ASSERT_TRUE(packet && *packet);
    EXPECT_EQ((*packet)->size, 3u);
    EXPECT_EQ(std::memcmp(buffer.data(), bytes, 3), 0);
    ASSERT_EQ((*packet)->fds.size(), 2u);
    EXPECT_EQ(::fcntl((*packet)->fds[0].get(), F_GETFD), FD_CLOEXEC);
    std::uint64_t got = 0;
    EXPECT_EQ(::read((*packet)->fds[1].get(), &got, sizeof got), 8);
    EXPECT_EQ(got, 7u);
}

TEST_F(Channel, nothing_there_is_not_an_error)
{
    const auto packet = take();
    ASSERT_TRUE(packet);
    EXPECT_FALSE(*packet);
}

TEST_F(Channel, packets_keep_their_borders)
{
    const std::vector<std::byte> one(1), whole(limits::packet_bytes);
    ASSERT_TRUE(send(theirs.get(), one, {}, Wait::yes).value());
    ASSERT_TRUE(send(theirs.get(), whole, {}, Wait::yes).value());
    EXPECT_EQ(take().value()->size, 1u);
    EXPECT_EQ(take().value()->size, limits::packet_bytes);
}

TEST_F(Channel, a_packet_carries_as_many_descriptors_as_the_kernel_takes)
{
    for (const std::size_t count : {9u, 32u, 253u}) {
        send_raw(8, 1, count);
        EXPECT_EQ(take().value()->fds.size(), count);
    }
}

TEST_F(Channel, two_control_messages_with_descriptors_count_together)
{
    send_raw(8, 2, 5);
    EXPECT_EQ(take().value()->fds.size(), 10u);
}

TEST_F(Channel, a_packet_larger_than_the_buffer_is_a_violation_and_its_descriptors_are_closed)
{
    send_raw(limits::packet_bytes + 1, 1, 2);
    EXPECT_EQ(take_error(), Errc::protocol_violation);
    send_raw(2 * limits::packet_bytes, 1, 200);
    EXPECT_EQ(take_error(), Errc::protocol_violation);
}

TEST_F(Channel, an_empty_packet_with_descriptors_ends_the_connection_and_closes_them)
{
    send_raw(0, 1, 3);
    EXPECT_NE(take_error(), Errc{});
}

TEST_F(Channel, an_empty_packet_ends_the_connection)
{
    ASSERT_EQ(::send(theirs.get(), "", 0, 0), 0);
    EXPECT_NE(take_error(), Errc{});
}

TEST_F(Channel, a_closed_peer_is_disconnected)
{
    theirs.reset();
    EXPECT_EQ(take_error(), Errc::disconnected);
    const std::byte byte{};
    const auto sent = send(ours.get(), {&byte, 1}, {}, Wait::yes);
    ASSERT_FALSE(sent) << "and no SIGPIPE ended this test";
    EXPECT_EQ(sent.error().code, Errc::disconnected);
}

TEST_F(Channel, what_was_sent_before_the_peer_closed_still_arrives)
{
    send_raw(4, 1, 1);
    theirs.reset();
    EXPECT_EQ(take().value()->size, 4u);
    EXPECT_EQ(take_error(), Errc::disconnected);
}

TEST_F(Channel, credentials_are_not_taken_for_descriptors)
{
    const int on = 1;
    ASSERT_EQ(::setsockopt(ours.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    send_raw(8, 1, 2);
    EXPECT_EQ(take().value()->fds.size(), 2u);
}

TEST_F(Channel, a_full_socket_is_told_from_a_broken_one)
{
    const std::vector<std::byte> bytes(4096);
    bool full = false;
    for (int i = 0; i < 10'000 && !full; ++i) full = !send(theirs.get(), bytes, {}, Wait::no).value();
    EXPECT_TRUE(full);
}

TEST_F(Channel, unread_descriptors_die_with_the_socket)
{
    for (int i = 0; i < 10; ++i) send_raw(8, 1, 4);
    ours.reset();
}

TEST_F(Channel, connecting_to_nobody_says_what_to_do)
{
    const auto nobody = connect("/nonexistent/dmabroker");
    ASSERT_FALSE(nobody);
    EXPECT_EQ(nobody.error().code, Errc::no_broker);
    EXPECT_NE(nobody.error().reason.view().find("start dmabrokerd"), std::string_view::npos);
}

TEST_F(Channel, a_path_that_no_socket_can_have_is_refused)
{
    EXPECT_EQ(connect("").error().code, Errc::invalid_argument);
    EXPECT_EQ(connect(std::string(sizeof(sockaddr_un::sun_path), 'x')).error().code, Errc::invalid_argument);
}

TEST_F(Channel, connects_to_a_listening_socket)
{
    const std::string path = ::testing::TempDir() + "dmabroker-channel-" + std::to_string(::getpid());
    const UniqueFd listener = UniqueFd::adopt(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    EXPECT_TRUE(connect(path));
    ::unlink(path.c_str());
    EXPECT_EQ(connect(path).error().code, Errc::no_broker);
}

} // namespace
} // namespace dmb::wire
