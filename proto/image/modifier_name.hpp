// SPDX-License-Identifier: MIT
// What people call a modifier.
#pragma once
#include "proto/image/types.hpp"

namespace dmb {

/// "LINEAR", "INVALID", "INTEL X_TILED", "NVIDIA 0x0300000000606015"; unknown vendors as a number alone.
std::string describe(Modifier);

} // namespace dmb
