// SPDX-License-Identifier: MIT
// A program of ours in a process of its own, with a socket to it as its descriptor 3: workers and receivers.
#pragma once
#include "proto/base/unique_fd.hpp"

#include <span>
#include <string>
#include <sys/types.h>
#include <vector>

namespace dmb {

class ChildProcess {
public:
    ChildProcess() = default;
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;
    ~ChildProcess() { kill(); }

    /// `arguments`: program first. Returns the broker's end of the socket.
    Result<UniqueFd> start(std::span<std::string> arguments);
    /// Never waits for it: one that is stuck in the kernel may take its time to die.
    void kill();
    /// At SIGCHLD: takes the exit status of those that were killed, so that they do not stay as zombies.
    void collect();

    pid_t pid() const { return pid_; }
    /// Killed and not yet dead.
    std::size_t dying() const { return dying_.size(); }

private:
    pid_t pid_ = -1;
    std::vector<pid_t> dying_;
};

} // namespace dmb
