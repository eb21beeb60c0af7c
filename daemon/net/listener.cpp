// SPDX-License-Identifier: MIT
// Accepts a bounded number per wake-up, so that a flood of connections does not starve the connected. At
// the descriptor limit a client is accepted into the spare descriptor and closed: left in the backlog it
// would wake the loop for ever.
#include "daemon/net/listener.hpp"

#include "daemon/net/clock.hpp"
#include "proto/base/log.hpp"
#include "proto/wire/channel.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#if !defined SO_PASSRIGHTS && !defined __sparc__ && !defined __hppa__
#define SO_PASSRIGHTS 83
#endif

namespace dmb {
namespace {

constexpr int backlog = 4096;
constexpr int accepts_per_wakeup = 64;

UniqueFd open_spare() { return UniqueFd::adopt(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

bool is_same_file(int fd, const std::string& path)
{
    struct stat opened{}, named{};
    return ::fstat(fd, &opened) == 0 && ::stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

Result<> remove_stale(const std::string& path)
{
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0) return {};
    if (!S_ISSOCK(info.st_mode))
        return fail(Errc::invalid_argument, "{} exists and is not a socket; choose another path", path);
    // No dmabrokerd holds the lock: a service manager listens for one.
    constexpr std::uint64_t patience_ns = 1'000'000'000; // for who listens and accepts nothing: in use, too
    const Result<UniqueFd> listening = wire::connect(path, patience_ns);
    if (listening || listening.error().code != Errc::no_broker)
        return fail(Errc::denied, "{} is in use; stop who listens there (dmabroker.socket?) or choose another --socket", path);
    ::unlink(path.c_str());
    return {};
}

/// Connections inherit it: sending them a descriptor fails with EPERM. Kernels before 6.16 do not have it; there
/// receive_plain() drops descriptors.
void refuse_descriptors([[maybe_unused]] int listening)
{
#ifdef SO_PASSRIGHTS
    const int no = 0;
    ::setsockopt(listening, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof no);
#endif
}

} // namespace

Result<PathLock> PathLock::take(const std::string& path)
{
    const std::string lock = path + ".lock";
    if (const std::size_t slash = lock.rfind('/'); slash != std::string::npos && slash > 0)
        ::mkdir(lock.substr(0, slash).c_str(), ::geteuid() == 0 ? 0755 : 0700);
    for (;;) {
        UniqueFd fd = UniqueFd::adopt(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (!fd) return fail(Errc::internal, "{}: {}; choose another --socket", lock, std::strerror(errno));
        if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
            return fail(Errc::denied, "another dmabrokerd serves {}; stop it or choose another --socket", path);
        // The last owner may have removed the file between our open and our lock.
        if (is_same_file(fd.get(), lock)) return PathLock(std::move(fd), lock);
    }
}

PathLock::~PathLock()
{
    if (fd_) ::unlink(path_.c_str());
}

Result<UniqueFd> listen_on(const std::string& path, unsigned mode)
{
    const sockaddr_un address = TRY(wire::socket_address(path));
    TRY(remove_stale(path));
    UniqueFd socket = UniqueFd::adopt(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return fail_errno(Errc::internal, "create a socket", errno);
    const mode_t before = ::umask(static_cast<mode_t>(0777 & ~mode));
    const int bound = ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    const int error = errno;
    ::umask(before);
    if (bound != 0) return fail(Errc::internal, "{}: {}", path, std::strerror(error));
    if (::listen(socket.get(), backlog) != 0) return fail_errno(Errc::internal, "listen", errno);
    return socket;
}

Listener::Listener(asio::io_context& io, UniqueFd listening, bool manager, Accepted accepted)
    : socket_(io, listening.release()), manager_(manager), accepted_(std::move(accepted)), spare_(open_spare())
{
    ::fcntl(socket_.native_handle(), F_SETFL, O_NONBLOCK);
    refuse_descriptors(socket_.native_handle());
}

void Listener::start()
{
    socket_.async_wait(asio::posix::descriptor_base::wait_read, [this](error_code error) {
        if (error) return;
        accept_some();
        start();
    });
}

void Listener::accept_some()
{
    for (int i = 0; i < accepts_per_wakeup; ++i)
        if (!accept_one()) return;
}

bool Listener::accept_one()
{
    const int listening = socket_.native_handle();
    UniqueFd client = UniqueFd::adopt(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (client) {
        accepted_(std::move(client), manager_);
        return true;
    }
    if (errno == ECONNABORTED || errno == EINTR) return true;
    if (errno != EMFILE && errno != ENFILE) return false;
    spare_.reset();
    UniqueFd::adopt(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC)).reset();
    spare_ = open_spare();
    if (log_budget_.spend(0, now()))
        log::warning("out of descriptors: a client was refused; raise LimitNOFILE or lower the quotas");
    return true;
}

} // namespace dmb
