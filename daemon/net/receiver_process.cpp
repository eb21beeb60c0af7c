// SPDX-License-Identifier: MIT
// The process has met hostile descriptors, so what it says is believed only about channels that it was given. One that ends,
// is stopped or does not confirm a channel in time is killed: its clients are told that what they sent on their channels and
// was not answered is lost, and the next channel gets a new process, at once the first time and later with a back-off.
#include "daemon/net/receiver_process.hpp"

#include "daemon/net/clock.hpp"
#include "proto/base/log.hpp"
#include "proto/wire/channel.hpp"

#include <algorithm>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb {
namespace {

constexpr std::uint64_t confirmation_ns = 10'000'000'000;
constexpr std::uint64_t idle_ns = 10'000'000'000;
/// One that lived so long was well.
constexpr std::uint64_t well_ns = 10'000'000'000;
constexpr std::uint64_t first_backoff_ns = 100'000'000;
constexpr std::uint64_t last_backoff_ns = 5'000'000'000;
/// Killed processes that cannot die, because what their clients sent cannot be closed.
constexpr std::size_t most_dying = 4;

struct Pair {
    UniqueFd ours, theirs;
};

Result<Pair> make_sockets()
{
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return fail_errno(Errc::backend_failed, "socketpair", errno);
    return Pair{UniqueFd::adopt(ends[0]), UniqueFd::adopt(ends[1])};
}

Result<Pair> make_pipe()
{
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(Errc::backend_failed, "pipe", errno);
    return Pair{UniqueFd::adopt(ends[1]), UniqueFd::adopt(ends[0])};
}

} // namespace

Result<> ReceiverProcess::check_room(Instant now) const
{
    if (channels_.size() >= most_channels_)
        return fail(Errc::quota_exceeded,
                    "this user has {} channels, some perhaps of clients that left descriptors which "
                    "cannot be closed",
                    channels_.size());
    if (child_.dying() >= most_dying)
        return fail(Errc::quota_exceeded,
                    "{} receiver processes of this user cannot end, because descriptors that its "
                    "clients sent cannot be closed",
                    child_.dying());
    if (!child_.has_socket() && now < not_before_)
        return fail(Errc::interrupted, "the receiver process of this user has just ended; repeat the request");
    return {};
}

Result<ChannelEnds> ReceiverProcess::open(ClientId client, Instant now)
{
    TRY(check_room(now));
    if (!child_.has_socket()) TRY(start(now));
    Pair sockets = TRY(make_sockets());
    Pair pipe = TRY(make_pipe());
    const int fds[] = {sockets.theirs.get(), pipe.theirs.get()};
    const auto bytes = std::as_bytes(std::span(&client.value, 1));
    const Result<bool> sent = wire::send(child_.socket(), bytes, fds, wire::Wait::no);
    if (!sent && sent.error().code == Errc::disconnected) {
        lost("is gone", now);
        return fail(Errc::interrupted, "the receiver process of this user did not answer; repeat the request");
    }
    if (!sent || !*sent) return fail(Errc::quota_exceeded, "this user opens too many channels at once; try again");
    // Closed before the client has its end, and so before it can have sent anything there: not here, the last reference.
    sockets.theirs.reset();
    channels_.push_back(client);
    if (unconfirmed_++ == 0) set_deadline(after(now, confirmation_ns));
    return ChannelEnds{std::move(sockets.ours), std::move(pipe.ours)};
}

Result<> ReceiverProcess::start(Instant now)
{
    TRY(child_.start(arguments_));
    started_ = now;
    return {};
}

void ReceiverProcess::readable()
{
    const Instant at = now();
    Result<std::optional<wire::Packet>> packet = wire::receive(child_.socket(), in_, wire::Wait::no);
    if (!packet) return lost(packet.error().reason.view(), at);
    if (!*packet) return;
    const auto bytes = std::span<const std::byte>(in_).first((*packet)->size);
    const Result<wire::Parcel> parcel = wire::read_head(bytes);
    if (!parcel) return lost(parcel.error().reason.view(), at);
    received(*parcel, bytes.subspan(wire::parcel_head_bytes), (*packet)->fds, at);
}

void ReceiverProcess::received(const wire::Parcel& parcel, std::span<const std::byte> packet, wire::PacketFds& fds, Instant now)
{
    if (std::ranges::find(channels_, parcel.client) == channels_.end())
        return lost("speaks for a client that it was not given", now);
    switch (parcel.kind) {
    case wire::Parcel::Kind::opened: return opened(now);
    case wire::Parcel::Kind::packet:
    case wire::Parcel::Kind::refused: return server_.channel_packet(parcel, packet, fds);
    case wire::Parcel::Kind::cut: return server_.channel_lost(parcel.client, parcel.error);
    case wire::Parcel::Kind::ended: return ended(parcel.client, now);
    }
}

void ReceiverProcess::opened(Instant now)
{
    if (unconfirmed_ == 0) return lost("confirms more channels than it was given", now);
    set_deadline(--unconfirmed_ > 0 ? after(now, confirmation_ns) : never);
}

void ReceiverProcess::ended(ClientId client, Instant now)
{
    channels_.erase(std::ranges::find(channels_, client));
    if (channels_.empty()) set_deadline(after(now, idle_ns));
}

void ReceiverProcess::expire(Instant now)
{
    if (deadline_ > now) return;
    deadline_ = never;
    if (unconfirmed_ > 0) lost("does not confirm a channel", now);
    else if (child_.has_socket() && channels_.empty()) end();
}

void ReceiverProcess::child_changed(Instant now)
{
    child_.collect();
    siginfo_t info{};
    const bool stopped =
        child_.has_socket() && ::waitid(P_PID, static_cast<id_t>(child_.pid()), &info, WSTOPPED | WNOHANG) == 0 && info.si_pid;
    if (stopped) lost("was stopped", now);
}

void ReceiverProcess::lost(std::string_view why, Instant now)
{
    log::warning("receiver process {}: {}; {} channels are lost", child_.pid(), why, channels_.size());
    const std::vector<ClientId> clients = channels_;
    end();
    if (time_left(started_, now) > well_ns) backoff_ns_ = 0;
    not_before_ = after(now, backoff_ns_);
    set_deadline(not_before_);
    backoff_ns_ = std::clamp(2 * backoff_ns_, first_backoff_ns, last_backoff_ns);
    for (const ClientId client : clients)
        server_.channel_lost(client,
                             {Errc::interrupted, "the process that reads this user's channels has ended; repeat the request"});
}

void ReceiverProcess::set_deadline(Instant at)
{
    deadline_ = at;
    nearest_ = std::min(nearest_, at);
}

void ReceiverProcess::end()
{
    child_.kill();
    channels_.clear();
    unconfirmed_ = 0;
    deadline_ = never;
}

} // namespace dmb
