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

/// What we have no use for, by its name in $LISTEN_FDNAMES. It stays open: the manager gave it to keep, and what it
/// belongs to may come later.
struct KeptDescriptor {
    UniqueFd fd;
    std::string name;
};

struct Handed {
    std::vector<HandedSocket> sockets; ///< empty: not activated
    std::vector<KeptDescriptor> kept;
};

/// Takes over what is open of what was handed over, close-on-exec, and clears the variables. An error when $LISTEN_FDS is
/// no number.
Result<Handed> take_handed();

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
