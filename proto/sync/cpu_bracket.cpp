// SPDX-License-Identifier: MIT
// CpuBracket: owned by whoever has the mapping, which it must not outlive. The ioctl has no time limit, so its beginning
// first waits with poll(2). A begin that failed has no end.
#include "proto/sync/cpu_bracket.hpp"

#include <cerrno>
#include <linux/dma-buf.h>
#include <sys/ioctl.h>

namespace dmb {
namespace {

static_assert(Directions(Direction::read).bits == DMA_BUF_SYNC_READ && Directions(Direction::write).bits == DMA_BUF_SYNC_WRITE);

Result<> synchronise(int fd, std::uint64_t flags)
{
    dma_buf_sync sync{flags};
    int done;
    do done = ::ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
    while (done < 0 && (errno == EINTR || errno == EAGAIN));
    if (done == 0 || errno == ENOTTY) return {}; // ENOTTY: a memfd
    return fail_errno(Errc::import_failed, "DMA_BUF_IOCTL_SYNC", errno);
}

} // namespace

Result<CpuBracket> CpuBracket::begin(int fd, Directions directions, const Deadline& deadline)
{
    const bool idle = directions.has(Direction::write) ? deadline.wait_writable(fd) : deadline.wait_readable(fd);
    if (!idle) return fail(Errc::timed_out, "the GPU did not finish with the image in {} ms", deadline.timeout_ms());
    TRY(synchronise(fd, DMA_BUF_SYNC_START | directions.bits));
    return CpuBracket(fd, directions);
}

CpuBracket& CpuBracket::operator=(CpuBracket&& other) noexcept
{
    std::swap(fd_, other.fd_);
    std::swap(directions_, other.directions_);
    return *this;
}

Result<> CpuBracket::end()
{
    const int fd = std::exchange(fd_, -1);
    if (fd < 0) return {};
    return synchronise(fd, DMA_BUF_SYNC_END | directions_.bits);
}

} // namespace dmb
