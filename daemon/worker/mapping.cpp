// SPDX-License-Identifier: MIT
// mmap and DMA_BUF_IOCTL_SYNC, for what the backends do with the CPU: filling and reading buffers, and trying whether a
// mapping is true. Only for memory that it allocated or that Image::validate identified: mapping anything else that
// somebody owns can raise SIGBUS. Memfds have no brackets (ENOTTY). What libdmabroker's own mapping does is
// proofs/cpu_pixels.
#include "daemon/worker/mapping.hpp"

#include <cerrno>
#include <linux/dma-buf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

namespace dmb::worker {
namespace {

int sync(int fd, std::uint64_t flags)
{
    dma_buf_sync argument{flags | DMA_BUF_SYNC_RW};
    int done;
    do done = ::ioctl(fd, DMA_BUF_IOCTL_SYNC, &argument);
    while (done < 0 && (errno == EINTR || errno == EAGAIN));
    return done;
}

} // namespace

Result<Mapping> Mapping::map(int fd, std::uint64_t size)
{
    void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) return fail_errno(Errc::backend_failed, "map the memory for the CPU", errno);
    if (sync(fd, DMA_BUF_SYNC_START) < 0 && errno != ENOTTY) {
        const int error = errno;
        ::munmap(data, size);
        return fail_errno(Errc::backend_failed, "DMA_BUF_IOCTL_SYNC", error);
    }
    return Mapping(static_cast<std::byte*>(data), size, fd);
}

Mapping::~Mapping()
{
    if (!data_) return;
    sync(fd_, DMA_BUF_SYNC_END);
    ::munmap(data_, size_);
}

} // namespace dmb::worker
