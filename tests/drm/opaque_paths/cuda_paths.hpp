// SPDX-License-Identifier: MIT
// The ends of paths that are CUDA's: opaque memory of Vulkan as an array, and CUDA's own memory as a dma-buf.
#pragma once
#include "tests/drm/opaque_paths/sharing.hpp"

namespace dmb::paths {

std::string cuda_reads(Link&, const Setup&, Sync);
std::string cuda_draws(Link&, const Setup&, Sync);

/// CUDA's memory as a dma-buf, registered at the broker.
std::string cuda_registers(Link&, const Setup&);
/// Opens it and tries every importer here. Each may take it, with the right pixels, or refuse it with a reason,
/// which is the remark.
std::string everybody_opens(Link&, const Setup&);

} // namespace dmb::paths
