// SPDX-License-Identifier: MIT
// The one descriptor that an application waits for, whatever becomes of the socket behind it.
#pragma once
#include "proto/base/unique_fd.hpp"

namespace dmb {

/// Readable when the watched socket is, or after ring() until silence().
class Readiness {
public:
    /// Made when it is asked for the first time, and the same from then on.
    Result<int> fd();
    /// Borrows it until unwatch().
    Result<> watch(int socket);
    /// Before the socket is closed: a child made by fork may still have it open, and would keep it watched.
    void unwatch() noexcept;
    void ring() noexcept;
    void silence() noexcept;

private:
    Result<> make();
    UniqueFd epoll_, bell_;
    int socket_ = -1;
    bool rung_ = false;
};

} // namespace dmb
