// SPDX-License-Identifier: MIT
// What a machine can do, as files: recorded where the hardware is, replayed where it is not.
#pragma once
#include "tests/drm/opaque_paths/sharing.hpp"

namespace dmb::paths {

/// Every peer's capability table (NN.json), their names (peers.json) and what the broker says of its devices and
/// formats (inspect.json). Loads every driver here.
std::string write_tables(const std::string& folder, const Setup&);

} // namespace dmb::paths
