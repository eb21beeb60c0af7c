// SPDX-License-Identifier: MIT
// The moment when a wait must end, and the waits for one descriptor that end with it.
#pragma once
#include <cstdint>

namespace dmb {

class Deadline {
public:
    /// From now on; 0: never.
    explicit Deadline(std::uint64_t timeout_ns);

    bool passed() const;
    /// What it was made with.
    std::uint64_t timeout_ms() const { return timeout_ms_; }
    /// Looks at least once. False: not until then. True also for a descriptor in trouble: the next call on it tells which.
    /// A dma-buf is readable when those who write it are done.
    bool wait_readable(int fd) const;
    /// A dma-buf is writable when those who read it are done, too.
    bool wait_writable(int fd) const;

private:
    bool wait(int fd, short events) const;

    std::uint64_t timeout_ms_;
    std::uint64_t at_ms_;
};

} // namespace dmb
