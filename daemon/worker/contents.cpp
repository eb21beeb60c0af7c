// SPDX-License-Identifier: MIT
// The descriptor comes from a client, through a broker that does not look into it. It is read with
// pread and never mapped: a mapping of memory that somebody else owns can raise SIGBUS. F_GET_SEALS
// tells shared memory from all other files without calling into them, so a descriptor that would
// block (FUSE, a pipe) is refused before the first read.
#include "daemon/worker/contents.hpp"

#include "proto/base/checked.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace dmb::worker {
namespace {

Result<> read_at(int fd, std::uint64_t at, std::span<std::byte> to)
{
    while (!to.empty()) {
        const ssize_t got = ::pread(fd, to.data(), to.size(), static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno(Errc::bad_descriptor, "read the initial contents", errno);
        if (got == 0) return fail(Errc::bad_descriptor, "the initial contents end at byte {}", at);
        at += static_cast<std::uint64_t>(got);
        to = to.subspan(static_cast<std::size_t>(got));
    }
    return {};
}

} // namespace

std::uint64_t plane_start(const FormatInfo& format, Extent size, std::size_t plane)
{
    std::uint64_t start = 0;
    for (std::size_t i = 0; i < plane; ++i) start += row_bytes(format, i, size.width) * plane_extent(format, i, size).height;
    return start;
}

Result<Contents> Contents::open(UniqueFd fd, FourCC code, Extent size)
{
    const FormatInfo* format = find_format(code);
    if (!format) return fail(Errc::unknown_format, "format {} is not known", to_string(code));
    const int seals = ::fcntl(fd.get(), F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return fail(Errc::bad_descriptor, "initial contents must be a memfd sealed with F_SEAL_SHRINK");
    const off_t end = ::lseek(fd.get(), 0, SEEK_END);
    const std::uint64_t needed = plane_start(*format, size, format->plane_count);
    if (end < 0 || static_cast<std::uint64_t>(end) < needed)
        return fail(Errc::bad_layout, "the initial contents have {} bytes; {} {}x{} tightly packed has {}", end, format->name,
                    size.width, size.height, needed);
    return Contents(std::move(fd), *format, size);
}

Result<> Contents::read(std::size_t plane, std::uint32_t first, std::uint32_t rows, std::span<std::byte> to) const
{
    const std::uint64_t row = row_bytes(*format_, plane, size_.width);
    return read_at(fd_.get(), plane_start(*format_, size_, plane) + row * first, to.first(row * rows));
}

Result<> Contents::read_bytes(std::uint64_t at, std::span<std::byte> to) const { return read_at(fd_.get(), at, to); }

Result<> write_plane(const FormatInfo& format, Extent size, std::size_t plane, const Contents* contents, MappedPlane to)
{
    const std::uint64_t row = row_bytes(format, plane, size.width);
    for (std::uint32_t y = 0; y < plane_extent(format, plane, size).height; ++y) {
        const std::span<std::byte> bytes(to.data + to.stride * y, row);
        if (contents) TRY(contents->read(plane, y, 1, bytes));
        else std::memset(bytes.data(), 0, bytes.size());
    }
    return {};
}

} // namespace dmb::worker
