// SPDX-License-Identifier: MIT
// Reads /proc/thread-self/fdinfo/N: the kernel prints flags, mnt_id and ino for every descriptor, and exp_name only for
// dma-bufs. Neither this nor F_GET_SEALS calls into the file system behind the descriptor. Not /proc/self: that is the
// table of the first thread, and in a receiver each thread has its own.
#include "proto/image/fd_identity.hpp"

#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace dmb {
namespace {

std::string_view read_fdinfo(int fd, std::array<char, 1024>& buffer)
{
    std::array<char, 40> path;
    *fmt::format_to(path.data(), "/proc/thread-self/fdinfo/{}", fd) = '\0';
    const UniqueFd info = UniqueFd::adopt(::open(path.data(), O_RDONLY | O_CLOEXEC));
    if (!info) return {};
    const ssize_t size = ::read(info.get(), buffer.data(), buffer.size());
    return size > 0 ? std::string_view(buffer.data(), static_cast<std::size_t>(size)) : std::string_view{};
}

/// The text after "key:" up to the end of its line, without the blanks before it.
std::string_view field(std::string_view info, std::string_view key)
{
    std::size_t at = info.starts_with(key) ? 0 : info.find(fmt::format("\n{}", key));
    if (at == std::string_view::npos) return {};
    info.remove_prefix(at + key.size() + (at != 0));
    info = info.substr(0, info.find('\n'));
    const std::size_t first = info.find_first_not_of("\t ");
    return first == std::string_view::npos ? std::string_view{} : info.substr(first);
}

std::uint64_t number(std::string_view text, int base = 10)
{
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value, base);
    return value;
}

/// Only for descriptors known to be a dma-buf or shmem: neither call blocks there. A dma-buf has no file
/// position; the one of a memfd belongs to whoever sent it and is not ours to move.
std::uint64_t size_of(int fd, FdType type)
{
    struct stat info{};
    const off_t end = type == FdType::dma_buf ? ::lseek(fd, 0, SEEK_END) : ::fstat(fd, &info) == 0 ? info.st_size : 0;
    return end > 0 ? static_cast<std::uint64_t>(end) : 0;
}

void judge_seals(int fd, int seals, FdUse use, FdIdentity& out)
{
    constexpr int against_writing = F_SEAL_WRITE | 0x0010 /* F_SEAL_FUTURE_WRITE */;
    constexpr int image_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    struct statfs fs{};
    // F_GET_SEALS succeeded, so this is shmem or hugetlbfs and statfs answers from memory.
    if (::fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
        out.problem = "a memfd on huge pages; GPU drivers cannot take it, use normal pages";
    else if (use == FdUse::contents && !(seals & F_SEAL_SHRINK))
        out.problem = "shared memory without F_SEAL_SHRINK; seal it first";
    else if (use == FdUse::image && (seals & against_writing))
        out.problem = "a memfd sealed against writing; GPU drivers crash on it, seal only SHRINK, GROW and SEAL";
    else if (use == FdUse::image && (seals & image_seals) != image_seals)
        out.problem = "shared memory whose size or seals could still change; seal it with F_SEAL_SHRINK | F_SEAL_GROW | "
                      "F_SEAL_SEAL first";
    else out.type = FdType::sealed_memfd;
}

} // namespace

FdIdentity identify(int fd, FdUse use)
{
    FdIdentity out;
    std::array<char, 1024> buffer;
    const std::string_view info = read_fdinfo(fd, buffer);
    if (info.empty()) {
        out.problem = "cannot be identified: /proc is not mounted or the descriptor is closed";
        return out;
    }
    const std::uint64_t flags = number(field(info, "flags:"), 8);
    out.mount = number(field(info, "mnt_id:"));
    out.inode = number(field(info, "ino:"));
    out.writable = (flags & O_ACCMODE) == O_RDWR && !(flags & O_PATH);
    if (!field(info, "exp_name:").empty()) out.type = FdType::dma_buf;
    else if (const int seals = ::fcntl(fd, F_GET_SEALS); seals >= 0) judge_seals(fd, seals, use, out);
    else out.problem = "neither a dma-buf nor a sealed memfd; only these can be shared as images";
    if (out.type != FdType::other) out.size = size_of(fd, out.type);
    return out;
}

FdType type_without_proc(int fd)
{
    struct statfs fs{};
    if (::fstatfs(fd, &fs) == 0 && fs.f_type == DMA_BUF_MAGIC) return FdType::dma_buf;
    const int seals = ::fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 ? FdType::sealed_memfd : FdType::other;
}

std::uint64_t dma_buf_references(int fd)
{
    std::array<char, 1024> buffer;
    return number(field(read_fdinfo(fd, buffer), "count:"));
}

} // namespace dmb
