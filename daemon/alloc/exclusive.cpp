// SPDX-License-Identifier: MIT
// memfd: a write lease (fcntl(2), F_SETLEASE) is granted only while the caller's open file is the only one
// of its inode; mappings and packets in flight hold open files too. dma-buf: fdinfo's `count` is the
// number of references to the one file behind all its descriptors, and importers and mappings have one.
// Opaque memory says nothing about its holders and is never proven unshared.
#include "daemon/alloc/exclusive.hpp"

#include "daemon/alloc/memfd.hpp"
#include "proto/image/fd_identity.hpp"

#include <fcntl.h>

namespace dmb {
namespace {

bool only_open_file(int fd)
{
    if (::fcntl(fd, F_SETLEASE, F_WRLCK) != 0) return false;
    return ::fcntl(fd, F_SETLEASE, F_UNLCK) == 0;
}

bool reclaim_memfd(Allocated& memory)
{
    memory.fds.clear();
    if (!only_open_file(memory.keeper.get())) return false;
    Result<UniqueFd> again = reopen(memory.keeper.get(), O_RDWR);
    if (!again) return false;
    memory.fds.push_back(std::move(*again));
    return true;
}

} // namespace

bool reclaim(Allocated& memory)
{
    if (memory.desc.kind == MemoryKind::memfd) return memory.keeper && reclaim_memfd(memory);
    if (memory.desc.kind != MemoryKind::dma_buf || memory.unshared_count == 0 || memory.fds.size() != 1) return false;
    return dma_buf_references(memory.fds[0].get()) == memory.unshared_count;
}

bool clear(const Allocated& memory)
{
    // Far beyond the end: of a huge page (transparent_hugepage/shmem_enabled) that lies across the end of the hole the
    // kernel only zeroes the part inside, and whoever pinned it sees what is written there next.
    constexpr off_t whatever_there_is = off_t{1} << 62;
    return ::fallocate(memory.keeper.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, whatever_there_is) == 0;
}

} // namespace dmb
