// SPDX-License-Identifier: MIT
// recvmsg and sendmsg with SCM_RIGHTS. Two kernel facts shape it: CMSG_SPACE(sizeof(int)) has room for
// two descriptors and the second arrives without MSG_CTRUNC, so all of them are owned first; and a
// zero-length packet looks like end of file on SEQPACKET, told apart by the control data it may carry
// and by POLLHUP, which is not worth the system call: both end the connection.
#include "proto/wire/channel.hpp"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/time.h>

namespace dmb::wire {
namespace {

/// Owns every descriptor in the control data.
void adopt_fds(msghdr& header, PacketFds& out)
{
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int number;
            std::memcpy(&number, CMSG_DATA(c) + i * sizeof number, sizeof number);
            out.push_back(UniqueFd::adopt(number));
        }
    }
}

} // namespace

RawPacket receive_raw(int socket, std::span<std::byte> buffer, Wait wait)
{
    alignas(cmsghdr) std::byte control[CMSG_SPACE(sizeof(int) * limits::packet_fds)];
    iovec data{buffer.data(), buffer.size()};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    RawPacket packet;
    do packet.size = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC | (wait == Wait::no ? MSG_DONTWAIT : 0));
    while (packet.size < 0 && errno == EINTR);
    if (packet.size < 0) return packet;
    adopt_fds(header, packet.fds);
    packet.truncated = header.msg_flags & (MSG_TRUNC | MSG_CTRUNC | MSG_OOB);
    return packet;
}

Result<std::optional<Packet>> receive(int socket, std::span<std::byte> buffer, Wait wait)
{
    RawPacket packet = receive_raw(socket, buffer, wait);
    if (packet.size < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
        return fail_errno(Errc::disconnected, "receive", errno);
    }
    if (packet.truncated)
        return fail(Errc::protocol_violation, "packet larger than {} bytes or its descriptors did not fit", buffer.size());
    if (packet.size == 0) return fail(Errc::disconnected, "the peer closed the connection");
    return Packet{static_cast<std::size_t>(packet.size), std::move(packet.fds)};
}

Result<std::optional<std::size_t>> receive_plain(int socket, std::span<std::byte> buffer)
{
    iovec data{buffer.data(), buffer.size()};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    ssize_t size;
    do size = ::recvmsg(socket, &header, MSG_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
        return fail_errno(Errc::disconnected, "receive", errno);
    }
    if (header.msg_flags & MSG_CTRUNC)
        return fail(Errc::protocol_violation,
                    "descriptors on this socket; send such requests on the one that open_channel gives");
    if (header.msg_flags & (MSG_TRUNC | MSG_OOB))
        return fail(Errc::protocol_violation, "packet larger than {} bytes", buffer.size());
    if (size == 0) return fail(Errc::disconnected, "the peer closed the connection");
    return static_cast<std::size_t>(size);
}

Result<bool> send(int socket, std::span<const std::byte> packet, std::span<const int> fds, Wait wait)
{
    assert(fds.size() <= limits::packet_fds);
    alignas(cmsghdr) std::byte control[CMSG_SPACE(sizeof(int) * limits::packet_fds)];
    iovec data{const_cast<std::byte*>(packet.data()), packet.size()};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    if (!fds.empty()) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(fds.size_bytes());
        std::memset(control, 0, header.msg_controllen);
        cmsghdr* c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
    }
    ssize_t sent;
    do sent = ::sendmsg(socket, &header, MSG_NOSIGNAL | (wait == Wait::no ? MSG_DONTWAIT : 0));
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) return true;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    // The kernel's limit on descriptors in flight, which this user's other peers may have used up.
    return fail_errno(errno == ETOOMANYREFS ? Errc::too_many_requests : Errc::disconnected, "send", errno);
}

Result<> set_timeout(int socket, std::uint64_t receive_ns, std::uint64_t send_ns)
{
    const auto set = [&](int option, std::uint64_t ns) {
        // A limit below the clock's microsecond must not become "none"; 100 years are none.
        const std::uint64_t us = std::min<std::uint64_t>(ns / 1000 + (ns % 1000 != 0), 3'000'000'000'000'000);
        const timeval limit{static_cast<time_t>(us / 1'000'000), static_cast<suseconds_t>(us % 1'000'000)};
        return ::setsockopt(socket, SOL_SOCKET, option, &limit, sizeof limit) == 0;
    };
    if (set(SO_RCVTIMEO, receive_ns) && set(SO_SNDTIMEO, send_ns)) return {};
    return fail_errno(Errc::internal, "set the time limit of a socket", errno);
}

Result<sockaddr_un> socket_address(std::string_view path)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        return fail(Errc::invalid_argument, "the socket path has {} bytes; 1 to {} are possible", path.size(),
                    sizeof address.sun_path - 1);
    path.copy(address.sun_path, path.size());
    return address;
}

Result<UniqueFd> connect(std::string_view path, std::uint64_t timeout_ns)
{
    const sockaddr_un address = TRY(socket_address(path));
    UniqueFd socket = UniqueFd::adopt(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno(Errc::internal, "create a socket", errno);
    if (timeout_ns) TRY(set_timeout(socket.get(), 0, timeout_ns));
    int connected;
    do connected = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    while (connected < 0 && errno == EINTR);
    if (connected == 0) return socket;
    if (errno == EAGAIN) return fail(Errc::timed_out, "the broker on {} accepts no connection; is it stopped?", path);
    return fail(Errc::no_broker, "no broker on {}: {}; start dmabrokerd or set DMABROKER_REMOTE", path, std::strerror(errno));
}

} // namespace dmb::wire
