// SPDX-License-Identifier: MIT
// How much may be asked for, whatever carries the request. What a packet may carry is in proto/wire/limits.hpp, the limits
// of images themselves (planes, pixels) are in proto/image. PROTOCOL.md repeats them all.
#pragma once
#include <cstddef>

namespace dmb::limits {

inline constexpr std::size_t pool_images = 60;          ///< made by one request: 240 descriptors at most
inline constexpr std::size_t name_bytes = 64;           ///< client names and image labels
inline constexpr std::size_t modifiers = 64;            ///< in one allocation request
inline constexpr std::size_t formats = 16;              ///< a participant may choose from
inline constexpr std::size_t participants = 16;         ///< of one image
inline constexpr std::size_t capability_rows = 16384;   ///< in one table
inline constexpr std::size_t table_bytes = 1024 * 1024; ///< of one capability table
inline constexpr std::size_t capability_tables = 64;    ///< stated by one client
inline constexpr std::size_t pending_requests = 16;     ///< of one connection, being served
inline constexpr std::size_t wrong_tokens = 64;         ///< before a client is cut

} // namespace dmb::limits
