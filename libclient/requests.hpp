// SPDX-License-Identifier: MIT
// What was sent and not answered, kept whole: after a resume it is sent again under the same number.
#pragma once
#include "proto/base/strong.hpp"
#include "proto/base/unique_fd.hpp"
#include "proto/wire/limits.hpp"

#include <array>
#include <cstddef>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace dmb {

/// Place of an outstanding request in the table.
using Slot = std::size_t;

struct Request {
    std::uint64_t serial = 0;  ///< 0: nothing outstanding
    std::uint64_t cancel = 0;  ///< serial of the cancel that was sent for it and not answered; else 0
    bool given_up = false;     ///< nobody waits for the answer; what it gives is given back
    bool cancel_due = false;   ///< given up, and its cancel did not fit into the socket yet
    bool waiting = false;      ///< for the channel; not sent yet
    std::vector<UniqueFd> fds; ///< with some it goes over the channel

    bool is_free() const { return serial == 0 && cancel == 0; }
    bool goes_over_channel() const { return !fds.empty(); }
    std::span<const std::byte> packet() const { return std::span(bytes_).first(size_); }
    /// Room for a packet; what was there once stays allocated.
    std::span<std::byte> room(std::size_t size)
    {
        if (bytes_.size() < size) bytes_.resize(size);
        return bytes_;
    }
    void set_size(std::size_t size) { size_ = size; }

private:
    std::vector<std::byte> bytes_;
    std::size_t size_ = 0;
};

/// The outstanding requests of one client.
class Requests {
public:
    /// Errc::too_many_requests when all are outstanding.
    Result<Slot> find_free() const;
    /// The one with this serial, not 0.
    std::optional<Slot> find(std::uint64_t serial) const;
    /// Takes note when `serial` answers a cancel.
    bool take_cancel_answer(std::uint64_t serial);
    /// Outstanding ones, oldest first.
    std::vector<Slot> in_order() const;
    void forget(Slot);
    void forget_all();

    Request& operator[](Slot slot) { return all_[slot]; }
    auto begin() { return all_.begin(); }
    auto end() { return all_.end(); }

private:
    std::array<Request, limits::pending_requests> all_;
};

/// Handles on their way back. A release has no answer: it has arrived when a later request was answered.
class Releases {
public:
    struct Sent {
        std::uint64_t serial;
        HandleId handle;
    };
    void answered(std::uint64_t serial)
    {
        while (!sent.empty() && sent.front().serial < serial) sent.pop_front();
    }
    std::deque<Sent> sent;       ///< and perhaps not read by the broker
    std::deque<HandleId> unsent; ///< did not fit into the socket, or there was none
};

} // namespace dmb
