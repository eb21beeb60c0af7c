// SPDX-License-Identifier: MIT
// Running allocations: from a request to memory and the list of what was considered on the way.
#pragma once
#include "daemon/alloc/allocator.hpp"
#include "daemon/alloc/pool.hpp"
#include "daemon/core/negotiate.hpp"

#include <memory>
#include <vector>

namespace dmb {

/// What an allocation came to. `candidates`: what was preferred but could not serve, what
/// was tried and failed, and last the one that served; on failure those tried, then all refused.
struct Outcome {
    Result<Allocated> memory;
    std::vector<wire::Candidate> candidates;
};

class Allocations {
public:
    using Done = std::move_only_function<void(Outcome)>;

    Allocations(std::vector<Allocator*> allocators, Pool& pool);

    /// `done` is called once, before this returns or later, unless the client is forgotten first.
    void start(ClientId, const wire::AllocateSpec&, UniqueFd contents, Instant now, Done done);
    /// Requests of this client that still wait for a device are dropped.
    void forget(ClientId);
    /// An allocator's devices are other ones now.
    void devices_changed(Instant now);

    /// All devices, in the order of the snapshot.
    const std::vector<Offer>& offers() const { return offers_; }

private:
    struct Job {
        ClientId client;
        wire::AllocateSpec spec;
        UniqueFd contents;
        Instant now;
        Done done;
        std::shared_ptr<const Negotiation> plan;
        std::size_t next = 0; ///< in plan.choices
        std::vector<wire::Candidate> failed;
        Errc last_error = Errc::no_backend;
    };
    using JobPointer = std::unique_ptr<Job>;

    bool must_wait(const wire::AllocateSpec&) const;
    std::shared_ptr<const Negotiation> negotiated(const wire::AllocateSpec&);
    bool serve_from_pool(ClientId, const wire::AllocateSpec&, Done&);
    void plan(JobPointer);
    void attempt(JobPointer);
    void attempted(JobPointer, Result<Allocated>);
    void succeed(JobPointer, Allocated, const char* reason);
    void give_up(JobPointer);
    /// Of the choice being tried; a copy, because a worker that restarts has other devices.
    DeviceInfo device_of(const Job&) const;

    std::vector<Allocator*> allocators_;
    Pool& pool_;
    std::vector<Offer> offers_;
    std::vector<JobPointer> waiting_;
    /// The last request's plan: clients ask for the same again and again.
    wire::AllocateSpec last_spec_;
    std::shared_ptr<const Negotiation> last_plan_; ///< null: none, or not valid any more
};

} // namespace dmb
