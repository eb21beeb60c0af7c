// SPDX-License-Identifier: MIT
// Ownership of a file descriptor. UniqueFd owns; an `int` parameter borrows for the call. A function
// that keeps a descriptor takes UniqueFd by value.
#pragma once
#include "proto/base/result.hpp"

#include <utility>

namespace dmb {

class UniqueFd {
public:
    UniqueFd() = default;
    /// Takes over `fd`; -1 means none.
    static UniqueFd adopt(int fd) { return UniqueFd(fd); }

    UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept
    {
        reset(other.release());
        return *this;
    }
    UniqueFd(const UniqueFd&) = delete;
    UniqueFd& operator=(const UniqueFd&) = delete;
    ~UniqueFd() { reset(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    /// Gives the descriptor to the caller.
    [[nodiscard]] int release() { return std::exchange(fd_, -1); }
    void reset(int fd = -1)
    {
        if (fd_ >= 0) close(fd_);
        fd_ = fd;
    }
    /// A second descriptor of the same file, close-on-exec.
    Result<UniqueFd> duplicate() const;

private:
    explicit UniqueFd(int fd) : fd_(fd) {}
    static void close(int fd);
    int fd_ = -1;
};

} // namespace dmb
