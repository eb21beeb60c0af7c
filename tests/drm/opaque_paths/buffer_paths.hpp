// SPDX-License-Identifier: MIT
// A buffer in opaque memory: Vulkan's, written and read by each end in turn.
#pragma once
#include "tests/drm/opaque_paths/sharing.hpp"

namespace dmb::paths {

std::string buffer_owner(Link&, const Setup&);
std::string vulkan_takes_buffer(Link&, const Setup&);
std::string gl_takes_buffer(Link&, const Setup&);
std::string cuda_takes_buffer(Link&, const Setup&);

} // namespace dmb::paths
