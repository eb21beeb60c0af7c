// SPDX-License-Identifier: MIT
// The two lowest rungs: an image that somebody cannot import is copied into one that it can, by one GPU where
// a driver can take both, through plain memory otherwise. The broker only carries descriptors from helper to
// helper.
#pragma once
#include "daemon/alloc/allocator.hpp"

#include <memory>
#include <vector>

namespace dmb {

/// Who copies. Found by trying, then kept with the copy.
struct CopyRoute {
    Helper* blitter = nullptr; ///< not null: rung blit
    Helper* reader = nullptr;
    Helper* writer = nullptr;
    bool known() const { return blitter || (reader && writer); }
    Rung rung() const { return blitter ? Rung::blit : Rung::copy; }
};

/// One image of a copy, borrowed for the call.
struct CopyEnd {
    const ImageDesc* desc = nullptr;
    const ImageFds* fds = nullptr;
    Helper* driver = nullptr; ///< of whoever allocated it; null: a client, or system memory
};

struct Copied {
    CopyRoute route;
    std::uint64_t cost_ns = 0;
};

class Copying {
public:
    using Done = std::move_only_function<void(Result<Copied>, Instant now)>;
    Copying(Helper* system, const std::vector<Allocator*>& allocators) : system_(system), allocators_(allocators) {}

    /// Same size and format. `known`: the route of the last time.
    void run(const CopyEnd& from, const CopyEnd& to, const CopyRoute& known, Instant now, Done done);

private:
    struct Job;
    using JobPointer = std::unique_ptr<Job>;

    void blit(JobPointer, Instant now);
    void read(JobPointer, Instant now);
    void write(JobPointer, Instant now);
    std::vector<Helper*> drivers_for(const CopyEnd&) const;

    Helper* system_;
    const std::vector<Allocator*>& allocators_;
};

} // namespace dmb
