// SPDX-License-Identifier: MIT
// The broker's side of one worker: an Allocator whose answers come from another process. It decides when
// to start, give up on, kill and restart that process; how a process is started and spoken to is
// behind WorkerLink (daemon/net/worker_process).
#pragma once
#include "daemon/alloc/allocator.hpp"
#include "proto/wire/codec.hpp"

#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

namespace dmb {

class WorkerLink {
public:
    virtual ~WorkerLink() = default;
    /// A new process, connected. What it sends goes to WorkerClient::received, its end to ::lost.
    virtual Result<> start() = 0;
    /// `contents` is borrowed, -1 for none.
    virtual Result<> send(const wire::WorkerAllocate&, std::uint32_t serial, int contents) = 0;
    /// Kills the process and forgets its socket; ::lost is not called for it.
    virtual void kill() = 0;
};

struct WorkerTiming {
    std::uint64_t request_ns = 10'000'000'000;
    std::uint64_t hello_ns = 60'000'000'000;
};

class WorkerClient : public Allocator {
public:
    /// `placeholder` stands for its devices until they are known; `changed` is called when they are others.
    WorkerClient(std::string name, DeviceInfo placeholder, BackendSet offers, WorkerLink&, WorkerTiming,
                 std::function<void(Instant)> changed);

    void start(Instant now);
    void received(wire::Decoded<wire::WorkerReply>&, wire::PacketFds&, Instant now);
    /// The process ended, closed its socket or sent what cannot be decoded.
    void lost(std::string_view why, Instant now);
    Instant deadline() const { return deadline_; }
    void expire(Instant now);

    std::span<const DeviceInfo> devices() const override { return devices_; }
    std::span<const FormatSupport> formats() const override { return formats_; }
    BackendSet offers() const override { return offers_; }
    /// Worth waiting for: not once it failed to start.
    bool starting() const override { return (state_ == State::down || state_ == State::hello) && failed_starts_ == 0; }
    BoundedText<160> refusal(std::uint8_t device, const wire::AllocateSpec&) const override;
    void allocate(std::uint8_t device, const wire::AllocateSpec&, int contents, Instant now, Completion done) override;

private:
    /// down: between two processes. hello: a process that has not said which devices it has.
    enum class State : std::uint8_t { down, hello, ready, busy, given_up };
    struct Job {
        std::uint8_t device;
        wire::AllocateSpec spec;
        int contents;
        Completion done;
    };

    void greeted(wire::WorkerHello&, Instant now);
    void answered(Result<Allocated>, Instant now);
    Result<Allocated> take(wire::WorkerImage&, wire::PacketFds&) const;
    void next(Instant now);
    void failed(Error, Instant now);
    void failed_to_start(const Error&, Instant now);
    void give_up(const Error&, Instant now);
    void show_problem(std::string_view, Instant now);
    void fail_all(const Error&);

    std::string name_;
    DeviceInfo placeholder_;
    BackendSet offers_;
    WorkerLink& link_;
    WorkerTiming timing_;
    std::function<void(Instant)> changed_;
    State state_ = State::down;
    Instant deadline_ = never;
    std::uint64_t backoff_ns_;
    std::uint32_t failed_starts_ = 0;
    std::uint32_t serial_ = 0;
    std::vector<DeviceInfo> devices_;
    std::vector<FormatSupport> formats_;
    std::deque<Job> jobs_;                                     ///< the first one is being served when busy
    std::unordered_map<std::uint64_t, std::uint32_t> crashes_; ///< per shape of request
};

} // namespace dmb
