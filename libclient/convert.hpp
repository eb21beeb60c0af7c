// SPDX-License-Identifier: MIT
// Between the C structures of dmabroker.h and the values inside. Whatever a caller may get wrong is
// refused here with a sentence: the broker would cut the connection for bytes that no client may send.
#pragma once
#include "libclient/handle.hpp"
#include "proto/wire/messages.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace dmb {

/// For pointers that the header does not allow to be NULL.
inline Result<> require(const void* pointer, std::string_view what)
{
    if (pointer) return {};
    return fail(Errc::invalid_argument, "{} is NULL", what);
}

/// The size that a structure had when it was first released: what is behind it is zero for an older caller.
template <class T> inline constexpr std::size_t oldest_size = sizeof(T);
template <> inline constexpr std::size_t oldest_size<dmabroker_allocation> = offsetof(dmabroker_allocation, alternatives);
template <> inline constexpr std::size_t oldest_size<dmabroker_image_info> = offsetof(dmabroker_image_info, request);
template <> inline constexpr std::size_t oldest_size<dmabroker_event> = offsetof(dmabroker_event, successor);

/// Copies a structure of the caller. `struct_size` tells its version: what a longer one has beyond ours
/// must be zero, because we would not do what it asks.
template <class T> Result<T> read_struct(const T* from)
{
    constexpr std::size_t largest = 4096; // beyond: not a size, but a member that was never set
    if (!from) return fail(Errc::invalid_argument, "a required structure is NULL");
    const std::size_t size = from->struct_size;
    if (size < oldest_size<T> || size > largest)
        return fail(Errc::invalid_argument, "struct_size is {}: set it to the sizeof of its structure", size);
    const char* bytes = reinterpret_cast<const char*>(from);
    for (std::size_t i = sizeof(T); i < size; ++i)
        if (bytes[i] != 0) return fail(Errc::unsupported, "a member is set that this release of the library does not know");
    T copy{};
    std::memcpy(&copy, bytes, std::min(size, sizeof(T)));
    return copy;
}

/// Into a structure of the caller whose `struct_size` is set. A newer, longer one keeps what we do not know.
template <class T> Result<> write_struct(const T& value, T* to)
{
    if (!to) return fail(Errc::invalid_argument, "a required structure is NULL");
    const std::size_t size = to->struct_size;
    if (size < oldest_size<T>)
        return fail(Errc::invalid_argument, "struct_size is {}: set it to the sizeof of its structure", size);
    std::memcpy(static_cast<void*>(to), &value, std::min(size, sizeof(T)));
    to->struct_size = size;
    return {};
}

/// Text for the caller to free with dmabroker_free.
Result<> copy_out(std::string_view text, char** out);
/// Cuts text that is too long.
template <std::size_t N> void set_text(char (&to)[N], std::string_view text)
{
    const std::size_t size = std::min(text.size(), N - 1);
    std::memcpy(to, text.data(), size);
    to[size] = '\0';
}

/// NULL is empty. Refuses what is too long or unprintable.
Result<wire::Name> to_name(const char* text, std::string_view what);
Result<Token> to_token(const char* text);
/// NULL is no table.
Result<Digest> to_digest(const char* text);
/// Not empty, known flags only.
Result<Rights> to_rights(std::uint32_t flags);
Result<Usage> to_usage(std::uint32_t flags);

Result<wire::Participant> to_participant(const dmabroker_participant*);
Result<wire::Allocate> to_request(const dmabroker_allocation&);
/// A member that is 0 is the default of the format.
Result<Colour> to_colour(const dmabroker_colour&, FourCC);
/// A member that is 0 is that of `otherwise`.
Result<Colour> to_colour(const dmabroker_colour&, const Colour& otherwise);
dmabroker_colour to_c(const Colour&);
/// Zero stands for the default of backend, rung and colour.
Result<ImageDesc> to_desc(const dmabroker_image_info&);
dmabroker_image_info to_info(const ImageDesc&);
/// Fills image.info from the rest of it.
void describe(dmabroker_image& image);

} // namespace dmb
