// SPDX-License-Identifier: MIT
// One client's channel in a receiver process: the socket on which it sends requests that carry descriptors.
#pragma once
#include "proto/wire/channel.hpp"
#include "proto/wire/parcel.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace dmb::receiver {

/// Where a channel's threads have their descriptors. Each has a table of its own, so the numbers are the same in all.
inline constexpr int control = 3; ///< socket to the broker
inline constexpr int channel = 4; ///< socket to the client
inline constexpr int life = 5;    ///< a pipe that hangs up when the broker no longer wants the channel

class Channel {
public:
    /// `closing`: threads of all channels that are closing what a client sent.
    Channel(ClientId client, std::atomic<int>& closing) : client_(client), closing_(closing), space_(wire::parcel_bytes) {}
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    /// Returns when nothing of what the client sent is open any more, which may be never.
    void serve();

private:
    bool wait_for_packet() const;
    bool take_packet();
    wire::Parcel judge(const wire::RawPacket&) const;
    bool forward(const wire::RawPacket&);
    bool say(const wire::Parcel&, std::size_t bytes = 0, std::span<const int> fds = {});
    bool may_go_on();
    void closed();

    ClientId client_;
    std::atomic<int>& closing_;
    std::vector<std::byte> space_; ///< a parcel's head, then the client's packet
    std::mutex mutex_;
    std::condition_variable changed_;
    int own_closing_ = 0; ///< this channel's part of closing_
};

} // namespace dmb::receiver
