// SPDX-License-Identifier: MIT
// The only clock of the daemon.
#pragma once
#include "proto/base/instant.hpp"

#include <algorithm>
#include <chrono>

namespace dmb {

inline Instant now()
{
    const auto since = std::chrono::steady_clock::now().time_since_epoch();
    return {static_cast<std::uint64_t>(std::chrono::nanoseconds(since).count())};
}

/// The clock counts with a sign: what lies beyond its end, in 292 years, is its end and not its past.
inline std::chrono::steady_clock::time_point time_point(Instant at)
{
    const auto ns = static_cast<std::int64_t>(std::min<std::uint64_t>(at.ns, INT64_MAX));
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

} // namespace dmb
