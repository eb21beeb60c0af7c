// SPDX-License-Identifier: MIT
// A SEQPACKET socketpair, as applications use beside the broker: tokens and semaphores travel here, never through
// the broker. Both ends are this test's, so what arrives is trusted but for a peer that died.
#include "tests/drm/opaque_paths/link.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/time.h>

namespace dmb::paths {
namespace {

constexpr timeval patience{60, 0};

union Control {
    cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

void attach(msghdr& message, Control& control, int fd)
{
    control = {};
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
}

UniqueFd take_fd(msghdr& message)
{
    int fd = -1;
    if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header && header->cmsg_type == SCM_RIGHTS)
        std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return UniqueFd::adopt(fd);
}

} // namespace

LinkPair LinkPair::make()
{
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("socketpair failed");
    return {UniqueFd::adopt(ends[0]), UniqueFd::adopt(ends[1])};
}

Link::Link(UniqueFd socket) : socket_(std::move(socket))
{
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

void Link::send(const std::string& text, int fd)
{
    iovec part{const_cast<char*>(text.data()), text.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    Control control;
    if (fd >= 0) attach(message, control, fd);
    if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) < 0) throw PeerLeft();
}

std::string Link::receive()
{
    UniqueFd none;
    return receive(none);
}

std::string Link::receive(UniqueFd& fd)
{
    std::array<char, 4096> buffer;
    iovec part{buffer.data(), buffer.size()};
    Control control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EAGAIN) throw std::runtime_error("the other process sent nothing for a minute");
    if (got <= 0) throw PeerLeft();
    fd = take_fd(message);
    return {buffer.data(), static_cast<std::size_t>(got)};
}

void Link::expect(const std::string& word, UniqueFd* fd)
{
    UniqueFd came;
    const std::string text = receive(came);
    if (text != word) throw std::runtime_error("expected '" + word + "' from the other process, got '" + text + "'");
    if (fd) *fd = std::move(came);
}

} // namespace dmb::paths
