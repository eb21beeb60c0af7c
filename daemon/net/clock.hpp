// SPDX-License-Identifier: MIT
// The only clock of the daemon.
#pragma once
#include "proto/base/instant.hpp"

#include <chrono>

namespace dmb {

inline Instant now()
{
    const auto since = std::chrono::steady_clock::now().time_since_epoch();
    return {static_cast<std::uint64_t>(std::chrono::nanoseconds(since).count())};
}

inline std::chrono::steady_clock::time_point time_point(Instant at)
{
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(static_cast<std::int64_t>(at.ns)));
}

} // namespace dmb
