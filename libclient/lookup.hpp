// SPDX-License-Identifier: MIT
// Where the broker is.
#pragma once
#include "proto/base/unique_fd.hpp"

#include <string>

namespace dmb {

struct Found {
    UniqueFd socket;
    std::string path; ///< where it listens; empty when the socket was handed over
};
/// `remote`: the socket's path, or null for $DMABROKER_SOCKET (a connected descriptor, taken over and
/// removed from the environment), $DMABROKER_REMOTE, $XDG_RUNTIME_DIR/dmabroker/0, /run/dmabroker/0.
/// `manager`: the manager socket beside it; $DMABROKER_SOCKET is then left alone.
Result<Found> find_broker(const char* remote, bool manager, std::uint64_t timeout_ns);
/// Takes over a descriptor number from outside: refuses what is no SEQPACKET socket, makes it blocking
/// and close-on-exec.
Result<UniqueFd> adopt_socket(int number);

} // namespace dmb
