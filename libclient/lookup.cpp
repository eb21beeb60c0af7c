// SPDX-License-Identifier: MIT
// The order in which a broker is looked for. Only the last two places are guesses, so only there does "nobody listens"
// lead to the next one: a place that somebody named must not be passed over in silence. The socket that comes back is
// connected and blocking, and has said nothing: the hello is Connection's.
#include "libclient/lookup.hpp"

#include "proto/wire/channel.hpp"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/socket.h>

namespace dmb {
namespace {

constexpr const char* system_path = "/run/dmabroker/0";

const char* set_and_not_empty(const char* name)
{
    const char* value = std::getenv(name);
    return value && *value ? value : nullptr;
}

Result<UniqueFd> from_environment(const char* text)
{
    int number = -1;
    const char* end = text + std::strlen(text);
    if (const auto [at, error] = std::from_chars(text, end, number); error != std::errc{} || at != end)
        return fail(Errc::invalid_argument, "$DMABROKER_SOCKET is no descriptor number; unset it");
    // One connection serves one hello: the next connect, here or in a child, must not find it again.
    ::unsetenv("DMABROKER_SOCKET");
    return adopt_socket(number);
}

Result<Found> at(std::string path, std::uint64_t timeout_ns)
{
    UniqueFd socket = TRY(wire::connect(path, timeout_ns));
    return Found{std::move(socket), std::move(path)};
}

Result<Found> guess(const std::string& suffix, std::uint64_t timeout_ns)
{
    const char* folder = set_and_not_empty("XDG_RUNTIME_DIR");
    if (!folder) return at(system_path + suffix, timeout_ns);
    auto own = at(std::string(folder) + "/dmabroker/0" + suffix, timeout_ns);
    if (own || own.error().code != Errc::no_broker) return own;
    auto second = at(system_path + suffix, timeout_ns);
    // The first place is the one a person should look at.
    return second ? std::move(second) : std::move(own);
}

} // namespace

Result<UniqueFd> adopt_socket(int number)
{
    const int flags = ::fcntl(number, F_GETFD);
    if (flags < 0) return fail_errno(Errc::bad_descriptor, "the socket handed over", errno);
    UniqueFd socket = UniqueFd::adopt(number);
    int type = 0;
    socklen_t size = sizeof type;
    if (::getsockopt(number, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET)
        return fail(Errc::bad_descriptor, "descriptor {} is not a SEQPACKET socket", number);
    const int status = ::fcntl(number, F_GETFL);
    if (::fcntl(number, F_SETFD, flags | FD_CLOEXEC) < 0 || ::fcntl(number, F_SETFL, status & ~O_NONBLOCK) < 0)
        return fail_errno(Errc::internal, "prepare the socket handed over", errno);
    return socket;
}

Result<Found> find_broker(const char* remote, bool manager, std::uint64_t timeout_ns)
{
    const std::string suffix = manager ? ".manager" : "";
    if (remote) return at(remote + suffix, timeout_ns);
    if (const char* socket = set_and_not_empty("DMABROKER_SOCKET"); socket && !manager)
        return Found{TRY(from_environment(socket)), {}};
    if (const char* path = set_and_not_empty("DMABROKER_REMOTE")) return at(path + suffix, timeout_ns);
    return guess(suffix, timeout_ns);
}

} // namespace dmb
