// SPDX-License-Identifier: MIT
// Unsigned 64-bit arithmetic that notices overflow. A Checked value that overflowed once stays
// overflowed, so a formula is written plainly and judged at its end.
#pragma once
#include <cstdint>

namespace dmb {

class Checked {
public:
    constexpr Checked(std::uint64_t value) : value_(value) {}
    constexpr bool overflowed() const { return overflowed_; }
    /// Only meaningful when nothing overflowed.
    constexpr std::uint64_t value() const { return value_; }
    /// False when it overflowed: nothing holds an infinite number of bytes.
    constexpr bool fits_in(std::uint64_t limit) const { return !overflowed_ && value_ <= limit; }

    friend constexpr Checked operator+(Checked a, Checked b)
    {
        Checked r = 0;
        r.overflowed_ = __builtin_add_overflow(a.value_, b.value_, &r.value_) || a.overflowed_ || b.overflowed_;
        return r;
    }
    friend constexpr Checked operator*(Checked a, Checked b)
    {
        Checked r = 0;
        r.overflowed_ = __builtin_mul_overflow(a.value_, b.value_, &r.value_) || a.overflowed_ || b.overflowed_;
        return r;
    }

private:
    std::uint64_t value_;
    bool overflowed_ = false;
};

/// Rounds up to a multiple; `alignment` is a power of two.
constexpr Checked align_up(Checked value, std::uint64_t alignment)
{
    const Checked sum = value + (alignment - 1);
    return sum.overflowed() ? sum : Checked(sum.value() & ~(alignment - 1));
}

} // namespace dmb
