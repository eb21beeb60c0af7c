// SPDX-License-Identifier: MIT
// Deadline: a value. Waits are poll(2), which all that can be waited for has in common: sockets, dma-bufs
// (driver-api/dma-buf, "Implicit Fence Poll Support") and sync_files. A signal does not end them.
#include "proto/sync/deadline.hpp"

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <time.h>

namespace dmb {
namespace {

/// The coarse clock: its 4 ms do not matter here, its cost on every request would.
std::uint64_t now_ms()
{
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

} // namespace

Deadline::Deadline(std::uint64_t timeout_ns)
    : timeout_ms_(timeout_ns / 1'000'000), at_ms_(timeout_ns ? now_ms() + timeout_ms_ + 1 : UINT64_MAX)
{
}

bool Deadline::passed() const { return now_ms() >= at_ms_; }
bool Deadline::wait_readable(int fd) const { return wait(fd, POLLIN); }
bool Deadline::wait_writable(int fd) const { return wait(fd, POLLOUT); }

bool Deadline::wait(int fd, short events) const
{
    for (;;) {
        const std::uint64_t now = now_ms();
        const std::uint64_t left = now < at_ms_ ? at_ms_ - now : 0;
        pollfd waiting{fd, events, 0};
        const int found = ::poll(&waiting, 1, static_cast<int>(std::min<std::uint64_t>(left, INT32_MAX)));
        if (found > 0 || (found < 0 && errno != EINTR)) return true;
        if (found == 0 && left == 0) return false; // by this clock, too, which may lag behind poll's
    }
}

} // namespace dmb
