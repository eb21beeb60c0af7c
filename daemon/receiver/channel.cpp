// SPDX-License-Identifier: MIT
// The channel's thread waits for packets; each packet is received by a thread with its own descriptor table, which identifies
// what came, tells the broker, lets the channel's thread go on, and only then closes what it received. That may take for ever
// (a FUSE file whose flush is not answered) or as long as the sender likes (a socket with SO_LINGER), and nobody waits for it:
// the client goes on until a few such threads have piled up. The broker is always told before anything is closed.
#include "daemon/receiver/channel.hpp"

#include "daemon/receiver/own_table.hpp"
#include "proto/image/fd_identity.hpp"

#include <cerrno>
#include <chrono>
#include <poll.h>
#include <unistd.h>

namespace dmb::receiver {
namespace {

/// What hangs of one client, and of all before those that have something hanging are cut.
constexpr int most_of_one = 4;
constexpr int most_of_all = 32;
/// For closing what closes at all, on a busy machine.
constexpr std::chrono::seconds patience(2);

} // namespace

void Channel::serve()
{
    bool open = say({.kind = wire::Parcel::Kind::opened, .client = client_, .error = {}});
    while (open && wait_for_packet() && take_packet()) {
        open = may_go_on();
        if (!open)
            say({.kind = wire::Parcel::Kind::cut,
                 .client = client_,
                 .error = {Errc::bad_descriptor,
                           "descriptors that this client sent cannot be closed; no more are taken from it"}});
    }
    ::close(channel);
    ::close(life);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return own_closing_ == 0; });
    say({.kind = wire::Parcel::Kind::ended, .client = client_, .error = {}});
}

bool Channel::wait_for_packet() const
{
    pollfd waiting[] = {{channel, POLLIN, 0}, {life, 0, 0}};
    int ready;
    do ready = ::poll(waiting, std::size(waiting), -1);
    while (ready < 0 && errno == EINTR);
    return ready > 0 && waiting[1].revents == 0;
}

bool Channel::take_packet()
{
    {
        const std::lock_guard lock(mutex_);
        ++own_closing_;
        ++closing_;
    }
    return run_in_own_table([this](Released& released) {
        wire::RawPacket packet = wire::receive_raw(channel, std::span(space_).subspan(wire::parcel_head_bytes), wire::Wait::no);
        const bool more = forward(packet);
        // When the process is killed while the next line hangs, nothing else may be kept open.
        ::close_range(0, life, 0);
        released.set_value(more);
        packet.fds.clear();
        closed();
    });
}

void Channel::closed()
{
    const std::lock_guard lock(mutex_);
    --own_closing_;
    --closing_;
    changed_.notify_all();
}

/// Everything that is still being closed may be so after its time: this client's doing.
bool Channel::may_go_on()
{
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience,
                             [this] { return own_closing_ == 0 || (own_closing_ < most_of_one && closing_ < most_of_all); });
}

wire::Parcel Channel::judge(const wire::RawPacket& packet) const
{
    wire::Parcel out{.kind = wire::Parcel::Kind::cut,
                     .client = client_,
                     .descriptors = static_cast<std::uint16_t>(packet.fds.size()),
                     .error = {Errc::protocol_violation, {}}};
    if (packet.size == 0) out.error.reason = "an empty packet";
    else if (packet.truncated) out.error.reason = "a packet too large, or descriptors that could not be received";
    else out = {.kind = wire::Parcel::Kind::packet, .client = client_, .descriptors = out.descriptors, .error = {}};
    if (out.kind == wire::Parcel::Kind::packet && packet.fds.size() > limits::request_fds) {
        out.kind = wire::Parcel::Kind::refused;
        out.error = fail(Errc::unsupported, "{} descriptors with one request; this broker takes {}", packet.fds.size(),
                         limits::request_fds)
                        .error();
    }
    for (std::size_t i = 0; out.kind == wire::Parcel::Kind::packet && i < packet.fds.size(); ++i) {
        // Which seals a request needs is the broker's to say; these suffice to be let in.
        const FdIdentity found = identify(packet.fds[i].get(), FdUse::contents);
        if (found.type != FdType::other) continue;
        out.kind = wire::Parcel::Kind::refused;
        out.error = fail(Errc::bad_descriptor, "descriptor {}: {}", i, found.problem.view()).error();
    }
    return out;
}

bool Channel::forward(const wire::RawPacket& packet)
{
    if (packet.size < 0 || (packet.size == 0 && packet.fds.empty())) return false;
    const wire::Parcel parcel = judge(packet);
    if (parcel.kind == wire::Parcel::Kind::cut) return say(parcel), false;
    std::vector<int> fds;
    if (parcel.kind == wire::Parcel::Kind::packet)
        for (const UniqueFd& fd : packet.fds) fds.push_back(fd.get());
    return say(parcel, static_cast<std::size_t>(packet.size), fds);
}

/// Waits while the broker has no time: then nothing is read from clients either.
bool Channel::say(const wire::Parcel& parcel, std::size_t bytes, std::span<const int> fds)
{
    wire::write_head(parcel, space_);
    const Result<bool> sent =
        wire::send(control, std::span(space_).first(wire::parcel_head_bytes + bytes), fds, wire::Wait::yes);
    if (sent || sent.error().code != Errc::too_many_requests) return sent.has_value();
    return say({.kind = wire::Parcel::Kind::refused,
                .client = client_,
                .descriptors = parcel.descriptors,
                .error = {Errc::quota_exceeded, "too many descriptors are on their way to the broker; try again"}},
               bytes);
}

} // namespace dmb::receiver
