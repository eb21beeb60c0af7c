// SPDX-License-Identifier: MIT
// Flags<E>: a set of the flags of an enum.
#pragma once
#include <cstdint>

namespace dmb {

/// A set of flags of enum E; `E::all` is the union of what is known.
template <class E> struct Flags {
    std::uint32_t bits = 0;
    constexpr Flags() = default;
    constexpr Flags(E flag) : bits(static_cast<std::uint32_t>(flag)) {}
    static constexpr Flags from_bits(std::uint32_t bits)
    {
        Flags f;
        f.bits = bits;
        return f;
    }
    static constexpr Flags all() { return from_bits(static_cast<std::uint32_t>(E::all)); }
    constexpr bool empty() const { return bits == 0; }
    constexpr bool has(Flags other) const { return (bits & other.bits) == other.bits; }
    constexpr bool has_any(Flags other) const { return (bits & other.bits) != 0; }
    constexpr bool is_known() const { return (bits & ~static_cast<std::uint32_t>(E::all)) == 0; }
    friend constexpr Flags operator|(Flags a, Flags b) { return from_bits(a.bits | b.bits); }
    friend constexpr Flags operator&(Flags a, Flags b) { return from_bits(a.bits & b.bits); }
    friend constexpr bool operator==(const Flags&, const Flags&) = default;
};

} // namespace dmb
