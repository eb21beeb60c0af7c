// SPDX-License-Identifier: MIT
// Between the C structures of dmabroker.h and the values inside. Whatever a caller may get wrong is
// refused here with a sentence: the broker would cut the connection for bytes that no client may send.
#pragma once
#include "libclient/arguments.hpp"
#include "libclient/handle.hpp"
#include "proto/request/request.hpp"

#include <cstring>

namespace dmb {

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
Result<Name> to_name(const char* text, std::string_view what);
Result<Token> to_token(const char* text);
/// NULL is no table.
Result<Digest> to_digest(const char* text);
/// Not empty, known flags only.
Result<Rights> to_rights(std::uint32_t flags);
Result<Usage> to_usage(std::uint32_t flags);

Result<Participant> to_participant(const dmabroker_participant*);
Result<ImageRequest> to_request(const dmabroker_allocation&);
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
