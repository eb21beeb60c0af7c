// SPDX-License-Identifier: MIT
// The broker's side of one worker: an Allocator and Helper whose answers come from another process. It decides
// when to start, give up on, kill and restart that process; how a process is started and spoken to is
// behind WorkerLink (daemon/net/worker_process).
#pragma once
#include "daemon/alloc/allocator.hpp"
#include "proto/wire/codec.hpp"

#include <deque>
#include <string>
#include <vector>

namespace dmb {

class WorkerLink {
public:
    virtual ~WorkerLink() = default;
    /// A new process, connected. What it sends goes to WorkerClient::received, its end to ::lost.
    virtual Result<> start() = 0;
    virtual Result<> send(const wire::WorkerRequest&, std::uint64_t serial, std::span<const int> fds) = 0;
    /// Kills the process and forgets its socket; ::lost is not called for it.
    virtual void kill() = 0;
};

struct WorkerTiming {
    std::uint64_t request_ns = 10'000'000'000;
    std::uint64_t hello_ns = 60'000'000'000;
    /// Not 0: started by its first request only, and ended when it had none for so long.
    std::uint64_t idle_ns = 0;
};

/// How a worker's process ended, as far as it matters.
enum class WorkerEnd : std::uint8_t {
    killed,  ///< by somebody else, or it ended by itself
    crashed, ///< by a signal of its own making, or it talks nonsense
};

class WorkerClient : public Allocator, public Helper {
public:
    /// `placeholder` stands for its devices until they are known; `changed` is called when they are others.
    WorkerClient(std::string name, Exporter placeholder, BackendSet offers, WorkerLink&, WorkerTiming,
                 std::function<void(Instant)> changed);

    /// Those that are started by their first request are not started by this.
    void start(Instant now);
    void received(wire::Decoded<wire::WorkerReply>&, wire::PacketFds&, Instant now);
    /// The process ended, closed its socket or sent what cannot be decoded.
    void lost(std::string_view why, WorkerEnd, Instant now);
    Instant deadline() const { return deadline_; }
    void expire(Instant now);

    std::span<const Exports> exports() const override { return exports_; }
    BackendSet offers() const override { return offers_; }
    /// Worth waiting for: not once it failed to start.
    bool starting() const override
    {
        return timing_.idle_ns == 0 && (state_ == State::down || state_ == State::hello) && failed_starts_ == 0;
    }
    void allocate(std::uint8_t device, const AllocateSpec&, const LayoutRules&, int contents, Instant now,
                  Completion done) override;
    Helper* helper() override { return this; }

    void prove(const Importer&, const ImageDesc&, std::span<const int> fds, Instant now, Done<Proven> done) override;
    void abandon(Instant now) override;
    void read(const ImageDesc&, std::span<const int> fds, Instant now, Done<Pixels> done) override;
    void write(const ImageDesc&, std::span<const int> fds, Instant now, Done<std::uint64_t> done) override;
    void blit(const ImageDesc& source, const ImageDesc& destination, std::span<const int> fds, Instant now,
              Done<std::uint64_t> done) override;

private:
    /// idle: no process, and none is wanted. down: between two processes. hello: a process that has not said
    /// which devices it has.
    enum class State : std::uint8_t { idle, down, hello, ready, busy, given_up };
    struct Answer {
        wire::WorkerReply& message;
        wire::PacketFds& fds;
    };
    using Answered = std::move_only_function<void(Result<Answer>, Instant now)>;
    struct Job {
        wire::WorkerRequest request;
        wire::PacketFds fds;
        Answered done;
    };

    void ask(wire::WorkerRequest, std::span<const int> fds, Instant now, Answered);
    template <class Message, class T, class Take> void ask(wire::WorkerRequest, std::span<const int>, Instant, Done<T>, Take);
    void launch(Instant now);
    void dismiss(Instant now);
    void greeted(wire::WorkerHello&, Instant now);
    void answered(Result<Answer>, Instant now);
    static Result<Allocated> take(wire::WorkerImage&, wire::PacketFds&);
    Instant end_of_idling(Instant now) const { return timing_.idle_ns != 0 ? after(now, timing_.idle_ns) : never; }
    void next(Instant now);
    void failed(Error, Instant now);
    void failed_to_start(const Error&, Instant now);
    void give_up(const Error&, Instant now);
    void show_problem(std::string_view, Instant now);
    void fail_all(const Error&, Instant now);

    std::string name_;
    Exporter placeholder_;
    BackendSet offers_;
    WorkerLink& link_;
    WorkerTiming timing_;
    std::function<void(Instant)> changed_;
    State state_;
    bool sent_ = false; ///< the first job has left, as far as is known
    Instant deadline_ = never;
    std::uint64_t backoff_ns_;
    std::uint32_t failed_starts_ = 0;
    std::uint64_t serial_ = 0;
    std::vector<Exports> exports_;
    std::deque<Job> jobs_; ///< the first one is being served when busy
};

} // namespace dmb
