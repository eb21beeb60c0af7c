// SPDX-License-Identifier: MIT
// What zero-copy is worth: one frame from a producer's GPU commands to a consumer's, through one image, against
// copies through shared memory. Both ways in the same run.
#pragma once
#include "tests/drm/opaque_paths/sharing.hpp"

namespace dmb::paths {

std::string ratio_producer(Link&, const Setup&, dmabroker::Size);
/// The remark is the result.
std::string ratio_consumer(Link&, const Setup&, dmabroker::Size);

} // namespace dmb::paths
