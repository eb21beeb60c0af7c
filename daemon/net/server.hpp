// SPDX-License-Identifier: MIT
// All connections, the one timer, and the way from a packet to the broker and back.
#pragma once
#include "daemon/core/serving/broker.hpp"
#include "daemon/net/asio.hpp"
#include "daemon/net/interrupter.hpp"
#include "daemon/net/session.hpp"
#include "daemon/policy/log_budget.hpp"
#include "proto/base/log.hpp"
#include "proto/wire/channel.hpp"
#include "proto/wire/parcel.hpp"

#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

namespace dmb {

class Receivers;

/// What hello and inspect say about this program.
inline constexpr std::string_view server_name = "dmabrokerd " DMB_VERSION;

/// Something else with deadlines: workers and receivers.
class Timed {
public:
    virtual ~Timed() = default;
    virtual Instant deadline() const = 0;
    virtual void expire(Instant now) = 0;
};

class Server : public EventSink {
public:
    /// The broker is given later, because it needs its EventSink first.
    Server(asio::io_context&, const Limits&);

    void serve(Broker& broker, Receivers& receivers)
    {
        broker_ = &broker;
        receivers_ = &receivers;
    }
    /// Looked at whenever the timer is set.
    void add(Timed& timed) { timed_.push_back(&timed); }

    /// A new connection, to be counted, limited and served.
    void admit(UniqueFd connection, bool manager);
    /// Tells everybody goodbye and ends all connections.
    void shut_down();
    /// After anything that may have changed a deadline outside of a request.
    void settle();

    void image_revoked(ClientId, HandleId) override;
    void image_replaced(ClientId, HandleId, ImageId successor, RequestId) override;

    /// What a receiver process read on a client's channel.
    void channel_packet(const wire::Parcel&, std::span<const std::byte> packet, wire::PacketFds&);
    /// What the client sent there and was not answered is lost.
    void channel_lost(ClientId, const Error& why);

    /// For other sockets of this thread: limits::packet_bytes, contents die with the handler.
    std::span<std::byte> buffer() { return in_; }

private:
    void wait(Session&);
    void readable(ClientId);
    void peer_ended(ClientId);
    void receive(Session&);
    void decode(Session&, std::span<const std::byte> packet, std::size_t descriptors, wire::PacketFds&,
                const Error* refusal = nullptr);

    void handle(Session&, std::uint64_t serial, const wire::Hello&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::Allocate&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::Open&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::Register&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::MintToken&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::RevokeToken&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::RevokeImage&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::SetLease&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::Release&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::Inspect&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::FindCapabilities&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::DefineCapabilities&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::Join&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::Move&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::Refresh&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::Why&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::ManageProofs&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::Cancel&, wire::PacketFds&);
    void handle(Session&, std::uint64_t serial, const wire::OpenChannel&, wire::PacketFds&);
    void serve(Session&, Way, wire::PacketFds&, const Error* refusal);
    bool take_over(Session&, const wire::Hello&, wire::HelloReply&);
    void rename(Session&, ClientId);
    void allocated(ClientId, std::uint64_t serial, const OperationAnswer&);
    bool begin(Session&, std::uint64_t serial);
    Session* finish(ClientId, std::uint64_t serial);

    template <class Message> Outbox::Sent send(Session&, std::uint64_t serial, const Message&, std::span<const int> fds = {});
    void note(Session&, std::uint64_t serial, Answer);
    void answer_once(Session&, std::uint64_t serial, const Result<>&);
    void answer_once(Session&, std::uint64_t serial, const Result<Held>&, bool with_fds);
    void refuse_once(Session&, std::uint64_t serial, const Error&);
    void repeat(Session&, std::uint64_t serial, const Answer&);
    void repeat_holds(Session&, std::uint64_t serial, const Answer&);
    void describe(wire::HeldImage&, const Held&, bool with_fds);
    void answer(Session&, std::uint64_t serial, std::span<const Held>, bool with_fds);
    void refuse(Session&, std::uint64_t serial, const Error&, RequestId = {});
    void send_error(Session&, std::uint64_t serial, const Error&, RequestId = {});
    void sent_own(Session&, std::uint64_t serial, Outbox::Sent);
    void measure_all();
    void sent(Session&, Outbox::Sent);

    void violation(Session&, const Error&);
    void goodbye(Session&, const Error&);
    void drain(int socket);
    void end(Session&);
    void bury();
    void arm();
    void timer_fired();
    Session* find(ClientId);
    Result<> check_cap(const Peer&, bool manager);
    Result<Snapshot> snapshot(ClientId, ImageId) const;

    asio::io_context& io_;
    Limits limits_;
    Broker* broker_ = nullptr;
    Receivers* receivers_ = nullptr;
    Interrupter interrupter_;
    Timer timer_;
    Instant armed_ = never;
    Instant started_;
    InFlight in_flight_;
    LogBudget log_budget_;
    std::vector<Timed*> timed_;
    std::unordered_map<ClientId, std::unique_ptr<Session>> sessions_;
    std::unordered_map<std::uint64_t, std::uint32_t> connections_; ///< per user
    std::map<ClientId, Instant> silent_;                           ///< no hello yet: until when
    std::vector<ClientId> ended_;
    // One packet at a time: the thread's only buffers.
    std::vector<std::byte> in_;
    std::vector<std::byte> out_;
    wire::Decoded<wire::Request> request_;
    std::uint64_t fingerprint_ = 0; ///< of the request
    wire::ImageReply image_reply_;
    std::vector<int> reply_fds_;
};

template <class Message>
Outbox::Sent Server::send(Session& session, std::uint64_t serial, const Message& message, std::span<const int> fds)
{
    if (session.state == Session::State::ended) return Outbox::Sent::gone;
    const Result<std::size_t> size = wire::encode(message, serial, out_);
    if (!size) {
        log::error("client {}: a reply could not be encoded: {}", session.id.value, size.error().reason.view());
        return Outbox::Sent::gone;
    }
    const auto packet = std::span(out_).first(*size);
    const Outbox::Sent result = session.outbox.send(session.fd(), packet, fds);
    if (result != Outbox::Sent::too_many_in_flight) return result;
    measure_all();
    return session.outbox.send(session.fd(), packet, fds);
}

} // namespace dmb
