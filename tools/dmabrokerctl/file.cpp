// SPDX-License-Identifier: MIT
// InputFile and OutputFile own what the command line named. A buffer is allocated before its bytes are read, so an
// InputFile knows their number: a regular file says it, and whatever does not (pipes, and files of /proc, which claim
// to be empty) is collected in a memfd. An OutputFile that is not finished leaves nothing behind.
#include "tools/dmabrokerctl/file.hpp"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace dmb::ctl {
namespace {

/// From where it stands to its end; 0: only reading tells.
std::uint64_t size_left(int fd)
{
    struct stat file{};
    if (::fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) return 0;
    const off_t position = ::lseek(fd, 0, SEEK_CUR);
    return position < file.st_size ? static_cast<std::uint64_t>(file.st_size - position) : 0;
}

/// All that is left of `from`, or as much as shows that it is too much.
Result<UniqueFd> collect(const std::string& path, int from)
{
    UniqueFd memory = UniqueFd::adopt(::memfd_create("dmabrokerctl", MFD_CLOEXEC));
    if (!memory) return fail_errno(Errc::out_of_memory, "create memory for " + path, errno);
    std::vector<std::byte> piece(1 << 20);
    for (std::uint64_t size = 0; size <= UINT32_MAX;) {
        const ssize_t got = ::read(from, piece.data(), piece.size());
        if (got < 0) return fail_errno(Errc::invalid_argument, path, errno);
        if (got == 0) break;
        if (::write(memory.get(), piece.data(), static_cast<std::size_t>(got)) != got)
            return fail_errno(Errc::out_of_memory, "collect " + path, errno);
        size += static_cast<std::uint64_t>(got);
    }
    ::lseek(memory.get(), 0, SEEK_SET);
    return memory;
}

bool is_special(const std::string& path)
{
    std::error_code ignored;
    const auto status = std::filesystem::symlink_status(path, ignored);
    return std::filesystem::exists(status) && !std::filesystem::is_regular_file(status);
}

} // namespace

Result<InputFile> InputFile::open(const std::string& path)
{
    UniqueFd fd =
        UniqueFd::adopt(path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno(Errc::invalid_argument, path, errno);
    if (size_left(fd.get()) == 0) fd = TRY(collect(path, fd.get()));
    const std::uint64_t size = size_left(fd.get());
    if (size == 0) return fail(Errc::bad_size, "{}: is empty, a buffer has at least one byte", path);
    if (size > UINT32_MAX)
        return fail(Errc::bad_size, "{}: is beyond the limit of {} bytes; share it in parts", path, UINT32_MAX);
    return InputFile(path, std::move(fd), static_cast<std::uint32_t>(size));
}

Result<> InputFile::read(std::byte* to) const
{
    for (std::size_t done = 0; done < size_;) {
        const ssize_t got = ::read(fd_.get(), to + done, size_ - done);
        if (got < 0) return fail_errno(Errc::invalid_argument, path_, errno);
        if (got == 0) return fail(Errc::invalid_argument, "{}: became shorter while it was read", path_);
        done += static_cast<std::size_t>(got);
    }
    return {};
}

OutputFile::OutputFile(std::string path, std::string temporary, File file)
    : path_(std::move(path)), temporary_(std::move(temporary)), file_(std::move(file))
{
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), temporary_(std::exchange(other.temporary_, {})), file_(std::move(other.file_))
{
}

OutputFile::~OutputFile()
{
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<OutputFile> OutputFile::create(const std::string& path)
{
    if (path == "-") return OutputFile(path, {}, File(stdout));
    const std::string temporary = is_special(path) ? std::string() : fmt::format("{}.{}.part", path, ::getpid());
    File file(std::fopen(temporary.empty() ? path.c_str() : temporary.c_str(), "wbe"));
    if (!file) return fail_errno(Errc::invalid_argument, path, errno);
    return OutputFile(path, temporary, std::move(file));
}

std::unexpected<Error> OutputFile::broken() const { return fail_errno(Errc::internal, path_ + ": cannot be written", errno); }

Result<> OutputFile::write(std::span<const std::byte> bytes)
{
    if (std::fwrite(bytes.data(), 1, bytes.size(), stream()) != bytes.size()) return broken();
    return {};
}

Result<> OutputFile::finish()
{
    if (std::fflush(stream()) != 0) return broken();
    file_.reset();
    if (temporary_.empty()) return {};
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return broken();
    temporary_.clear();
    return {};
}

} // namespace dmb::ctl
