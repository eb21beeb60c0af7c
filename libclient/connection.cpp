// SPDX-License-Identifier: MIT
// Requests have numbers that never repeat while the broker knows this client, also over a reconnect. Up to
// sixteen are outstanding; each packet from the broker answers one of them, or one that was given up, or is
// an event (serial 0). Anything else is a violation and ends the connection.
//
// After a resume, what was outstanding is sent again under its old number, in the old order, releases between;
// the broker gives the same answer to a number that it has seen. What was given up and never arrived is
// forgotten; what was given up and did arrive is asked again, because its answer names what must be given back.
//
// Requests with descriptors go over a socket of their own, the channel. The first of them asks for it and waits, like
// those that come meanwhile, until the answer is received: nobody is blocked by that. When the channel is lost, so is
// what was sent over it and had not arrived.
#include "libclient/connection.hpp"

#include <algorithm>
#include <array>

namespace dmb {
namespace {

/// Nobody sends so many; beyond, numbers would begin anew.
constexpr std::uint64_t largest_serial = std::uint64_t{1} << 62;

/// Every request fits: a participant with all its formats and modifiers has 730 bytes.
template <class Message> constexpr std::size_t request_bytes = 1024;
template <> constexpr std::size_t request_bytes<wire::Allocate> = 20 * 1024;
template <> constexpr std::size_t request_bytes<wire::DefineCapabilities> = limits::packet_bytes;

} // namespace

// ---- beginning -------------------------------------------------------------------------------------

Result<wire::HelloReply> Connection::greet(UniqueFd socket)
{
    TRY(socket_.open(std::move(socket), address_.timeout_ns));
    wire::Hello hello;
    hello.name = address_.name;
    hello.resume = resume_;
    const wire::HelloReply reply = TRY(exchange_hello(socket_, hello, serial_ + 1, address_.timeout_ns));
    if (address_.manager && !reply.manager)
        return fail(Errc::denied, "this socket is not a manager socket; connect to the one whose path ends in .manager");
    if (reply.last_serial > largest_serial)
        return fail(Errc::protocol_violation, "the broker knows of more requests than there can have been");
    TRY(readiness_.watch(socket_.fd()));
    serial_ = std::max(serial_ + 1, reply.last_serial);
    resume_ = wire::has(reply.features, wire::Feature::resume) ? reply.resume : ResumeKey{};
    return reply;
}

Result<> Connection::open(UniqueFd socket)
{
    TRY(greet(std::move(socket)));
    return {};
}

Result<wire::HelloReply> Connection::connect_again()
{
    UniqueFd socket = TRY(wire::connect(address_.path, address_.timeout_ns));
    return greet(std::move(socket));
}

Result<bool> Connection::reconnect()
{
    if (!end_) return fail(Errc::invalid_argument, "the connection stands: there is nothing to reconnect");
    if (address_.path.empty())
        return fail(Errc::unsupported, "this connection was handed over as a descriptor and cannot be made again; "
                                       "connect a new client");
    auto reply = connect_again();
    if (!reply && reply.error().code == Errc::not_found) {
        resume_ = {}; // the broker does not know the key, and says so in its goodbye
        reply = connect_again();
    }
    if (!reply) {
        socket_.close();
        return std::unexpected(reply.error());
    }
    end_.reset();
    if (reply->resumed) {
        TRY(resend(reply->last_serial));
    } else {
        requests_.forget_all();
        releases_ = {};
    }
    return reply->resumed;
}

Result<> Connection::resend(std::uint64_t last_serial)
{
    for (Request& request : requests_) request.cancel = 0, request.waiting = false; // answered on the old socket or never
    std::uint64_t at = last_serial;
    for (const Slot slot : requests_.in_order()) {
        TRY(resend_releases(at, requests_[slot].serial));
        at = std::max(at, requests_[slot].serial);
        TRY(resend(slot, last_serial));
    }
    TRY(resend_releases(at, UINT64_MAX));
    const auto flushed = flush(wire::Wait::no); // the rest goes before the next request
    return ended() ? flushed : Result<>();
}

Result<> Connection::resend(Slot slot, std::uint64_t last_serial)
{
    Request& request = requests_[slot];
    if (request.given_up && request.serial > last_serial && !request.goes_over_channel()) {
        request.serial = 0;
        request.cancel_due = false;
        return {};
    }
    if (const auto begun = begin(request, wire::Wait::yes); !begun) return end(begun.error());
    if (request.given_up) request.cancel_due = unsent_ = true;
    return {};
}

/// Those with serials between the two. The broker has acted on all of this socket up to its last serial.
Result<> Connection::resend_releases(std::uint64_t after, std::uint64_t before)
{
    for (const Releases::Sent& release : releases_.sent)
        if (release.serial > after && release.serial < before &&
            !TRY(send(wire::Release{release.handle}, release.serial, wire::Wait::yes)))
            return end(Error{Errc::timed_out, "the broker does not read what is given back; is it stopped?"});
    return {};
}

// ---- sending ---------------------------------------------------------------------------------------

Result<bool> Connection::transmit(std::span<const std::byte> packet, wire::Wait wait)
{
    auto sent = socket_.send(packet, {}, wait);
    if (!sent && sent.error().code != Errc::too_many_requests) return end(sent.error());
    return sent;
}

template <class Message> Result<bool> Connection::send(const Message& message, std::uint64_t serial, wire::Wait wait)
{
    std::array<std::byte, 64> packet;
    const std::size_t size = TRY(wire::encode(message, serial, packet));
    return transmit(std::span(packet).first(size), wait);
}

template <class Message> Result<Slot> Connection::start(const Message& message, std::vector<UniqueFd> fds, wire::Wait wait)
{
    if (end_) return std::unexpected(*end_);
    if (unsent_) TRY(flush(wait));
    const Slot slot = TRY(requests_.find_free());
    Request& request = requests_[slot];
    const std::uint64_t serial = serial_ + 1;
    request.set_size(TRY(wire::encode(message, serial, request.room(request_bytes<Message>))));
    request.fds = std::move(fds);
    if (const auto begun = begin(request, wait); !begun) {
        requests_.forget(slot);
        return std::unexpected(begun.error());
    }
    serial_ = std::max(serial_, serial);
    request.serial = serial;
    request.given_up = request.cancel_due = false;
    return slot;
}

/// Sends it over the socket that is right for it; without a channel it waits for one.
Result<> Connection::begin(Request& request, wire::Wait wait)
{
    request.waiting = request.goes_over_channel() && !channel_;
    if (request.waiting) return asked_for_channel_ == 0 ? ask_for_channel(wait) : Result<>();
    if (request.goes_over_channel()) return send_over_channel(request, wait);
    if (TRY(transmit(request.packet(), wait))) return {};
    return fail(Errc::timed_out, "the broker did not read the request in time; is it stopped?");
}

Result<> Connection::ask_for_channel(wire::Wait wait)
{
    const std::uint64_t serial = serial_ + 2; // behind that of the first request that goes over it
    if (!TRY(send(wire::OpenChannel{}, serial, wait)))
        return fail(Errc::timed_out, "the broker did not read the request in time; is it stopped?");
    asked_for_channel_ = serial_ = serial;
    return {};
}

Result<> Connection::send_over_channel(const Request& request, wire::Wait wait)
{
    std::vector<int> borrowed;
    for (const UniqueFd& fd : request.fds) borrowed.push_back(fd.get());
    const auto sent = wire::send(channel_.get(), request.packet(), borrowed, wait);
    if (sent && *sent) return {};
    if (sent) return fail(Errc::timed_out, "the process that takes descriptors for the broker does not read them");
    if (sent.error().code == Errc::too_many_requests)
        return fail(Errc::quota_exceeded, "too many descriptors of this user are on their way; try again");
    channel_.reset();
    return fail(Errc::interrupted, "the process that takes descriptors for the broker has ended; repeat the request");
}

void Connection::give_up(Slot slot) noexcept
{
    if (requests_[slot].waiting) return requests_.forget(slot);
    requests_[slot].given_up = requests_[slot].cancel_due = true;
    if (!end_) send_cancel(requests_[slot]);
}

void Connection::send_cancel(Request& request)
{
    auto sent = send(wire::Cancel{request.serial}, serial_ + 1, wire::Wait::no);
    if (!sent || !*sent) {
        unsent_ = true;
        return;
    }
    request.cancel = ++serial_;
    request.cancel_due = false;
}

Result<bool> Connection::send_release(HandleId handle, wire::Wait wait)
{
    if (!TRY(send(wire::Release{handle}, serial_ + 1, wait))) return false;
    ++serial_;
    if (can_resume()) releases_.sent.push_back({serial_, handle});
    return true;
}

void Connection::release(HandleId handle) noexcept
{
    if (end_ && !can_resume()) return;
    try {
        if (!end_ && releases_.unsent.empty())
            if (auto sent = send_release(handle, wire::Wait::no); sent && *sent) return;
        releases_.unsent.push_back(handle);
        unsent_ = true;
    } catch (const std::bad_alloc&) {
        // The broker keeps the handle until the connection ends: better than failing a close.
    }
}

Result<> Connection::flush(wire::Wait wait)
{
    auto& unsent = releases_.unsent;
    while (!unsent.empty() && TRY(send_release(unsent.front(), wait))) unsent.pop_front();
    unsent_ = !unsent.empty();
    for (Request& request : requests_)
        if (request.cancel_due) send_cancel(request);
    if (unsent.empty()) return {};
    return fail(Errc::timed_out, "the broker did not read what was sent before; is it stopped?");
}

// ---- receiving -------------------------------------------------------------------------------------

Result<Connection::Arrival> Connection::receive(wire::Wait wait)
{
    if (end_) return std::unexpected(*end_);
    if (!lost_.empty()) return tell_lost();
    const auto received = socket_.receive(wait);
    if (!received) return end(received.error());
    if (*received == PacketSocket::Received::nothing) return Arrival::nothing;
    if (*received == PacketSocket::Received::unknown_event) return Arrival::of_no_interest;
    return judge();
}

Result<Connection::Arrival> Connection::judge()
{
    const std::uint64_t serial = socket_.last().serial;
    if (const auto* gone = std::get_if<wire::ChannelLost>(&last())) return lose_channel(*gone);
    if (serial == 0) return Arrival::event;
    if (serial == asked_for_channel_) return take_channel();
    const auto slot = requests_.find(serial);
    if (!slot || !requests_[*slot].goes_over_channel()) releases_.answered(serial);
    if (!slot && requests_.take_cancel_answer(serial)) return Arrival::of_no_interest;
    if (!slot) return end(Error{Errc::protocol_violation, "an answer to nothing that was asked"});
    answered_ = *slot;
    requests_[*slot].serial = 0;
    requests_[*slot].cancel_due = false;
    if (!requests_[*slot].given_up) return Arrival::answer;
    give_back_answer();
    return Arrival::of_no_interest;
}

/// What waited for the channel goes now.
Result<Connection::Arrival> Connection::take_channel()
{
    asked_for_channel_ = 0;
    Result<> taken;
    if (auto reply = answer<wire::ChannelReply>(); !reply) taken = std::unexpected(reply.error());
    else channel_ = std::move(fds()[0]), taken = wire::set_timeout(channel_.get(), 0, address_.timeout_ns);
    if (end_) return std::unexpected(*end_);
    for (const Slot slot : requests_.in_order()) {
        if (!requests_[slot].waiting) continue;
        const Result<> sent = taken ? send_over_channel(requests_[slot], wire::Wait::no) : taken;
        requests_[slot].waiting = false;
        if (!sent) lost_.emplace_back(slot, sent.error());
    }
    return lost_.empty() ? Arrival::of_no_interest : tell_lost();
}

Result<Connection::Arrival> Connection::lose_channel(const wire::ChannelLost& gone)
{
    channel_.reset();
    for (const Slot slot : requests_.in_order()) {
        const Request& request = requests_[slot];
        const bool arrived = std::ranges::find(gone.arrived, request.serial) != gone.arrived.end();
        if (request.goes_over_channel() && !request.waiting && !arrived)
            lost_.emplace_back(slot, Error{gone.code, shown(gone.reason)});
    }
    return lost_.empty() ? Arrival::of_no_interest : tell_lost();
}

/// As if the broker had refused it.
Result<Connection::Arrival> Connection::tell_lost()
{
    const auto [slot, error] = lost_.front();
    lost_.pop_front();
    if (has_lost()) readiness_.ring(); // the caller may be content with this one
    fds().clear();
    socket_.last() = {requests_[slot].serial, false, wire::ErrorReply{error.code, error.reason, {}}};
    return judge();
}

void Connection::give_back_answer() noexcept
{
    take_sent().clear();
    fds().clear();
    const auto* image = std::get_if<wire::ImageReply>(&last());
    if (!image) return;
    release(image->handle);
    for (const wire::HeldImage& other : image->more) release(other.handle);
}

template <class Expected> Result<Expected*> Connection::answer()
{
    if (auto* expected = std::get_if<Expected>(&last())) return expected;
    if (const auto* error = std::get_if<wire::ErrorReply>(&last()))
        return std::unexpected(Error{error->code, shown(error->reason)});
    return end(Error{Errc::protocol_violation, "the answer belongs to another kind of request"});
}

std::unexpected<Error> Connection::end(const Error& reason)
{
    if (!end_) {
        end_ = Error{Errc::disconnected, reason.reason};
        readiness_.unwatch();
        readiness_.ring();
        socket_.close();
        channel_.reset();
        asked_for_channel_ = 0;
        lost_.clear();
        fds().clear();
    }
    return std::unexpected(*end_);
}

#define REQUEST(Message) template Result<Slot> Connection::start(const wire::Message&, std::vector<UniqueFd>, wire::Wait);
REQUEST(Allocate)
REQUEST(Open)
REQUEST(Register)
REQUEST(MintToken)
REQUEST(RevokeToken)
REQUEST(RevokeImage)
REQUEST(SetLease)
REQUEST(Inspect)
REQUEST(FindCapabilities)
REQUEST(DefineCapabilities)
REQUEST(Join)
REQUEST(Move)
REQUEST(Refresh)
REQUEST(Why)
REQUEST(ManageProofs)
#undef REQUEST

#define ANSWER(Message) template Result<wire::Message*> Connection::answer();
ANSWER(ImageReply)
ANSWER(TokenReply)
ANSWER(Done)
ANSWER(SnapshotReply)
ANSWER(CapabilitiesReply)
ANSWER(Refreshed)
ANSWER(WhyReply)
ANSWER(ChannelReply)
#undef ANSWER

} // namespace dmb
