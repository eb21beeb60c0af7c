// SPDX-License-Identifier: MIT
// Descriptors of other processes.
#pragma once
#include "proto/base/unique_fd.hpp"

namespace dmb::exporting {

/// A pidfd: the process stays this one, even if its number is reused.
Result<UniqueFd> open_process(int pid);
/// A duplicate of its descriptor. `pid` is for the reasons.
Result<UniqueFd> take_from_process(const UniqueFd& process, int pid, int remote);

} // namespace dmb::exporting
