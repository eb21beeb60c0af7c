// SPDX-License-Identifier: MIT
// Who connected, as the kernel saw it then. Used for display, for quotas per user and for how far the kernel keeps
// apart what clients had, never for a decision about rights: a connection can be passed on, and the connection is the
// principal.
#pragma once
#include "proto/base/result.hpp"

namespace dmb {

struct Peer {
    std::uint32_t pid = 0;
    std::uint32_t uid = 0;
    bool unmapped = false; ///< the uid is the kernel's stand-in for users of other namespaces
    /// The mode 0600 does not keep it from opening a memfd of the broker anew: the broker's own user, root, or nobody
    /// knows who.
    bool may_reopen = true;
};

Result<Peer> peer_of(int socket);
/// Which user of Accounts pays. Users that look alike do not share one.
constexpr std::uint64_t account_key(const Peer& peer, std::uint64_t connection)
{
    return peer.unmapped ? (1ULL << 63) | connection : peer.uid;
}

} // namespace dmb
