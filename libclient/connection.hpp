// SPDX-License-Identifier: MIT
// One connection to a broker: requests and their answers, and the events that come between them.
#pragma once
#include "proto/wire/channel.hpp"
#include "proto/wire/codec.hpp"

#include <array>
#include <optional>
#include <span>
#include <vector>

namespace dmb {

/// A socket that ended stays ended: every later call fails with Errc::disconnected and the reason.
class Connection {
public:
    /// `socket` is connected and blocking; `timeout_ns` (0: none) bounds the wait for every answer.
    Connection(UniqueFd socket, std::uint64_t timeout_ns) : socket_(std::move(socket)), timeout_ns_(timeout_ns) {}
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// The first exchange. Nothing else may be called when it failed.
    Result<wire::HelloReply> hello(std::string_view name);

    /// Sends a request and waits for its answer; anything but an Expected is the error. What is pointed
    /// at, and fds(), stay until the next call of any function.
    template <class Expected, class Message> Result<Expected*> ask(const Message& message, std::span<const int> fds = {});
    /// What came with the last answer. May be moved from.
    wire::PacketFds& fds() { return fds_; }
    /// The answer to the last ask() when it was an ErrorReply, else null.
    const wire::ErrorReply* refusal() const { return refused_ ? std::get_if<wire::ErrorReply>(&reply_.message) : nullptr; }

    /// Gives a handle back. Never waits: what does not fit into the socket goes before the next request.
    void release(HandleId) noexcept;
    /// Reads what is there. Fails when the connection has ended.
    Result<> dispatch();
    /// Ends it because the peer broke a rule that only a later check can see.
    std::unexpected<Error> end(const Error& reason);

    int fd() const { return socket_.get(); }
    std::uint64_t timeout_ns() const { return timeout_ns_; }
    bool ended() const { return end_.has_value(); }
    /// Why it ended. Only when ended().
    const Error& reason() const { return *end_; }
    /// What happened to an image, oldest first.
    using Event = std::variant<wire::ImageRevoked, wire::ImageReplaced>;
    std::optional<Event> take_event();

private:
    template <class Message> Result<bool> send(const Message&, std::uint64_t serial, std::span<const int> fds, wire::Wait);
    std::uint64_t next_serial();
    Result<> flush_releases(wire::Wait);
    Result<> await(std::uint64_t serial, bool on_channel);
    Result<> open_channel();
    std::unexpected<Error> channel_failed(const Error& cause);
    Result<bool> receive(wire::Wait);
    Result<> take_unasked();
    std::unexpected<Error> abandon(std::uint64_t serial);
    std::unexpected<Error> unexpected_answer();
    std::unexpected<Error> lost(const Error& cause);
    std::unexpected<Error> said_goodbye(const wire::Goodbye&);

    UniqueFd socket_;
    UniqueFd channel_; ///< for requests with descriptors, once there were any
    std::optional<wire::ChannelLost> channel_loss_; ///< since the last request was sent
    std::uint64_t timeout_ns_;
    std::uint64_t serial_ = 0;
    wire::Decoded<wire::Reply> reply_;
    wire::PacketFds fds_;
    bool refused_ = false;
    std::optional<Error> end_;
    std::optional<Errc> goodbye_;
    /// Requests whose wait was given up; their answers may still come.
    BoundedVector<std::uint64_t, 16> abandoned_;
    std::vector<HandleId> unsent_releases_;
    std::vector<Event> events_;
    std::array<std::byte, limits::packet_bytes> buffer_;
};

} // namespace dmb
