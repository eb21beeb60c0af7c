// SPDX-License-Identifier: MIT
// Running allocations: from a request to memory and the list of what was considered on the way.
#pragma once
#include "daemon/alloc/allocator.hpp"
#include "daemon/alloc/pool.hpp"
#include "daemon/core/deciding/negotiate.hpp"
#include "daemon/core/proving/trials.hpp"
#include "daemon/core/state/records.hpp"

#include <memory>
#include <set>
#include <vector>

namespace dmb {

/// What an allocation came to. `candidates`: what was preferred but could not serve, what
/// was tried and failed, and last the one that served; on failure those tried, then all refused.
struct Outcome {
    Result<Allocated> memory;
    std::vector<Candidate> candidates;
    std::shared_ptr<const Plan> plan;
    Wish wish; ///< as it was given
};

class Allocations {
public:
    using Done = std::move_only_function<void(Outcome, Instant now)>;

    Allocations(std::vector<Allocator*> allocators, Pool& pool, Proofs& proofs, const Helpers&);

    /// `done` is called once, before this returns or later, unless the operation is forgotten first.
    void start(const OperationId&, Wish, UniqueFd contents, Instant now, Done done);
    /// True: it still waited for a device and is dropped.
    bool forget(const OperationId&);
    /// An allocator's devices are other ones now.
    void devices_changed(Instant now);
    /// Tries what the devices here could share with each other, in the background. `done` when the last trial has ended,
    /// unless it is cancelled (Trials::cancel).
    Batch warm_up(Instant now, std::vector<Party> importers, Trials::Done done);

    /// All devices, in the order of the snapshot.
    const std::vector<Offer>& offers() const { return offers_; }
    /// Whose memory this is; null for a client's, and for that of a device that is gone.
    const Offer* offer_of(const ImageDesc&) const;
    Allocator& allocator_of(const Offer& offer) const { return *allocators_[offer.allocator]; }
    const std::vector<Allocator*>& allocators() const { return allocators_; }
    Plan negotiated_now(const Wish&) const;
    Trials& trials() { return trials_; }
    const Proofs& proofs() const { return proofs_; }

private:
    struct Job {
        OperationId operation;
        Wish wish;
        UniqueFd contents;
        Instant began;
        Done done;
        std::shared_ptr<const Plan> plan;
        std::uint64_t generation = 0; ///< of the devices that it was made with
        std::size_t next = 0;         ///< in plan.choices
        std::uint32_t replans = 0;
        Exporter device; ///< of the choice that is being tried
        std::vector<Candidate> failed;
        Errc last_error = Errc::no_backend;
        std::set<std::pair<std::size_t, Modifier>> tried; ///< by proving: offer and modifier
    };
    using JobPointer = std::unique_ptr<Job>;

    bool must_wait(const AllocateSpec&) const;
    std::shared_ptr<const Plan> negotiated(const Wish&);
    /// Takes the wish if it can.
    bool serve_from_pool(ClientId, Wish&, Instant now, Done&);
    std::optional<Allocated> take_pooled(ClientId, const Plan&, const Choice&, const Wish&);
    void plan(JobPointer, Instant now);
    void attempt(JobPointer, Instant now);
    bool prove_first(JobPointer&, Instant now);
    void attempted(JobPointer, Result<Allocated>, Instant now);
    bool note_crash(const Job&, Errc);
    void succeed(JobPointer, Allocated, const char* reason, Instant now);
    void give_up(JobPointer, Instant now);

    std::vector<Allocator*> allocators_;
    Pool& pool_;
    Proofs& proofs_;
    Trials trials_;
    std::vector<Offer> offers_;
    std::vector<Exporter> known_;  ///< the devices of offers_, as they were last
    std::uint64_t generation_ = 0; ///< of them
    std::vector<JobPointer> waiting_;
    /// The last request's plan: clients ask for the same again and again.
    Wish last_wish_;
    std::shared_ptr<const Plan> last_plan_; ///< null: none, or not valid any more
};

} // namespace dmb
