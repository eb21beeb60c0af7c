// SPDX-License-Identifier: MIT
// Integers with a meaning. ClientId and ImageId cannot be mixed up; both can be compared and hashed.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>

namespace dmb {

template <class Tag, class T> struct Strong {
    T value{};
    friend constexpr auto operator<=>(const Strong&, const Strong&) = default;
};

using ClientId = Strong<struct ClientTag, std::uint64_t>; ///< one connection; never reused
using ImageId = Strong<struct ImageTag, std::uint64_t>;   ///< one image in the broker; never reused
using HandleId = Strong<struct HandleTag, std::uint32_t>; ///< one client's hold on an image; meaningless elsewhere

} // namespace dmb

template <class Tag, class T> struct std::hash<dmb::Strong<Tag, T>> {
    std::size_t operator()(const dmb::Strong<Tag, T>& id) const { return std::hash<T>{}(id.value); }
};
