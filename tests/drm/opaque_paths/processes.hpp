// SPDX-License-Identifier: MIT
// Runs a path as two processes. The parent meets no GPU driver: drivers do not survive fork, and one that crashes
// is a failed path, not the end of the program.
#pragma once
#include "tests/drm/opaque_paths/link.hpp"

#include <functional>

namespace dmb::paths {

/// What one of the processes does. Returns a remark; throws Skip, PeerLeft or what failed.
using Role = std::function<std::string(Link&)>;

enum class Verdict { passed, failed, skipped };
struct Outcome {
    Verdict verdict = Verdict::failed;
    std::string text;
};

/// Both at once, connected to each other; killed after `seconds`.
Outcome run_pair(const Role& producer, const Role& consumer, double seconds = 120);
/// In a process of its own, without anybody to talk to.
Outcome run_alone(const std::function<std::string()>& work, double seconds = 120);

} // namespace dmb::paths
