// SPDX-License-Identifier: MIT
// Owner of all sessions. A handler finds its session by id, because it may have ended meanwhile; sessions
// that end are only marked and erased when the current handler is done (bury), so nothing disappears
// under the broker's feet. One packet per wake-up: everybody has the same share. Nothing here allocates
// or reads a clock twice on the way of an Open.
#include "daemon/net/server.hpp"

#include "daemon/net/clock.hpp"
#include "proto/base/log.hpp"
#include "proto/wire/channel.hpp"

#include <algorithm>
#include <boost/asio/error.hpp>
#include <cstring>
#include <sys/resource.h>
#include <sys/socket.h>

namespace dmb {
namespace {

constexpr int most_drained = 512;
/// Of these, with descriptors: each may be one that makes whoever drops it wait.
constexpr int most_waits = 4;

/// Whoever repeats such a request is answered anew.
template <class Message> constexpr bool changes_nothing = false;
template <> constexpr bool changes_nothing<wire::Inspect> = true;
template <> constexpr bool changes_nothing<wire::Why> = true;
template <> constexpr bool changes_nothing<wire::FindCapabilities> = true;
template <> constexpr bool changes_nothing<wire::DefineCapabilities> = true;
template <> constexpr bool changes_nothing<wire::OpenChannel> = true;

std::uint64_t descriptor_limit()
{
    rlimit limit{};
    return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

bool only_reads(const wire::Decoded<wire::Request>& request)
{
    return std::visit([](const auto& message) { return changes_nothing<std::decay_t<decltype(message)>>; }, request.message);
}

/// Tells requests apart that have the same number, from honest clients: not cryptographic.
std::uint64_t fingerprint_of(std::span<const std::byte> packet)
{
    std::uint64_t h = packet.size(), word = 0;
    const auto mix = [&h](std::uint64_t part) { h = (h ^ part) * 0x9e3779b97f4a7c15, h ^= h >> 32; };
    for (; packet.size() >= sizeof word; packet = packet.subspan(sizeof word)) {
        std::memcpy(&word, packet.data(), sizeof word);
        mix(word);
    }
    word = 0;
    std::memcpy(&word, packet.data(), packet.size());
    mix(word);
    return h;
}

} // namespace

Server::Server(asio::io_context& io, const Limits& limits)
    : io_(io),
      limits_(limits),
      timer_(io),
      started_(now()),
      in_flight_{.fds = 0, .limit = descriptor_limit() / 2},
      in_(limits::packet_bytes),
      out_(limits::packet_bytes)
{
}

// --- connections -----------------------------------------------------------------------------------

Result<> Server::check_cap(const Peer& peer, bool manager)
{
    if (manager || connections_[account_key(peer, 0)] < limits_.clients_per_uid) return {};
    return fail(Errc::quota_exceeded, "this user has {} connections already; close some", limits_.clients_per_uid);
}

void Server::admit(UniqueFd connection, bool manager)
{
    const ClientId id = broker_->new_client_id();
    const Result<Peer> peer = peer_of(connection.get());
    if (!peer) return;
    const Result<> allowed = check_cap(*peer, manager);
    auto session = std::make_unique<Session>(io_, id, *peer, manager, in_flight_);
    Session& added = *session;
    error_code error;
    added.socket.assign(SeqPacket(), connection.get(), error);
    if (error) return log::warning("a client could not be served: {}", error.message());
    [[maybe_unused]] const int taken_over = connection.release();
    sessions_.emplace(id, std::move(session));
    ++connections_[added.user];
    silent_[id] = after(now(), limits::hello_deadline_ns);
    if (allowed) wait(added);
    else goodbye(added, allowed.error());
    settle();
}

Session* Server::find(ClientId id)
{
    const auto found = sessions_.find(id);
    return found == sessions_.end() || found->second->state == Session::State::ended ? nullptr : found->second.get();
}

void Server::end(Session& session)
{
    if (session.state == Session::State::ended) return;
    session.state = Session::State::ended;
    ended_.push_back(session.id);
}

/// Unread packets would turn the peer's next read into an error and hide the goodbye.
void Server::drain(int socket)
{
    ::shutdown(socket, SHUT_RD);
    std::byte ignored[1];
    iovec data{ignored, sizeof ignored};
    for (int packets = 0, waits = 0; packets < most_drained && waits < most_waits; ++packets) {
        msghdr header{};
        header.msg_iov = &data;
        header.msg_iovlen = 1;
        interrupter_.expect_wait();
        if (::recvmsg(socket, &header, MSG_DONTWAIT) <= 0) return;
        waits += (header.msg_flags & MSG_CTRUNC) != 0;
    }
}

void Server::goodbye(Session& session, const Error& error)
{
    if (session.state == Session::State::ended) return;
    const auto size = wire::encode(wire::Goodbye{error.code, error.reason}, 0, out_);
    if (size) session.outbox.send(session.fd(), std::span(out_).first(*size), {});
    drain(session.fd());
    end(session);
}

void Server::violation(Session& session, const Error& error)
{
    if (const auto left_out = log_budget_.spend(session.user, now()))
        log::warning("client {} (pid {}, uid {}) is cut: {}{}", session.id.value, session.peer.pid, session.peer.uid,
                     error.reason.view(), *left_out ? fmt::format(" ({} more not shown)", *left_out) : "");
    goodbye(session, error);
}

void Server::bury()
{
    while (!ended_.empty()) {
        const ClientId id = ended_.back();
        ended_.pop_back();
        const auto found = sessions_.find(id);
        const std::uint64_t user = found->second->user;
        if (--connections_[user] == 0) connections_.erase(user);
        silent_.erase(id);
        interrupter_.expect_wait();
        sessions_.erase(found);
        broker_->disconnect(id, now());
    }
}

void Server::shut_down()
{
    for (const auto& [_, session] : sessions_) goodbye(*session, {Errc::shutting_down, "the broker is stopped"});
    bury();
    timer_.cancel();
}

// --- waiting ---------------------------------------------------------------------------------------

void Server::wait(Session& session)
{
    session.socket.async_wait(Socket::wait_read, [this, id = session.id](error_code error) {
        if (error != asio::error::operation_aborted) error ? peer_ended(id) : readable(id);
    });
}

void Server::readable(ClientId id)
{
    Session* session = find(id);
    if (!session) return;
    try {
        receive(*session);
    } catch (const std::exception& error) { // out of memory
        violation(*session, {Errc::out_of_memory, error.what()});
    }
    if (session->state != Session::State::ended) wait(*session);
    settle();
}

void Server::peer_ended(ClientId id)
{
    if (Session* session = find(id)) end(*session);
    settle();
}

void Server::settle()
{
    if (!ended_.empty()) bury();
    arm();
}

void Server::arm()
{
    Instant nearest = broker_->deadline();
    if (!silent_.empty()) nearest = std::min(nearest, silent_.begin()->second);
    for (const Timed* timed : timed_) nearest = std::min(nearest, timed->deadline());
    // A deadline that went away costs one early wake-up instead of a system call per request.
    if (nearest >= armed_) return;
    armed_ = nearest;
    timer_.expires_at(time_point(nearest));
    timer_.async_wait([this](error_code error) {
        if (!error) timer_fired();
    });
}

void Server::timer_fired()
{
    armed_ = never;
    const Instant at = now();
    broker_->expire(at);
    for (Timed* timed : timed_) timed->expire(at);
    while (!silent_.empty() && silent_.begin()->second <= at) {
        Session& session = *sessions_.at(silent_.begin()->first);
        silent_.erase(silent_.begin());
        violation(session, {Errc::protocol_violation, "no hello within 5 seconds"});
    }
    settle();
}

// --- receiving -------------------------------------------------------------------------------------

void Server::receive(Session& session)
{
    interrupter_.expect_wait();
    const Result<std::optional<std::size_t>> size = wire::receive_plain(session.fd(), in_);
    if (!size) {
        if (size.error().code == Errc::protocol_violation) violation(session, size.error());
        else end(session);
        return;
    }
    wire::PacketFds none;
    if (*size) decode(session, std::span(in_).first(**size), 0, none);
}

void Server::channel_packet(const wire::Parcel& parcel, std::span<const std::byte> packet, wire::PacketFds& fds)
{
    Session* session = find(parcel.client);
    if (!session) return;
    if (parcel.descriptors == 0)
        return violation(*session, {Errc::protocol_violation, "a packet without descriptors on the channel for those with"});
    const bool refused = parcel.kind == wire::Parcel::Kind::refused;
    try {
        decode(*session, packet, parcel.descriptors, fds, refused ? &parcel.error : nullptr);
    } catch (const std::exception& error) { // out of memory
        violation(*session, {Errc::out_of_memory, error.what()});
    }
}

void Server::channel_lost(ClientId id, const Error& why)
{
    Session* session = find(id);
    if (!session || !session->channel_life) return;
    if (why.code == Errc::protocol_violation) return violation(*session, why);
    session->channel_life.reset();
    session->channel_hangs |= why.code == Errc::bad_descriptor;
    sent(*session, send(*session, 0, wire::ChannelLost{why.code, why.reason, session->pending}));
}

/// `refusal`: why its descriptors did not come along.
void Server::decode(Session& session, std::span<const std::byte> packet, std::size_t descriptors, wire::PacketFds& fds,
                    const Error* refusal)
{
    const Result<> decoded = wire::decode(packet, descriptors, request_);
    const bool greeted = session.state != Session::State::connected;
    if (decoded ? request_.serial == 0 : decoded.error().code != Errc::unsupported || request_.serial == 0)
        return violation(session, decoded ? Error{Errc::protocol_violation, "a request with serial 0"} : decoded.error());
    if (greeted != (!decoded || request_.message.index() != 0))
        return violation(session, {Errc::protocol_violation, greeted ? "a second hello" : "a request before hello"});
    if (!decoded) return refuse(session, request_.serial, decoded.error());
    if (!greeted) return handle(session, request_.serial, std::get<wire::Hello>(request_.message), fds);
    if (request_.has_unknown_value)
        return refuse(
            session, request_.serial,
            {Errc::unsupported, "the request has a value that this broker does not know; it is older than the client"});
    fingerprint_ = fingerprint_of(packet);
    serve(session, descriptors > 0 ? Way::channel : Way::ordinary, fds, refusal);
}

/// A request is done once, however often its number comes.
void Server::serve(Session& session, Way way, wire::PacketFds& fds, const Error* refusal)
{
    const std::uint64_t serial = request_.serial;
    const Begun begun = broker_->begin(session.id, serial, fingerprint_, way);
    const bool is_release = std::holds_alternative<wire::Release>(request_.message); // which nothing answers
    switch (begun.begin) {
    case Begin::fresh:
        if (refusal) return refuse_once(session, serial, *refusal);
        if (only_reads(request_)) note(session, serial, {.kind = AnswerKind::again, .reason = {}});
        return std::visit([&](const auto& message) { handle(session, serial, message, fds); }, request_.message);
    case Begin::again:
        if (!only_reads(request_))
            return refuse(session, serial, {Errc::invalid_argument, "another request had this number; numbers never repeat"});
        return std::visit([&](const auto& message) { handle(session, serial, message, fds); }, request_.message);
    case Begin::pending: return;
    case Begin::answered: return is_release ? void() : repeat(session, serial, *begun.answer);
    case Begin::refused: return is_release ? void() : refuse(session, serial, begun.error);
    }
}

// --- sending ---------------------------------------------------------------------------------------

/// What clients have read since is only known when the kernel is asked.
void Server::measure_all()
{
    for (const auto& [_, session] : sessions_)
        if (session->state != Session::State::ended) session->outbox.measure(session->fd());
}

void Server::sent(Session& session, Outbox::Sent sent)
{
    switch (sent) {
    case Outbox::Sent::yes: return;
    case Outbox::Sent::gone: return end(session);
    case Outbox::Sent::too_many_in_flight:
    case Outbox::Sent::too_much_unread: return violation(session, {Errc::too_many_requests, "it does not read its replies"});
    }
}

void Server::refuse(Session& session, std::uint64_t serial, const Error& error, RequestId request)
{
    if (error.code == Errc::too_many_requests || error.code == Errc::protocol_violation) return violation(session, error);
    send_error(session, serial, error, request);
}

void Server::send_error(Session& session, std::uint64_t serial, const Error& error, RequestId request)
{
    sent(session, send(session, serial, wire::ErrorReply{error.code, error.reason, request}));
}

/// With a descriptor of the broker's own: that there are too many on their way is not this client's fault.
void Server::sent_own(Session& session, std::uint64_t serial, Outbox::Sent result)
{
    if (result != Outbox::Sent::too_many_in_flight) return sent(session, result);
    send_error(session, serial,
               {Errc::quota_exceeded, "too many descriptors are on their way to clients that do not take them; try again"});
}

/// What is answered at once is noted here; Operations note their answers themselves.
void Server::note(Session& session, std::uint64_t serial, Answer answer)
{
    broker_->answered(session.id, serial, fingerprint_, std::move(answer));
}

void Server::refuse_once(Session& session, std::uint64_t serial, const Error& error)
{
    note(session, serial, {.kind = AnswerKind::error, .code = error.code, .reason = std::string(error.reason.view())});
    refuse(session, serial, error);
}

void Server::answer_once(Session& session, std::uint64_t serial, const Result<>& result)
{
    if (!result) return refuse_once(session, serial, result.error());
    note(session, serial, {.kind = AnswerKind::done, .reason = {}});
    sent(session, send(session, serial, wire::Done{}));
}

void Server::answer_once(Session& session, std::uint64_t serial, const Result<Held>& held, bool with_fds)
{
    if (!held) return refuse_once(session, serial, held.error());
    note(session, serial, {.kind = AnswerKind::holds, .first = held->handle, .number = 1, .reason = {}});
    answer(session, serial, {&*held, 1}, with_fds);
}

/// To whoever did not hear it the first time.
void Server::repeat(Session& session, std::uint64_t serial, const Answer& answer)
{
    switch (answer.kind) {
    case AnswerKind::again: return;
    case AnswerKind::done: return sent(session, send(session, serial, wire::Done{}));
    case AnswerKind::token: return sent(session, send(session, serial, wire::TokenReply{answer.token, answer.rights}));
    case AnswerKind::error: return send_error(session, serial, {answer.code, BoundedText<240>(answer.reason)}, answer.request);
    case AnswerKind::number:
        if (!std::holds_alternative<wire::Refresh>(request_.message)) return sent(session, send(session, serial, wire::Done{}));
        return sent(session, send(session, serial, wire::Refreshed{answer.number}));
    case AnswerKind::holds: return repeat_holds(session, serial, answer);
    }
}

void Server::repeat_holds(Session& session, std::uint64_t serial, const Answer& answered)
{
    std::vector<Held> held;
    for (std::uint32_t i = 0; i < answered.number; ++i) {
        Result<Held> one = broker_->held(session.id, HandleId{answered.first.value + i});
        if (!one) return refuse(session, serial, one.error());
        one->contents_written = answered.contents_written;
        held.push_back(std::move(*one));
    }
    const bool with_fds = !std::holds_alternative<wire::Register>(request_.message);
    answer(session, serial, held, with_fds);
}

void Server::describe(wire::HeldImage& out, const Held& held, bool with_fds)
{
    out.handle = held.handle;
    out.image = held.image;
    out.source = held.source;
    out.rights = held.rights;
    out.protection = held.protection;
    out.contents_written = held.contents_written;
    out.has_fds = with_fds;
    out.desc = *held.desc;
    if (with_fds) reply_fds_.insert(reply_fds_.end(), held.fds.begin(), held.fds.end());
}

void Server::answer(Session& session, std::uint64_t serial, std::span<const Held> held, bool with_fds)
{
    reply_fds_.clear();
    describe(image_reply_, held[0], with_fds);
    image_reply_.request = held[0].request;
    image_reply_.more.resize(held.size() - 1);
    for (std::size_t i = 1; i < held.size(); ++i) describe(image_reply_.more[i - 1], held[i], with_fds);
    const Outbox::Sent result = send(session, serial, image_reply_, reply_fds_);
    if (result != Outbox::Sent::too_many_in_flight) return sent(session, result);
    // Not this client's fault: without its reply it holds nothing.
    for (const Held& one : held) {
        [[maybe_unused]] const auto released = broker_->release(session.id, one.handle, now());
    }
    sent_own(session, serial, result);
}

void Server::image_replaced(ClientId id, HandleId handle, ImageId successor, RequestId request)
{
    if (Session* session = find(id)) sent(*session, send(*session, 0, wire::ImageReplaced{handle, successor, request}));
}

void Server::image_revoked(ClientId id, HandleId handle)
{
    if (Session* session = find(id)) sent(*session, send(*session, 0, wire::ImageRevoked{handle}));
}

} // namespace dmb
