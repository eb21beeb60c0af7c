// SPDX-License-Identifier: MIT
// What can be tried without a GPU driver and without a broker: kernel, device nodes, limits.
#pragma once
#include "tools/doctor/finding.hpp"

namespace dmb::doctor {

std::vector<Finding> check_system();

} // namespace dmb::doctor
