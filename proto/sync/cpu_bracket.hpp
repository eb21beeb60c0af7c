// SPDX-License-Identifier: MIT
// The bracket around what the CPU does with a dma-buf: DMA_BUF_IOCTL_SYNC of linux/dma-buf.h.
#pragma once
#include "proto/base/flags.hpp"
#include "proto/base/result.hpp"
#include "proto/sync/deadline.hpp"

namespace dmb {

/// What is done with pixels. The numbers are those of linux/dma-buf.h.
enum class Direction : std::uint32_t { read = 1, write = 2, all = 3 };
using Directions = Flags<Direction>;

class CpuBracket {
public:
    /// Waits for pending GPU work. Borrows the descriptor until the end. A memfd has no bracket, and none is needed.
    static Result<CpuBracket> begin(int fd, Directions, const Deadline&);
    CpuBracket() = default;
    CpuBracket(CpuBracket&& other) noexcept : fd_(std::exchange(other.fd_, -1)), directions_(other.directions_) {}
    CpuBracket& operator=(CpuBracket&&) noexcept;
    ~CpuBracket() { (void)end(); }

    /// Makes what was written visible. Nothing to do for one that has ended.
    Result<> end();

private:
    CpuBracket(int fd, Directions directions) : fd_(fd), directions_(directions) {}
    int fd_ = -1;
    Directions directions_;
};

} // namespace dmb
