// SPDX-License-Identifier: MIT
// One memfd per image, opened twice: `keeper` stays in the broker, the other open file is what clients
// get. So the pool can ask the kernel whether anybody but the broker still has it open (exclusive.cpp).
// Seals SHRINK and GROW keep mappings safe from SIGBUS; F_SEAL_WRITE and F_SEAL_FUTURE_WRITE would crash
// software GPU drivers. Mode 0600 keeps other users from reopening a read-only descriptor for writing.
#include "daemon/alloc/memfd.hpp"

#include "daemon/alloc/system_formats.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace dmb {
namespace {

UniqueFd create_unexecutable(const char* name)
{
    constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    static bool kernel_has_noexec = true; // from 6.3
    if (kernel_has_noexec) {
        UniqueFd fd = UniqueFd::adopt(::memfd_create(name, flags | MFD_NOEXEC_SEAL));
        if (fd || errno != EINVAL) return fd;
        kernel_has_noexec = false;
    }
    return UniqueFd::adopt(::memfd_create(name, flags));
}

/// Our own memory: statx answers from the inode.
Result<MemoryKey> key_of(int fd)
{
    struct statx info{};
    if (::statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &info) != 0)
        return fail_errno(Errc::internal, "identify a memfd", errno);
    return MemoryKey{info.stx_mnt_id, info.stx_ino};
}

Result<Allocated> make_image(const AllocateSpec& spec, const LayoutRules& rules)
{
    Allocated out;
    out.desc = TRY(linear_layout(spec.size, spec.format, rules, software_stride_alignment));
    out.desc.kind = MemoryKind::memfd;
    out.desc.backend = Backend::memfd;
    out.desc.rung = Rung::system_dma_buf;
    out.desc.usage = spec.usage;
    // The kernel does not count the file that memfd_create makes among the writers of its inode, so a write
    // lease on that one is always refused: keep one opened the common way.
    const UniqueFd made = TRY(create_memfd("dmabroker", out.desc.memories[0].size, F_SEAL_SHRINK | F_SEAL_GROW));
    out.keeper = TRY(reopen(made.get(), O_RDWR));
    out.fds.push_back(TRY(reopen(out.keeper.get(), O_RDWR)));
    out.keys.push_back(TRY(key_of(out.keeper.get())));
    return out;
}

} // namespace

Result<UniqueFd> create_memfd(const char* name, std::uint64_t size, unsigned seals)
{
    UniqueFd fd = create_unexecutable(name);
    if (!fd) return fail_errno(Errc::out_of_memory, "memfd_create", errno);
    if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return fail_errno(Errc::out_of_memory, "size a memfd", errno);
    if (::fchmod(fd.get(), 0600) != 0) return fail_errno(Errc::internal, "set a memfd's mode", errno);
    if (::fcntl(fd.get(), F_ADD_SEALS, static_cast<int>(seals | F_SEAL_SEAL)) != 0)
        return fail_errno(Errc::internal, "seal a memfd", errno);
    return fd;
}

Result<UniqueFd> sealed_copy(const char* name, std::span<const std::byte> bytes)
{
    UniqueFd fd = create_unexecutable(name);
    if (!fd) return fail_errno(Errc::out_of_memory, "memfd_create", errno);
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd.get(), bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return fail_errno(Errc::out_of_memory, "write to a memfd", errno);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return fail_errno(Errc::internal, "seal a memfd", errno);
    return fd;
}

Result<UniqueFd> reopen(int fd, int flags)
{
    char path[40];
    *fmt::format_to(path, "/proc/self/fd/{}", fd) = '\0';
    UniqueFd again = UniqueFd::adopt(::open(path, flags | O_CLOEXEC));
    if (!again) return fail_errno(Errc::out_of_memory, "reopen a memfd through /proc/self/fd", errno);
    return again;
}

MemfdAllocator::MemfdAllocator()
{
    exports_.exporter.backend = Backend::memfd;
    exports_.exporter.name = "system memory (sealed memfd)";
    exports_.exporter.software = true;
    exports_.rows = system_formats(MemoryKind::memfd);
}

BackendSet MemfdAllocator::offers() const
{
    BackendSet set;
    set.add(Backend::memfd);
    return set;
}

void MemfdAllocator::allocate(std::uint8_t, const AllocateSpec& spec, const LayoutRules& rules, int, Instant now,
                              Completion done)
{
    done(make_image(spec, rules), now);
}

} // namespace dmb
