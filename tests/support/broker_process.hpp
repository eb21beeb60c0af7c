// SPDX-License-Identifier: MIT
// The real dmabrokerd on a private socket in a temporary folder. It dies with the test.
#pragma once
#include "proto/base/unique_fd.hpp"

#include <string>
#include <sys/types.h>
#include <vector>

namespace dmb::test {

class BrokerProcess {
public:
    /// Starts it and waits until it accepts connections; fails the test (exception) after 30 s.
    /// The binary is $DMABROKERD, or the one of this build. Only root can count the descriptors of a broker
    /// that is not debuggable, so for other users it is, unless they ask for the real thing.
    enum class Debuggable : bool { no, when_needed };
    explicit BrokerProcess(std::vector<std::string> arguments = {"--no-gpu"}, Debuggable = Debuggable::when_needed);
    ~BrokerProcess();
    BrokerProcess(const BrokerProcess&) = delete;
    BrokerProcess& operator=(const BrokerProcess&) = delete;

    const std::string& socket() const { return socket_; }
    const std::string& folder() const { return folder_; }
    pid_t pid() const { return pid_; }
    /// What it wrote to standard error so far.
    std::string log() const;
    /// Descriptors open in the broker now.
    std::size_t fds() const;
    /// True while it runs (it is not reaped before the destructor or terminate()).
    bool alive() const;
    /// SIGTERM, waits, returns the exit status as from waitpid.
    int terminate();

private:
    void wait_until_ready();
    std::string folder_;
    std::string socket_;
    pid_t pid_ = -1;
};

/// Its child processes now.
std::vector<pid_t> children_of(pid_t);

/// Polls until `condition` holds or `seconds` are over; returns whether it held. For states of another
/// process that send no event.
template <class Condition> bool eventually(Condition condition, double seconds = 10.0);

} // namespace dmb::test

#include <chrono>
#include <thread>

template <class Condition> bool dmb::test::eventually(Condition condition, double seconds)
{
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}
