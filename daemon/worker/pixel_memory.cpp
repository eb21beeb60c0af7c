// SPDX-License-Identifier: MIT
// The memory of one answer to a read request, owned by worker/server.cpp until it is sent. Mapped while it is filled:
// no driver could tell it from memory of its own, and nobody else has it yet. seal() ends the mapping and fixes the
// size, after which nobody who maps it need fear SIGBUS.
#include "daemon/worker/pixel_memory.hpp"

#include "proto/image/image.hpp"
#include "proto/image/proof_pattern.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace dmb::worker {

Result<PixelMemory> PixelMemory::create(FourCC code, Extent size)
{
    TRY(check_size(size, code));
    const FormatInfo* format = find_format(code);
    if (!format) return fail(Errc::unknown_format, "format {} is not known", to_string(code));
    const std::uint64_t bytes = packed_bytes(*format, size);
    UniqueFd fd = UniqueFd::adopt(::memfd_create("dmabroker pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
        return fail_errno(Errc::out_of_memory, "make a memfd for pixels", errno);
    void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (data == MAP_FAILED) return fail_errno(Errc::out_of_memory, "map a memfd for pixels", errno);
    return PixelMemory(std::move(fd), {static_cast<std::byte*>(data), bytes});
}

void PixelMemory::unmap()
{
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
    bytes_ = {};
}

PixelMemory::~PixelMemory() { unmap(); }

Result<UniqueFd> PixelMemory::seal() &&
{
    unmap();
    if (::fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return fail_errno(Errc::internal, "seal the pixels", errno);
    return std::move(fd_);
}

} // namespace dmb::worker
