// SPDX-License-Identifier: MIT
// The one descriptor that an application waits for, whatever becomes of the socket behind it.
#pragma once
#include "proto/base/unique_fd.hpp"

namespace dmb {

/// Readable when the watched socket is, or after ring() until silence().
class Readiness {
public:
    static Result<Readiness> create();

    Result<> watch(int socket);
    /// Before the socket is closed: a child made by fork may still have it open, and would keep it watched.
    void unwatch(int socket) noexcept;
    void ring() noexcept;
    void silence() noexcept;
    int fd() const { return epoll_.get(); }

private:
    Readiness(UniqueFd epoll, UniqueFd bell) : epoll_(std::move(epoll)), bell_(std::move(bell)) {}
    UniqueFd epoll_, bell_;
    bool rung_ = false;
};

} // namespace dmb
