// SPDX-License-Identifier: MIT
// Names decide which socket is which: FileDescriptorName=client and =manager; sockets with other names
// are clients first, managers second, in the order given. Restored descriptors come without
// close-on-exec, so it is set here before anything can fork. Nothing that is handed over keeps the broker from starting: a
// manager that restarts us keeps handing it over.
#include "daemon/net/activation.hpp"

#include "proto/base/log.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace dmb {
namespace {

constexpr int first_handed = 3;

std::string take_variable(const char* name)
{
    const char* value = std::getenv(name);
    std::string out = value ? value : "";
    ::unsetenv(name);
    return out;
}

int number(std::string_view text)
{
    int value = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() ? value : -1;
}

bool is_listening_seqpacket(int fd)
{
    const auto option = [fd](int which) {
        int value = -1;
        socklen_t size = sizeof value;
        return ::getsockopt(fd, SOL_SOCKET, which, &value, &size) == 0 ? value : -1;
    };
    return option(SO_DOMAIN) == AF_UNIX && option(SO_TYPE) == SOCK_SEQPACKET && option(SO_ACCEPTCONN) == 1;
}

std::string next_name(std::string_view& names)
{
    const std::size_t colon = names.find(':');
    std::string name(names.substr(0, colon));
    names = colon == std::string_view::npos ? std::string_view{} : names.substr(colon + 1);
    return name;
}

/// Those beyond cannot be open.
int most_descriptors()
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
    return static_cast<int>(std::min<rlim_t>(limit.rlim_max, INT_MAX)) - first_handed;
}

void take_one(int number, std::string name, Handed& out)
{
    if (::fcntl(number, F_SETFD, FD_CLOEXEC) != 0) return; // not open
    UniqueFd fd = UniqueFd::adopt(number);
    if (!is_listening_seqpacket(number)) return out.kept.emplace_back(std::move(fd), std::move(name)), void();
    const bool manager = name == "manager" || (name != "client" && out.sockets.size() == 1);
    out.sockets.push_back({std::move(fd), manager});
}

void report(const Handed& handed, int promised)
{
    if (!handed.kept.empty())
        log::warning("{} descriptors of the service manager are put aside, the first one is '{}' ({}): sockets to listen on "
                     "need ListenSequentialPacket=",
                     handed.kept.size(), handed.kept[0].name, handed.kept[0].fd.get());
    if (const std::size_t open = handed.sockets.size() + handed.kept.size(); open != static_cast<std::size_t>(promised))
        log::warning("LISTEN_FDS promises {} descriptors, {} of them are open", promised, open);
}

} // namespace

Result<Handed> take_handed()
{
    const std::string pid = take_variable("LISTEN_PID");
    const std::string count_text = take_variable("LISTEN_FDS");
    const std::string names = take_variable("LISTEN_FDNAMES");
    Handed out;
    if (pid.empty() || number(pid) != ::getpid()) return out;
    const int count = number(count_text);
    if (count < 0) return fail(Errc::invalid_argument, "LISTEN_FDS is '{}', which is no number of descriptors", count_text);
    std::string_view rest = names;
    const int taken = std::min(count, most_descriptors());
    for (int i = 0; i < taken; ++i) take_one(first_handed + i, next_name(rest), out);
    report(out, count);
    return out;
}

Notifier Notifier::from_environment()
{
    Notifier out;
    out.path_ = take_variable("NOTIFY_SOCKET");
    return out;
}

void Notifier::tell(std::string_view state) const
{
    sockaddr_un address{};
    if (path_.empty() || path_.size() >= sizeof address.sun_path) return;
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, path_.size());
    if (path_[0] == '@') address.sun_path[0] = '\0';
    const UniqueFd socket = UniqueFd::adopt(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size());
    [[maybe_unused]] const ssize_t sent = ::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                                                   reinterpret_cast<const sockaddr*>(&address), size);
}

} // namespace dmb
