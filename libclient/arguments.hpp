// SPDX-License-Identifier: MIT
// What callers hand in: pointers, and structures of whatever release they were built with. `struct_size` tells: a shorter
// structure ends where its release's ended, and what is behind belongs to somebody else; a longer one has members that we
// do not know.
#pragma once
#include "proto/base/result.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <dmabroker/dmabroker.h>
#include <span>

namespace dmb {

/// For pointers that the header does not allow to be NULL.
inline Result<> require(const void* pointer, std::string_view what)
{
    if (pointer) return {};
    return fail(Errc::invalid_argument, "{} is NULL", what);
}

/// The size of a structure's first version. A structure that grows gets a line here (those of GPU APIs: beside their
/// loaders); tests/libclient/golden/abi.txt remembers every size that ever was.
template <class T> inline constexpr std::size_t oldest_size = sizeof(T);
template <> inline constexpr std::size_t oldest_size<dmabroker_allocation> = offsetof(dmabroker_allocation, alternatives);
template <> inline constexpr std::size_t oldest_size<dmabroker_image_info> = offsetof(dmabroker_image_info, request);
template <> inline constexpr std::size_t oldest_size<dmabroker_event> = offsetof(dmabroker_event, successor);

inline Result<> check_zero(std::span<const std::byte> bytes, std::string_view what)
{
    if (std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{}; })) return {};
    return fail(Errc::unsupported, "{} is set: this release of the library does not know what it means", what);
}

/// Structures and members of structures: what a later release may give a meaning asks for something that we would not do.
template <class T> Result<> check_reserved(const T& value)
{
    if constexpr (requires { value.reserved; }) return check_zero(std::as_bytes(std::span(&value.reserved, 1)), "`reserved`");
    else return {};
}

template <class T> Result<std::size_t> checked_size(const T* given)
{
    constexpr std::size_t largest = 4096; // beyond: not a size, but a member that was never set
    if (!given) return fail(Errc::invalid_argument, "a required structure is NULL");
    const std::size_t size = given->struct_size;
    if (size >= oldest_size<T> && size <= largest) return size;
    return fail(Errc::invalid_argument, "struct_size is {}: set it to the sizeof of its structure", size);
}

/// Copies a structure of the caller; members behind its end get their default, which is 0.
template <class T> Result<T> read_struct(const T* from)
{
    const std::size_t size = TRY(checked_size(from));
    const std::size_t known = std::min(size, sizeof(T));
    const std::span bytes(reinterpret_cast<const std::byte*>(from), size);
    TRY(check_zero(bytes.subspan(known), "a member behind the end"));
    T copy{};
    std::memcpy(static_cast<void*>(&copy), bytes.data(), known);
    TRY(check_reserved(copy));
    return copy;
}

/// The same where NULL stands for every default.
template <class T> Result<T> read_optional(const T* from) { return from ? read_struct(from) : T{}; }

/// Fills as much as the caller's structure has; what a longer one has beyond ours stays.
template <class T> Result<> write_struct(const T& value, T* to)
{
    const std::size_t size = TRY(checked_size(to));
    std::memcpy(static_cast<void*>(to), &value, std::min(size, sizeof(T)));
    to->struct_size = size;
    return {};
}

/// What `body` makes, if it succeeds; else zeros, so that nothing is there to be released.
template <class T, class Body> Result<> fill_struct(T* to, Body&& body)
{
    T made{};
    TRY(write_struct(made, to));
    TRY(body(made));
    return write_struct(made, to);
}

} // namespace dmb
