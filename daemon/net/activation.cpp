// SPDX-License-Identifier: MIT
// Names decide which socket is which: FileDescriptorName=client and =manager; sockets with other names
// are clients first, managers second, in the order given. Restored descriptors come without
// close-on-exec, so it is set here before anything can fork.
#include "daemon/net/activation.hpp"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace dmb {
namespace {

constexpr int first_handed = 3;
constexpr int most_handed = 16;

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

} // namespace

Result<std::vector<HandedSocket>> take_handed_sockets()
{
    const std::string pid = take_variable("LISTEN_PID");
    const std::string count_text = take_variable("LISTEN_FDS");
    const std::string names = take_variable("LISTEN_FDNAMES");
    std::vector<HandedSocket> out;
    if (pid.empty() || number(pid) != ::getpid()) return out;
    const int count = number(count_text);
    if (count < 0 || count > most_handed)
        return fail(Errc::invalid_argument, "LISTEN_FDS is '{}'; 0 to {} sockets can be handed over", count_text, most_handed);
    std::string_view rest = names;
    for (int i = 0; i < count; ++i) {
        UniqueFd fd = UniqueFd::adopt(first_handed + i);
        if (::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) {
            [[maybe_unused]] const int not_open = fd.release();
            return fail(Errc::invalid_argument, "LISTEN_FDS promises descriptor {}, which is not open", first_handed + i);
        }
        if (!is_listening_seqpacket(fd.get()))
            return fail(Errc::invalid_argument,
                        "descriptor {} is not a listening SEQPACKET socket; use ListenSequentialPacket=", first_handed + i);
        const std::string name = next_name(rest);
        const bool manager = name == "manager" || (name != "client" && i == 1);
        out.push_back({std::move(fd), manager});
    }
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
