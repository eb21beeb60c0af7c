// SPDX-License-Identifier: MIT
// Trials: allocates a small image, has it imported and compared by a helper that may die of it, and notes the
// result. Trials run side by side where no device has part in two of them; clients that need none never wait for one.
#pragma once
#include "daemon/alloc/allocator.hpp"
#include "daemon/core/deciding/layouts.hpp"
#include "daemon/core/proving/proofs.hpp"

#include <deque>
#include <memory>
#include <unordered_map>

namespace dmb {

/// Those who are not allocators. Empty and null where this broker runs without them.
struct Helpers {
    std::vector<Helper*> provers; ///< as many trials can run at once
    Helper* system = nullptr;     ///< reads and writes what the CPU can map
};

/// One layout of one device, for some importers.
struct Trial {
    Allocator* allocator = nullptr;
    std::uint8_t device = 0;
    FourCC format;
    Modifier modifier;
    Usage usage; ///< the image is made for, as the one that is wanted will be
    LayoutRules rules;
    Extent size; ///< of the image that is wanted
    std::vector<Party> importers;
};

/// Whether a client waits for it.
enum class Urgency : bool { background, now };

/// Trials that are waited for together.
using Batch = Strong<struct BatchTag, std::uint64_t>;

class Trials {
public:
    using Done = std::move_only_function<void(Instant now)>;
    Trials(Proofs& proofs, Helpers helpers) : proofs_(proofs), helpers_(std::move(helpers)) {}

    /// The importers of the trial whose result is not known and could be found out.
    std::vector<Party> untried(const Trial&) const;
    /// `done` is called once, when all that can be found out is, at once or later. An importer may be left without a result.
    Batch run(std::vector<Trial>, Instant now, Done done, Urgency = Urgency::now);
    /// `done` is not called any more, and what has not begun never does. Nothing for one that has ended.
    void cancel(Batch);

private:
    /// One exporter, one layout, one importer.
    struct Job {
        Batch batch;
        Urgency urgency;
        Trial trial; ///< without importers
        Party importer;
        Exporter exporter;        ///< as it was when the trial was wanted
        Helper* prover = nullptr; ///< nobody else's while this runs
        bool asking = false;      ///< the prover has it
        bool gave_way = false;    ///< to a client's; it begins anew later
        bool doubtful = false;    ///< one of its devices may still suffer from what gave way
        ImageDesc desc;
        ImageFds fds;
        Instant began;
    };
    using JobPointer = std::unique_ptr<Job>;
    using Queue = std::deque<JobPointer>;
    struct Waiting {
        Done done;
        std::size_t left = 0; ///< jobs
    };

    static bool have_common_device(const Job&, const Job&);
    bool may_begin(const Job&) const;
    bool is_open(const Job&) const;
    Helper* free_prover() const;
    void next(Instant now);
    JobPointer take_next();
    void begin(JobPointer, Instant now);
    void make_way(Job&, Instant now);
    void give_way(Job&, Instant now);
    void begin_again(JobPointer, Instant now);
    void allocate(JobPointer, Instant now);
    void allocated(JobPointer, Result<Allocated>, Instant now);
    void fill(JobPointer, Instant now);
    void ask(JobPointer, Instant now);
    void answered(JobPointer, const Result<Proven>&, Instant now);
    void finish(JobPointer, Instant now);
    void note_exporter(const Job&, const Error&, Instant now);
    void note(const Job&, ProofResult, std::string_view reason, Instant now);

    Proofs& proofs_;
    Helpers helpers_;
    Queue waiting_, background_;
    std::vector<Job*> running_; ///< owned by whatever completes their next step
    std::unordered_map<Batch, Waiting> batches_;
    std::uint64_t last_batch_ = 0;
    bool choosing_ = false; ///< next() runs; what ends meanwhile is seen by its loop
};

} // namespace dmb
