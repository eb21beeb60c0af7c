// SPDX-License-Identifier: MIT
// Asks the kernel once, when a connection is accepted. SO_PEERCRED names who connected, not who talks now (unix(7)):
// the socket may have been passed on, so nothing here gives anybody a right. A uid that the kernel cannot express in
// our user namespace is its overflow uid; such users look alike, so account_key() gives each of their connections an
// account of its own.
#include "daemon/policy/peer.hpp"

#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/unique_fd.hpp"

namespace dmb {
namespace {

/// /proc/sys/kernel/overflowuid; 65534 where it cannot be read.
std::uint32_t overflow_uid()
{
    char text[16];
    const UniqueFd file = UniqueFd::adopt(::open("/proc/sys/kernel/overflowuid", O_RDONLY | O_CLOEXEC));
    const ssize_t size = file ? ::read(file.get(), text, sizeof text) : -1;
    std::uint32_t value = 65534;
    if (size > 0) std::from_chars(text, text + size, value);
    return value;
}

} // namespace

Result<Peer> peer_of(int socket)
{
    static const std::uint32_t overflow = overflow_uid();
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
        return fail_errno(Errc::internal, "SO_PEERCRED", errno);
    const bool unmapped = credentials.uid == overflow;
    const bool may_reopen = unmapped || credentials.uid == 0 || credentials.uid == ::geteuid();
    return Peer{static_cast<std::uint32_t>(credentials.pid), credentials.uid, unmapped, may_reopen};
}

} // namespace dmb
