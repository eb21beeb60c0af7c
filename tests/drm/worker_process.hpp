// SPDX-License-Identifier: MIT
// The real dmabroker-worker on a socketpair, as dmabrokerd would start it. It dies with the test.
#pragma once
#include "proto/wire/codec.hpp"

#include <string>
#include <sys/types.h>
#include <vector>

namespace dmb::test {

struct WorkerAnswer {
    wire::WorkerReply message;
    std::uint64_t serial = 0;
    wire::PacketFds fds;
    const wire::WorkerImage* image() const { return std::get_if<wire::WorkerImage>(&message); }
    const wire::ErrorReply* error() const { return std::get_if<wire::ErrorReply>(&message); }
    const wire::WorkerProof* proof() const { return std::get_if<wire::WorkerProof>(&message); }
    const wire::WorkerPixels* pixels() const { return std::get_if<wire::WorkerPixels>(&message); }
    const wire::WorkerDone* done() const { return std::get_if<wire::WorkerDone>(&message); }
};

/// Of one device of a worker.
struct Support : Capability {
    std::uint8_t device = 0; ///< index into WorkerHello::exports
};

class WorkerProcess {
public:
    /// {"vulkan", MANIFEST} or {"gbm", "/dev/dri/card0"}. The binary is $DMABROKER_WORKER, or the one of this build.
    explicit WorkerProcess(const std::vector<std::string>& arguments);
    ~WorkerProcess();
    WorkerProcess(const WorkerProcess&) = delete;
    WorkerProcess& operator=(const WorkerProcess&) = delete;

    const std::string& name() const { return name_; }
    pid_t pid() const { return pid_; }
    /// Waits for it on the first call.
    const wire::WorkerHello& hello();
    /// All that it says to make, device by device.
    std::vector<Support> formats();
    /// Throws when the worker went away or sent nonsense.
    WorkerAnswer allocate(std::uint8_t device, const AllocateSpec& spec, int contents = -1, const LayoutRules& rules = {});
    /// Any request; `fds` are borrowed.
    template <class Message> WorkerAnswer ask(const Message& request, std::span<const int> fds);
    /// Any bytes at all.
    void send(std::span<const std::byte> packet, std::span<const int> fds = {});
    WorkerAnswer receive();
    /// Closes the socket and returns the exit status as from waitpid.
    int finish();

private:
    std::string name_;
    UniqueFd socket_;
    pid_t pid_ = -1;
    std::uint64_t serial_ = 0;
    bool greeted_ = false;
    wire::WorkerHello hello_;
};

} // namespace dmb::test
