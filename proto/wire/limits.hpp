// SPDX-License-Identifier: MIT
// Every limit of the protocol, in one place. PROTOCOL.md repeats them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dmb::limits {

inline constexpr std::size_t packet_bytes = 64 * 1024; ///< one message, header included
inline constexpr std::size_t packet_fds = 8;           ///< descriptors with one message
inline constexpr std::size_t snapshot_bytes = 64 * 1024 * 1024;
inline constexpr std::size_t name_bytes = 64;          ///< client names and image labels
inline constexpr std::size_t modifiers = 64;           ///< in one allocation request
inline constexpr std::size_t candidates = 12;          ///< in one explanation
inline constexpr std::size_t formats = 16;             ///< a participant may choose from
inline constexpr std::size_t participants = 16;        ///< of one image
inline constexpr std::size_t capability_rows = 16384;  ///< in one table
inline constexpr std::size_t capability_part = 2048;   ///< rows in one message
inline constexpr std::size_t capability_tables = 64;   ///< stated by one client
inline constexpr std::size_t unread_fds = 32;          ///< sent to one client and not yet taken
inline constexpr std::size_t queued_bytes = 64 * 1024; ///< waiting for one client to read
inline constexpr std::size_t wrong_tokens = 64;        ///< before a client is cut
inline constexpr std::uint64_t hello_deadline_ns = 5'000'000'000;

} // namespace dmb::limits
