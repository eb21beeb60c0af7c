// SPDX-License-Identifier: MIT
// One connection as the server keeps it: small, because there may be a thousand. Buffers are the
// server's.
#pragma once
#include "daemon/net/asio.hpp"
#include "daemon/net/outbox.hpp"
#include "daemon/policy/peer.hpp"
#include "proto/base/bounded.hpp"
#include "proto/base/strong.hpp"
#include "proto/base/unique_fd.hpp"

namespace dmb {

struct Session {
    /// connected: nothing heard yet.
    enum class State : std::uint8_t { connected, ready, ended };

    Session(asio::io_context& io, ClientId client, const Peer& who, bool is_manager, InFlight& in_flight)
        : socket(io), outbox(in_flight), id(client), peer(who), manager(is_manager), user(account_key(who, 0))
    {
    }

    int fd() { return socket.native_handle(); }

    Socket socket;
    Outbox outbox;
    ClientId id;
    Peer peer;
    bool manager;
    std::uint64_t user; ///< whose connections these are; users that look alike count as one
    State state = State::connected;
    BoundedVector<std::uint64_t, limits::pending_requests> pending; ///< serials of what is being served
    UniqueFd channel_life;                                          ///< while the client has a channel
    bool channel_hangs = false;                                     ///< it sent there what cannot be closed
};

} // namespace dmb
