// SPDX-License-Identifier: MIT
// The client's end of the socket. One request is outstanding at a time, so an answer is either the one
// awaited, an event (serial 0), or the late answer to a request whose wait was given up; anything else
// is a violation and ends the connection. The broker is not trusted: descriptors are owned before a
// packet is judged, and a packet that cannot be decoded ends the connection.
//
// Time limits are SO_RCVTIMEO and SO_SNDTIMEO, because a poll before every receive would cost a system
// call. Only after an unasked-for packet is the rest of the time waited for with poll.
//
// An ended socket is shut down but stays open until the client is closed: the application may have its
// number in a poll set, where a reused number would be worse than one that is always readable.
#include "libclient/connection.hpp"

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

namespace dmb {
namespace {

/// Every request fits: a participant with all its formats and modifiers has 730 bytes, 2048 rows of a table 55 KiB.
template <class Message> constexpr std::size_t request_bytes = 1024;
template <> constexpr std::size_t request_bytes<wire::Allocate> = 20 * 1024;
template <> constexpr std::size_t request_bytes<wire::DefineCapabilities> = limits::packet_bytes;

/// Waiting to be read by the application. An image is revoked once and replaced rarely, so an honest broker
/// stays far below.
constexpr std::size_t most_events = 1 << 16;

/// Milliseconds. The coarse clock: its 4 ms do not matter here, its cost on every request would.
std::uint64_t now_ms()
{
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

/// False when nothing came until `deadline_ms`.
bool wait_readable(int socket, std::uint64_t deadline_ms)
{
    for (;;) {
        const std::uint64_t now = now_ms();
        if (now >= deadline_ms) return false;
        pollfd p{socket, POLLIN, 0};
        const int found = ::poll(&p, 1, static_cast<int>(std::min<std::uint64_t>(deadline_ms - now, INT32_MAX)));
        if (found > 0 || (found < 0 && errno != EINTR)) return true;
    }
}

/// The broker's sentence, as far as it may be shown to a person.
std::string_view shown(std::string_view text) { return is_printable(text) ? text : "(unprintable reason)"; }

} // namespace

// ---- sending ---------------------------------------------------------------------------------------

std::uint64_t Connection::next_serial() { return ++serial_; }

template <class Message>
Result<bool> Connection::send(const Message& message, std::uint64_t serial, std::span<const int> fds, wire::Wait wait)
{
    std::array<std::byte, request_bytes<Message>> packet;
    const std::size_t size = TRY(wire::encode(message, serial, packet));
    auto sent = wire::send(fds.empty() ? socket_.get() : channel_.get(), std::span(packet).first(size), fds, wait);
    if (!sent && !fds.empty()) return channel_failed(sent.error());
    if (!sent) return lost(sent.error());
    return sent;
}

/// The socket for requests with descriptors, which the broker does not take on its own.
Result<> Connection::open_channel()
{
    TRY(ask<wire::ChannelReply>(wire::OpenChannel{}));
    channel_ = std::move(fds_[0]);
    return wire::set_timeout(channel_.get(), 0, timeout_ns_);
}

std::unexpected<Error> Connection::channel_failed(const Error& cause)
{
    if (cause.code == Errc::too_many_requests)
        return fail(Errc::quota_exceeded, "too many descriptors of this user are on their way; try again");
    channel_.reset();
    return fail(Errc::interrupted, "the process that takes descriptors for the broker has ended; repeat the request");
}

template <class Expected, class Message> Result<Expected*> Connection::ask(const Message& message, std::span<const int> fds)
{
    refused_ = false;
    if (end_) return std::unexpected(*end_);
    if (!unsent_releases_.empty()) TRY(flush_releases(wire::Wait::yes));
    if (!fds.empty() && !channel_) TRY(open_channel());
    channel_loss_.reset();
    const std::uint64_t serial = next_serial();
    if (!TRY(send(message, serial, fds, wire::Wait::yes)))
        return fail(Errc::timed_out, "the broker did not read the request in time; is it stopped?");
    TRY(await(serial, !fds.empty()));
    if (auto* expected = std::get_if<Expected>(&reply_.message)) return expected;
    return unexpected_answer();
}

void Connection::release(HandleId handle) noexcept
{
    if (end_) return;
    try {
        if (auto sent = send(wire::Release{handle}, next_serial(), {}, wire::Wait::no); sent && !*sent)
            unsent_releases_.push_back(handle);
    } catch (const std::bad_alloc&) {
        // The broker keeps the handle until the connection ends: better than failing a close.
    }
}

Result<> Connection::flush_releases(wire::Wait wait)
{
    std::size_t done = 0;
    for (; done < unsent_releases_.size(); ++done)
        if (!TRY(send(wire::Release{unsent_releases_[done]}, next_serial(), {}, wait))) break;
    unsent_releases_.erase(unsent_releases_.begin(), unsent_releases_.begin() + static_cast<std::ptrdiff_t>(done));
    if (unsent_releases_.empty() || wait == wire::Wait::no) return {};
    return fail(Errc::timed_out, "the broker did not read what was sent before; is it stopped?");
}

// ---- receiving -------------------------------------------------------------------------------------

/// False: nothing there (Wait::no) or nothing in time.
Result<bool> Connection::receive(wire::Wait wait)
{
    auto packet = wire::receive(socket_.get(), buffer_, wait);
    if (!packet) return lost(packet.error());
    if (!*packet) return false;
    fds_ = std::move((*packet)->fds);
    auto decoded = wire::decode(std::span(buffer_).first((*packet)->size), fds_.size(), reply_);
    if (!decoded) return end(decoded.error());
    return true;
}

Result<> Connection::await(std::uint64_t serial, bool on_channel)
{
    const std::uint64_t deadline = timeout_ns_ ? now_ms() + timeout_ns_ / 1'000'000 + 1 : UINT64_MAX;
    for (;;) {
        if (!TRY(receive(wire::Wait::yes))) return abandon(serial);
        if (reply_.serial == serial) return {};
        TRY(take_unasked());
        if (on_channel && channel_loss_ && std::ranges::find(channel_loss_->arrived, serial) == channel_loss_->arrived.end())
            return std::unexpected(Error{channel_loss_->code, shown(channel_loss_->reason)});
        if (!wait_readable(socket_.get(), deadline)) return abandon(serial);
    }
}

/// An event, or the answer to a request that nobody waits for any more.
Result<> Connection::take_unasked()
{
    const auto late = std::ranges::find(abandoned_, reply_.serial);
    if (late != abandoned_.end()) {
        *late = abandoned_[abandoned_.size() - 1];
        abandoned_.resize(abandoned_.size() - 1);
        if (const auto* image = std::get_if<wire::ImageReply>(&reply_.message)) release(image->handle);
        fds_.clear();
        return {};
    }
    if (reply_.serial != 0) return end(Error{Errc::protocol_violation, "an answer to nothing that was asked"});
    if (const auto* goodbye = std::get_if<wire::Goodbye>(&reply_.message)) return said_goodbye(*goodbye);
    if (const auto* gone = std::get_if<wire::ChannelLost>(&reply_.message)) {
        channel_.reset();
        channel_loss_ = *gone;
        return {};
    }
    if (events_.size() == most_events) return end(Error{Errc::protocol_violation, "more events than images can be held"});
    if (const auto* revoked = std::get_if<wire::ImageRevoked>(&reply_.message)) events_.push_back(*revoked);
    else if (const auto* replaced = std::get_if<wire::ImageReplaced>(&reply_.message)) events_.push_back(*replaced);
    else return end(Error{Errc::protocol_violation, "an answer without the request's serial"});
    return {};
}

Result<> Connection::dispatch()
{
    if (end_) return std::unexpected(*end_);
    if (!unsent_releases_.empty()) TRY(flush_releases(wire::Wait::no));
    // Bounded: a broker that never stops sending must not keep the caller here.
    for (int packets = 0; packets < 256; ++packets) {
        if (!TRY(receive(wire::Wait::no))) break;
        TRY(take_unasked());
    }
    return {};
}

std::optional<Connection::Event> Connection::take_event()
{
    if (events_.empty()) return std::nullopt;
    const Event oldest = events_.front();
    events_.erase(events_.begin());
    return oldest;
}

// ---- failing ---------------------------------------------------------------------------------------

std::unexpected<Error> Connection::abandon(std::uint64_t serial)
{
    if (abandoned_.full()) return end(Error{Errc::timed_out, "the broker left 16 requests unanswered"});
    abandoned_.push_back(serial);
    return fail(Errc::timed_out, "no answer from the broker in {} ms; is it stopped, or its driver stuck?",
                timeout_ns_ / 1'000'000);
}

std::unexpected<Error> Connection::unexpected_answer()
{
    refused_ = std::holds_alternative<wire::ErrorReply>(reply_.message);
    if (const wire::ErrorReply* error = refusal()) return std::unexpected(Error{error->code, shown(error->reason)});
    return end(Error{Errc::protocol_violation, "the answer belongs to another kind of request"});
}

std::unexpected<Error> Connection::end(const Error& reason)
{
    if (!end_) {
        end_ = Error{Errc::disconnected, reason.reason};
        ::shutdown(socket_.get(), SHUT_RDWR);
        fds_.clear();
    }
    return std::unexpected(*end_);
}

/// The socket failed. A broker that cut us said why, and that packet may still be unread: behind one
/// ECONNRESET, which the kernel reports first when the broker left something of ours unread.
std::unexpected<Error> Connection::lost(const Error& cause)
{
    for (int packets = 0, errors = 0; packets < 64 && errors < 2; ++packets) {
        auto packet = wire::receive(socket_.get(), buffer_, wire::Wait::no);
        if (!packet) ++errors;
        else if (!*packet) break;
        else if (wire::decode(std::span(buffer_).first((*packet)->size), (*packet)->fds.size(), reply_))
            if (const auto* goodbye = std::get_if<wire::Goodbye>(&reply_.message)) return said_goodbye(*goodbye);
    }
    return end(cause);
}

std::unexpected<Error> Connection::said_goodbye(const wire::Goodbye& goodbye)
{
    goodbye_ = goodbye.code;
    return end(
        fail(goodbye.code, "the broker ended the connection: {} ({})", shown(goodbye.reason), name(goodbye.code)).error());
}

// ---- hello -----------------------------------------------------------------------------------------

Result<wire::HelloReply> Connection::hello(std::string_view name)
{
    TRY(wire::set_timeout(socket_.get(), timeout_ns_, timeout_ns_));
    wire::Hello hello;
    hello.name = name;
    auto reply = ask<wire::HelloReply>(hello);
    // The one call where the goodbye is the answer: its code tells what to do.
    if (!reply && goodbye_) return std::unexpected(Error{*goodbye_, reply.error().reason});
    if (!reply) return std::unexpected(reply.error());
    if ((*reply)->version != wire::version)
        return fail(Errc::unsupported_version, "the broker speaks version {}, this library {}; use matching releases",
                    (*reply)->version, wire::version);
    return **reply;
}

#define REQUEST(Message, Expected) template Result<wire::Expected*> Connection::ask(const wire::Message&, std::span<const int>);
REQUEST(Allocate, ImageReply)
REQUEST(Open, ImageReply)
REQUEST(Register, ImageReply)
REQUEST(MintToken, TokenReply)
REQUEST(RevokeToken, Done)
REQUEST(RevokeImage, Done)
REQUEST(SetLease, Done)
REQUEST(Inspect, SnapshotReply)
REQUEST(FindCapabilities, CapabilitiesReply)
REQUEST(DefineCapabilities, CapabilitiesReply)
REQUEST(Join, ImageReply)
REQUEST(Move, ImageReply)
REQUEST(Refresh, Refreshed)
REQUEST(Why, WhyReply)
REQUEST(ManageProofs, Done)
REQUEST(OpenChannel, ChannelReply)
#undef REQUEST

} // namespace dmb
