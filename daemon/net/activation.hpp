// SPDX-License-Identifier: MIT
// What the service manager hands over and wants to hear: sd_listen_fds(3) and sd_notify(3), which are a
// few environment variables and one datagram. Without libsystemd, so that starting stays fast and works
// under any manager that speaks the same.
#pragma once
#include "proto/base/unique_fd.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace dmb {

struct HandedSocket {
    UniqueFd socket;
    bool manager = false;
};

/// Takes the sockets over and clears the variables. Empty: not activated. An error when what was handed
/// over is not a listening SEQPACKET socket each.
Result<std::vector<HandedSocket>> take_handed_sockets();

/// Reads and clears $NOTIFY_SOCKET at once, so that children do not inherit it.
class Notifier {
public:
    static Notifier from_environment();
    /// "READY=1\nSTATUS=..."; does nothing without a manager, never blocks.
    void tell(std::string_view state) const;

private:
    std::string path_;
};

} // namespace dmb
