// SPDX-License-Identifier: MIT
// The worker's serve loop: one request at a time, in order.
#pragma once
#include "daemon/worker/driver.hpp"

namespace dmb::worker {

/// Sends the hello, then answers requests until the broker closes the socket (success) or something
/// ends the connection. Borrows the socket.
Result<> serve(int socket, Driver&);

} // namespace dmb::worker
