// SPDX-License-Identifier: MIT
// A program of ours in a process of its own, with a socket to it as its descriptor 3: workers and receivers.
#pragma once
#include "daemon/net/asio.hpp"
#include "daemon/net/server.hpp"
#include "proto/base/unique_fd.hpp"

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <sys/types.h>
#include <vector>

namespace dmb {

class ChildProcess {
public:
    /// `readable`: called when its socket is, or has ended. It may close the socket and start the program anew.
    ChildProcess(asio::io_context& io, Server& server, std::function<void()> readable)
        : io_(io), server_(server), readable_(std::move(readable))
    {
    }
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;
    ~ChildProcess() { kill(); }

    /// `arguments`: program first.
    Result<> start(std::span<std::string> arguments);
    bool has_socket() const { return socket_.has_value(); }
    int socket() { return socket_->native_handle(); }
    /// Nothing is heard of it any more.
    void close_socket();
    /// Closes the socket, too. Never waits for it: one that is stuck in the kernel may take its time to die.
    void kill();
    /// At SIGCHLD: takes the exit status of those that were killed, so that they do not stay as zombies.
    void collect();

    pid_t pid() const { return pid_; }
    /// Killed and not yet dead.
    std::size_t dying() const { return dying_.size(); }

private:
    void wait();

    asio::io_context& io_;
    Server& server_;
    std::function<void()> readable_;
    std::optional<Socket> socket_;
    std::uint64_t generation_ = 0; ///< handlers of an earlier socket do nothing
    pid_t pid_ = -1;
    std::vector<pid_t> dying_;
};

} // namespace dmb
