// SPDX-License-Identifier: MIT
// Who connected, as the kernel saw it then. Used for display and for quotas per user, never for a
// decision about rights: a connection can be passed on, and the connection is the principal.
#pragma once
#include "proto/base/result.hpp"

namespace dmb {

struct Peer {
    std::uint32_t pid = 0;
    std::uint32_t uid = 0;
    bool unmapped = false; ///< the uid is the kernel's stand-in for users of other namespaces
};

Result<Peer> peer_of(int socket);
/// Which UserAccounts entry pays. Users that look alike do not share one.
constexpr std::uint64_t account_key(const Peer& peer, std::uint64_t connection)
{
    return peer.unmapped ? (1ULL << 63) | connection : peer.uid;
}

} // namespace dmb
