// SPDX-License-Identifier: MIT
// What system memory can hold: buffers and every known format, linear, for every usage that does not need a
// display controller or a video engine to take memory it did not make.
#pragma once
#include "proto/image/capabilities.hpp"

namespace dmb {

std::vector<Capability> system_formats(MemoryKind);
inline constexpr Usage system_usage =
    usage_cpu | Usage(UsageFlag::sample) | Usage(UsageFlag::render) | Usage(UsageFlag::storage);

} // namespace dmb
