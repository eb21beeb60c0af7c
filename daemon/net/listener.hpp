// SPDX-License-Identifier: MIT
// A listening socket and who gets what it accepts.
#pragma once
#include "daemon/net/asio.hpp"
#include "daemon/policy/log_budget.hpp"
#include "proto/base/unique_fd.hpp"

#include <functional>
#include <string>

namespace dmb {

/// Keeps a second broker off a socket path, for as long as this lives.
class PathLock {
public:
    /// Makes the folder above it (not its parents).
    static Result<PathLock> take(const std::string& path);
    PathLock(PathLock&&) = default;
    PathLock& operator=(PathLock&&) = delete;
    ~PathLock();

private:
    PathLock(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
    UniqueFd fd_;
    std::string path_;
};

/// Replaces a socket on which nobody listens; call with the PathLock held.
Result<UniqueFd> listen_on(const std::string& path, unsigned mode);

class Listener {
public:
    using Accepted = std::function<void(UniqueFd, bool manager)>;

    Listener(asio::io_context&, UniqueFd listening, bool manager, Accepted);
    void start();
    void stop() { socket_.close(); }

private:
    void accept_some();
    bool accept_one();

    Descriptor socket_;
    bool manager_;
    Accepted accepted_;
    LogBudget log_budget_;
    UniqueFd spare_; ///< given up for a moment to refuse a client when no descriptor is left
};

} // namespace dmb
