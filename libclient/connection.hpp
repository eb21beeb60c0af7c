// SPDX-License-Identifier: MIT
// One client's connection to a broker, over all its sockets: requests and their answers, and events.
#pragma once
#include "libclient/packet_socket.hpp"
#include "libclient/readiness.hpp"
#include "libclient/requests.hpp"

#include <string>

namespace dmb {

/// What it takes to connect again.
struct Address {
    std::string path; ///< of the socket; empty: it was handed over, and cannot be made anew
    Name name;
    std::uint64_t timeout_ns = 0; ///< for every answer; 0: none
    bool manager = false;
};

/// A connection that ended stays ended until reconnect(): every other call fails with Errc::disconnected
/// and the reason.
class Connection {
public:
    explicit Connection(Address address) : address_(std::move(address)) {}
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Says hello. `socket` is connected and blocking. Nothing else may be called when it failed.
    Result<> open(UniqueFd socket);
    /// Only when ended(). True: the broker goes on with this client, and everything outstanding was sent again.
    /// False: this is a new client, nothing is outstanding.
    Result<bool> reconnect();
    /// Whether outstanding requests may still be answered after the end.
    bool can_resume() const { return resume_ != ResumeKey{} && !address_.path.empty(); }

    /// Sends a request. Wait::no: fails with Errc::timed_out when it does not fit into the socket.
    template <class Message> Result<Slot> start(const Message&, std::vector<UniqueFd> fds, wire::Wait);
    /// Nobody waits for its answer any more: it is cancelled, and what it gives is given back.
    void give_up(Slot) noexcept;
    /// Gives a handle back. Never waits: what does not fit into the socket goes before the next request.
    void release(HandleId) noexcept;

    enum class Arrival { nothing, answer, event, of_no_interest };
    /// The next packet. It stays until the next one is received.
    Result<Arrival> receive(wire::Wait);
    /// Which request the answer is for. It is no longer outstanding.
    Slot answered() const { return answered_; }
    /// The answer. An ErrorReply is the error; any other kind than the expected ends the connection.
    template <class Expected> Result<Expected*> answer();
    /// Any message that was received, an answer or an event.
    wire::Reply& last() { return socket_.last().message; }
    /// What came with it. May be moved from.
    wire::PacketFds& fds() { return socket_.fds(); }
    /// What had been sent with the answered request.
    std::vector<UniqueFd> take_sent() { return std::move(requests_[answered_].fds); }
    /// Gives back what an answer gave that nobody waits for.
    void give_back_answer() noexcept;

    /// Sends what did not fit before.
    Result<> flush(wire::Wait);
    /// Ends it because the peer broke a rule that only a later check can see.
    std::unexpected<Error> end(const Error& reason);

    /// Whether receive() has something to do before the deadline.
    bool wait_readable(const Deadline& deadline) const { return has_lost() || deadline.wait_readable(socket_.fd()); }
    /// Whether receive() has something to do though nothing is in the socket.
    bool has_lost() const { return !lost_.empty(); }
    std::uint64_t timeout_ns() const { return address_.timeout_ns; }
    bool ended() const { return end_.has_value(); }
    /// Why it ended. Only when ended().
    const Error& reason() const { return *end_; }
    Readiness& readiness() { return readiness_; }

private:
    Result<wire::HelloReply> greet(UniqueFd socket);
    Result<wire::HelloReply> connect_again();
    Result<> resend(std::uint64_t last_serial);
    Result<> resend(Slot, std::uint64_t last_serial);
    Result<> resend_releases(std::uint64_t after, std::uint64_t before);
    Result<bool> transmit(std::span<const std::byte> packet, wire::Wait);
    template <class Message> Result<bool> send(const Message&, std::uint64_t serial, wire::Wait);
    Result<bool> send_release(HandleId, wire::Wait);
    void send_cancel(Request&);
    Result<Arrival> judge();
    Result<> begin(Request&, wire::Wait);
    Result<> ask_for_channel(wire::Wait);
    Result<> send_over_channel(const Request&, wire::Wait);
    Result<Arrival> take_channel();
    Result<Arrival> lose_channel(const wire::ChannelLost&);
    Result<Arrival> tell_lost();

    Address address_;
    Readiness readiness_;
    PacketSocket socket_;
    Requests requests_;
    Releases releases_;
    bool unsent_ = false;      ///< there are releases or cancels for flush()
    std::uint64_t serial_ = 0; ///< of the last request
    Slot answered_ = 0;
    UniqueFd channel_;                        ///< for requests with descriptors, once there were any
    std::uint64_t asked_for_channel_ = 0;     ///< serial of the request for it; 0: none is outstanding
    std::deque<std::pair<Slot, Error>> lost_; ///< requests that nobody will answer, to be told
    ResumeKey resume_{};
    std::optional<Error> end_;
};

} // namespace dmb
