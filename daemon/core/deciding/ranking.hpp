// SPDX-License-Identifier: MIT
// Which of the layouts that everybody could live with is better: formats as the participants prefer them, then a GPU's
// own memory for a GPU and plain memory for the CPU, then the better rung, then modifiers as preferred.
#pragma once
#include "daemon/core/deciding/layouts.hpp"

namespace dmb {

/// Only the CPU will touch it: nothing is to be gained from waiting for a GPU.
bool is_cpu_only(Usage);
/// Of allocators; smaller is better.
int preference(const Exporter&, bool cpu_only);
/// All layouts, best first.
std::vector<std::size_t> ranked(const Question&, const Layouts&, bool cpu_only);

} // namespace dmb
