// SPDX-License-Identifier: MIT
// A fence as a descriptor (linux/sync_file.h): signals once, when the work that it stands for is done.
#pragma once
#include "proto/base/result.hpp"
#include "proto/base/unique_fd.hpp"
#include "proto/sync/cpu_bracket.hpp"

namespace dmb {

class SyncFile {
public:
    /// What whoever does this with the dma-buf has to wait for. Errc::unsupported before Linux 6.0.
    static Result<SyncFile> export_from(int dma_buf, Directions);

    /// Errc::timed_out when it has not signalled until then.
    Result<> wait(const Deadline&) const;

private:
    explicit SyncFile(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
};

} // namespace dmb
