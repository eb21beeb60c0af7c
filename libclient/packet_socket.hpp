// SPDX-License-Identifier: MIT
// A connected socket to a broker as one that carries messages: what arrives is decoded, and when it fails
// the broker's goodbye is the reason.
#pragma once
#include "proto/sync/deadline.hpp"
#include "proto/wire/channel.hpp"
#include "proto/wire/codec.hpp"

#include <array>

namespace dmb {

class PacketSocket {
public:
    /// `timeout_ns` (0: none) bounds each send and each receive that waits.
    Result<> open(UniqueFd socket, std::uint64_t timeout_ns);
    void close() { socket_.reset(); }
    int fd() const { return socket_.get(); }

    /// False: it does not fit into the socket now (Wait::no), or did not in time.
    Result<bool> send(std::span<const std::byte> packet, std::span<const int> fds, wire::Wait);
    enum class Received { nothing, message, unknown_event };
    /// Any failure is the end; its code is the goodbye's if there was one.
    Result<Received> receive(wire::Wait);
    /// The last message and its descriptors, until the next receive(). May be moved from.
    wire::Decoded<wire::Reply>& last() { return last_; }
    const wire::Decoded<wire::Reply>& last() const { return last_; }
    wire::PacketFds& fds() { return fds_; }

private:
    std::unexpected<Error> lost(const Error& cause);

    UniqueFd socket_;
    wire::Decoded<wire::Reply> last_;
    wire::PacketFds fds_;
    std::array<std::byte, limits::packet_bytes> buffer_;
};

/// The broker's sentence, as far as it may be shown to a person.
std::string_view shown(std::string_view text);

/// The first exchange on a socket.
Result<wire::HelloReply> exchange_hello(PacketSocket&, const wire::Hello&, std::uint64_t serial, std::uint64_t timeout_ns);

} // namespace dmb
