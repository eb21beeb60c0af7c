// SPDX-License-Identifier: MIT
// Proving: allocates a small image, has it imported and compared by a helper that may die of it, and notes the
// result. One trial at a time; clients that need none never wait for one.
#pragma once
#include "daemon/alloc/allocator.hpp"
#include "daemon/core/deciding/layouts.hpp"
#include "daemon/core/proving/proofs.hpp"

#include <deque>
#include <memory>

namespace dmb {

/// Those who are not allocators. Null where this broker runs without them.
struct Helpers {
    Helper* prover = nullptr;
    Helper* system = nullptr; ///< reads and writes what the CPU can map
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

class Proving {
public:
    using Done = std::move_only_function<void(Instant now)>;
    Proving(Proofs& proofs, const Helpers& helpers) : proofs_(proofs), helpers_(helpers) {}

    /// The importers of the trial whose result is not known and could be found out.
    std::vector<Party> untried(const Trial&) const;
    /// `done` when all that can be found out is, at once or later. An importer may be left without a result.
    void run(Trial, Instant now, Done done, Urgency = Urgency::now);

private:
    struct Job {
        Trial trial;
        DeviceInfo exporter; ///< as it was when the trial was wanted
        Done done;
        std::size_t next = 0; ///< of the importers
        ImageDesc desc;
        ImageFds fds;
        Instant began;
    };
    using JobPointer = std::unique_ptr<Job>;

    void next(Instant now);
    JobPointer take_next();
    static bool is_there(const Job&);
    void allocate(JobPointer, Instant now);
    void allocated(JobPointer, Result<Allocated>, Instant now);
    void fill(JobPointer, Instant now);
    void ask(JobPointer, Instant now);
    void answered(JobPointer, const Result<wire::WorkerProof>&, Instant now);
    void finish(JobPointer, Instant now);
    void note_exporter(const Job&, const Error&, Instant now);
    void note(const Job&, const Party&, ProofResult, std::string_view reason, Instant now);

    Proofs& proofs_;
    Helpers helpers_;
    std::deque<JobPointer> waiting_, background_;
    bool busy_ = false;
};

} // namespace dmb
