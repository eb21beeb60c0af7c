// SPDX-License-Identifier: MIT
// The ends of paths that are OpenGL's: memory objects and, where the driver has them, semaphore objects.
#pragma once
#include "tests/drm/opaque_paths/sharing.hpp"

namespace dmb::paths {

std::string gl_reads(Link&, const Setup&, Sync);
std::string gl_draws(Link&, const Setup&, Sync);

} // namespace dmb::paths
