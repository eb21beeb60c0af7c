// SPDX-License-Identifier: MIT
// mmap and the CPU's bracket, for what the backends do with the CPU: filling and reading buffers, and trying whether a
// mapping is true. Only for memory that it allocated or that Image::validate identified: mapping anything else that
// somebody owns can raise SIGBUS. It waits for a GPU without a limit of its own: the broker ends a worker that takes too
// long. What libdmabroker's own mapping does is proofs/cpu_pixels.
#include "daemon/worker/mapping.hpp"

#include <cerrno>
#include <sys/mman.h>

namespace dmb::worker {

Result<Mapping> Mapping::map(int fd, std::uint64_t size)
{
    void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) return fail_errno(Errc::backend_failed, "map the memory for the CPU", errno);
    Mapping mapping(static_cast<std::byte*>(data), size);
    mapping.bracket_ = TRY(CpuBracket::begin(fd, Direction::all, Deadline(0)));
    return mapping;
}

Mapping::~Mapping()
{
    if (!data_) return;
    (void)bracket_.end();
    ::munmap(data_, size_);
}

} // namespace dmb::worker
