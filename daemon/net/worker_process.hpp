// SPDX-License-Identifier: MIT
// One dmabroker-worker: its process, its socket, and its WorkerClient.
#pragma once
#include "daemon/alloc/worker_client.hpp"
#include "daemon/net/asio.hpp"
#include "daemon/net/child_process.hpp"
#include "daemon/net/server.hpp"

#include <optional>

namespace dmb {

class WorkerProcess : public WorkerLink, public Timed {
public:
    /// `arguments`: program first. `changed` as for WorkerClient.
    WorkerProcess(asio::io_context&, Server&, std::vector<std::string> arguments, Exporter placeholder, BackendSet offers,
                  WorkerTiming, std::function<void(Instant)> changed);
    ~WorkerProcess() override;

    WorkerClient& client() { return client_; }
    Instant deadline() const override { return client_.deadline(); }
    void expire(Instant now) override { client_.expire(now); }
    /// To be called at SIGCHLD, which does not say whose child it was.
    void child_ended();

    Result<> start() override;
    Result<> send(const wire::WorkerRequest&, std::uint64_t serial, std::span<const int> fds) override;
    void kill() override;

private:
    void readable();
    void wait_for_end(const Error& why);
    void look_for_end();

    Server& server_;
    std::vector<std::string> arguments_;
    WorkerClient client_;
    std::optional<Error> ending_; ///< why the socket ended, until the process has
    ChildProcess child_;
};

} // namespace dmb
