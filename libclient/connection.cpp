// SPDX-License-Identifier: MIT
// Requests have numbers that never repeat while the broker knows this client, also over a reconnect. Up to
// sixteen are outstanding; each packet from the broker answers one of them, or one that was given up, or is
// an event (serial 0). Anything else is a violation and ends the connection.
//
// After a resume, what was outstanding is sent again under its old number, in the old order, releases between;
// the broker gives the same answer to a number that it has seen. What was given up and never arrived is
// forgotten; what was given up and did arrive is asked again, because its answer names what must be given back.
#include "libclient/connection.hpp"

#include <array>
#include <cerrno>

namespace dmb {
namespace {

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
    TRY(readiness_.watch(socket_.fd()));
    serial_ = std::max(serial_ + 1, reply.last_serial);
    resume_ = wire::has(reply.features, wire::Feature::resume) ? reply.resume : wire::ResumeKey{};
    return reply;
}

Result<> Connection::open(UniqueFd socket)
{
    TRY(greet(std::move(socket)));
    return {};
}

Result<bool> Connection::reconnect()
{
    if (!end_) return fail(Errc::invalid_argument, "the connection stands: there is nothing to reconnect");
    if (address_.path.empty())
        return fail(Errc::unsupported, "this connection was handed over as a descriptor and cannot be made again; "
                                       "connect a new client");
    UniqueFd socket = TRY(wire::connect(address_.path, address_.timeout_ns));
    const auto reply = greet(std::move(socket));
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
    for (Request& request : requests_) request.cancel = 0; // answered on the old socket or never
    std::uint64_t at = last_serial;
    for (const Slot slot : requests_.in_order()) {
        TRY(resend_releases(at, requests_[slot].serial));
        at = std::max(at, requests_[slot].serial);
        TRY(resend(requests_[slot], last_serial));
    }
    TRY(resend_releases(at, UINT64_MAX));
    return flush(wire::Wait::yes);
}

Result<> Connection::resend(Request& request, std::uint64_t last_serial)
{
    if (request.given_up && request.serial > last_serial) {
        request.serial = 0;
        request.cancel_due = false;
        return {};
    }
    if (!TRY(transmit(request.packet(), request.fds, wire::Wait::yes)))
        return end(Error{Errc::timed_out, "the broker does not read what was outstanding; is it stopped?"});
    if (request.given_up) request.cancel_due = unsent_ = true;
    return {};
}

/// Those with serials between the two. The broker has acted on all up to its last serial.
Result<> Connection::resend_releases(std::uint64_t after, std::uint64_t before)
{
    for (const Releases::Sent& release : releases_.sent)
        if (release.serial > after && release.serial < before &&
            !TRY(send(wire::Release{release.handle}, release.serial, wire::Wait::yes)))
            return end(Error{Errc::timed_out, "the broker does not read what is given back; is it stopped?"});
    return {};
}

// ---- sending ---------------------------------------------------------------------------------------

Result<bool> Connection::transmit(std::span<const std::byte> packet, std::span<const UniqueFd> fds, wire::Wait wait)
{
    std::vector<int> borrowed;
    for (const UniqueFd& fd : fds) borrowed.push_back(fd.get());
    auto sent = socket_.send(packet, borrowed, wait);
    if (!sent && sent.error().code != Errc::too_many_requests) return end(sent.error());
    return sent;
}

template <class Message> Result<bool> Connection::send(const Message& message, std::uint64_t serial, wire::Wait wait)
{
    std::array<std::byte, 64> packet;
    const std::size_t size = TRY(wire::encode(message, serial, packet));
    return transmit(std::span(packet).first(size), {}, wait);
}

template <class Message> Result<Slot> Connection::start(const Message& message, std::vector<UniqueFd> fds, wire::Wait wait)
{
    if (end_) return std::unexpected(*end_);
    if (unsent_) TRY(flush(wait));
    const Slot slot = TRY(requests_.find_free());
    Request& request = requests_[slot];
    request.set_size(TRY(wire::encode(message, serial_ + 1, request.room(request_bytes<Message>))));
    if (!TRY(transmit(request.packet(), fds, wait)))
        return fail(Errc::timed_out, "the broker did not read the request in time; is it stopped?");
    request.serial = ++serial_;
    request.given_up = request.cancel_due = false;
    request.fds = std::move(fds);
    return slot;
}

void Connection::give_up(Slot slot) noexcept
{
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
    std::size_t done = 0;
    while (done < unsent.size() && TRY(send_release(unsent[done], wait))) ++done;
    unsent.erase(unsent.begin(), unsent.begin() + static_cast<std::ptrdiff_t>(done));
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
    const auto received = socket_.receive(wait);
    if (!received) return end(received.error());
    if (*received == PacketSocket::Received::nothing) return Arrival::nothing;
    if (*received == PacketSocket::Received::unknown_event) return Arrival::of_no_interest;
    return judge();
}

Result<Connection::Arrival> Connection::judge()
{
    const std::uint64_t serial = socket_.last().serial;
    if (serial == 0) return Arrival::event;
    releases_.answered(serial);
    const auto slot = requests_.find(serial);
    if (!slot && requests_.take_cancel_answer(serial)) return Arrival::of_no_interest;
    if (!slot) return end(Error{Errc::protocol_violation, "an answer to nothing that was asked"});
    answered_ = *slot;
    requests_[*slot].serial = 0;
    requests_[*slot].cancel_due = false;
    if (!requests_[*slot].given_up) return Arrival::answer;
    give_back_answer();
    return Arrival::of_no_interest;
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
#undef ANSWER

} // namespace dmb
