// SPDX-License-Identifier: MIT
// Asking the kernel after every packet would cost a system call per request, so an upper bound is kept
// and only when that reaches the limit is the kernel asked. SIOCOUTQ gives the unread packets' buffer
// memory, at least `smallest_buffer` each: so it bounds their number, and the sizes of the last packets
// bound the rest. A peer that reads what it asked for never comes near.
#include "daemon/net/outbox.hpp"

#include "proto/wire/channel.hpp"

#include <algorithm>
#include <linux/sockios.h>
#include <sys/ioctl.h>

namespace dmb {
namespace {

constexpr std::uint32_t smallest_buffer = 704; // measured 768 on 6.x; an sk_buff and its data are never less

} // namespace

bool Outbox::has_room(std::size_t bytes, std::size_t fds) const
{
    // A pool of images is one packet; whoever has read everything else gets it whatever its size.
    if (bytes_ == 0) return true;
    return fds_ + fds <= limits::unread_fds && bytes_ + bytes <= limits::queued_bytes;
}

Outbox::Sent Outbox::send(int socket, std::span<const std::byte> packet, std::span<const int> fds)
{
    if (!has_room(packet.size(), fds.size())) {
        measure(socket);
        if (!has_room(packet.size(), fds.size())) return Sent::too_much_unread;
    }
    if (!fds.empty() && all_.fds + fds.size() > all_.limit) return Sent::too_many_in_flight;
    const Result<bool> sent = wire::send(socket, packet, fds, wire::Wait::no);
    if (!sent) return sent.error().code == Errc::too_many_requests ? Sent::too_many_in_flight : Sent::gone;
    if (!*sent) return Sent::too_much_unread;
    record(packet.size(), fds.size());
    return Sent::yes;
}

void Outbox::record(std::size_t bytes, std::size_t fds)
{
    recent_[packets_++ % recent_.size()] = {static_cast<std::uint32_t>(bytes), static_cast<std::uint8_t>(fds)};
    set(fds_ + static_cast<std::uint32_t>(fds), bytes_ + static_cast<std::uint32_t>(bytes));
}

void Outbox::set(std::uint32_t fds, std::uint32_t bytes)
{
    all_.fds += fds;
    all_.fds -= fds_;
    fds_ = fds;
    bytes_ = bytes;
}

void Outbox::measure(int socket)
{
    int unread = 0;
    if (::ioctl(socket, SIOCOUTQ, &unread) != 0 || unread < 0) return;
    const auto most_packets = static_cast<std::uint32_t>(unread) / smallest_buffer;
    if (most_packets > std::min<std::size_t>(recent_.size(), packets_)) return;
    std::uint32_t fds = 0;
    std::uint32_t bytes = 0;
    for (std::uint32_t i = 1; i <= most_packets; ++i) {
        const Sizes& sizes = recent_[(packets_ - i) % recent_.size()];
        fds += sizes.fds;
        bytes += sizes.bytes;
    }
    set(std::min(fds, fds_), std::min(bytes, bytes_));
}

} // namespace dmb
