// SPDX-License-Identifier: MIT
// The fd-passing socket: one SOCK_SEQPACKET packet is one message with its descriptors. Every received
// descriptor is owned and close-on-exec before anything is judged; a truncated packet or control
// message is a violation and closes them all.
#pragma once
#include "proto/base/unique_fd.hpp"
#include "proto/wire/codec.hpp"

#include <optional>
#include <span>
#include <string_view>
#include <sys/un.h>

namespace dmb::wire {

enum class Wait : bool { no, yes };

struct Packet {
    std::size_t size = 0; ///< bytes in the caller's buffer
    PacketFds fds;
};

/// `buffer` should be limits::packet_bytes large. Nothing there and Wait::no: an empty optional.
/// Errc::disconnected: the peer is gone. Errc::protocol_violation: drop the peer.
Result<std::optional<Packet>> receive(int socket, std::span<std::byte> buffer, Wait);

/// A packet as it came, not judged. For the receiver process, which tells the broker what came before it closes a descriptor,
/// because that may take for ever.
struct RawPacket {
    ssize_t size = 0; ///< below 0: errno says why
    bool truncated = false;
    PacketFds fds;
};
RawPacket receive_raw(int socket, std::span<std::byte> buffer, Wait);

/// For a socket that takes no descriptors, without waiting: the packet's size. Descriptors that come all the same are
/// dropped by the kernel without becoming this process's, so that it never has to close them, and are a violation.
Result<std::optional<std::size_t>> receive_plain(int socket, std::span<std::byte> buffer);

/// Borrows `fds`, at most limits::packet_fds. False: the socket's buffer is full (Wait::no only). Never raises SIGPIPE.
/// Errc::too_many_requests: too many descriptors are in flight for this user; without them it would go.
Result<bool> send(int socket, std::span<const std::byte> packet, std::span<const int> fds, Wait);

/// Of a socket in the file system.
Result<sockaddr_un> socket_address(std::string_view path);
/// Connects to a listening SEQPACKET socket in the file system. Errc::no_broker when nobody listens,
/// Errc::timed_out when the listener's queue stays full for `timeout_ns` (0: no limit), which then also
/// limits every send.
Result<UniqueFd> connect(std::string_view path, std::uint64_t timeout_ns = 0);
/// Limits each receive and send with Wait::yes; 0: no limit.
Result<> set_timeout(int socket, std::uint64_t receive_ns, std::uint64_t send_ns);

} // namespace dmb::wire
