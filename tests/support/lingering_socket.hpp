// SPDX-License-Identifier: MIT
// A TCP socket with SO_LINGER and a peer that reads nothing: whoever drops the last reference to it waits.
#pragma once
#include "proto/base/unique_fd.hpp"

namespace dmb::test {

class LingeringSocket {
public:
    explicit LingeringSocket(int seconds);
    ~LingeringSocket() { end(); }

    int fd() const { return socket_.get(); }
    /// Closes it here, after it was sent to somebody: theirs is the last reference now.
    void give_away() { socket_.reset(); }
    /// Ends the wait, whoever waits.
    void end() { peer_.reset(), socket_.reset(); }

private:
    UniqueFd peer_, socket_;
};

} // namespace dmb::test
