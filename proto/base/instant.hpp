// SPDX-License-Identifier: MIT
// A moment on the monotonic clock, as a value: whoever reads the clock passes it down, so that what
// decides by time can be tested without waiting.
#pragma once
#include <compare>
#include <cstdint>

namespace dmb {

struct Instant {
    std::uint64_t ns = 0;
    friend constexpr auto operator<=>(const Instant&, const Instant&) = default;
};
inline constexpr Instant never{UINT64_MAX};

/// `never` instead of an overflow.
constexpr Instant after(Instant from, std::uint64_t ns)
{
    std::uint64_t sum = 0;
    return __builtin_add_overflow(from.ns, ns, &sum) ? never : Instant{sum};
}

/// 0 when it has passed; UINT64_MAX for `never`.
constexpr std::uint64_t time_left(Instant now, Instant end)
{
    if (end == never) return UINT64_MAX;
    return end > now ? end.ns - now.ns : 0;
}

} // namespace dmb
