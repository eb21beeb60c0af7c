// SPDX-License-Identifier: MIT
// The limits of the protocol; those of images themselves (planes, pixels) are in proto/image. PROTOCOL.md repeats them all.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dmb::limits {

inline constexpr std::size_t packet_bytes = 64 * 1024; ///< one message, header included
inline constexpr std::size_t packet_fds = 253;         ///< descriptors with one message: SCM_MAX_FD of the kernel
inline constexpr std::size_t request_fds = 16;         ///< with one request; newer clients may send what is not understood
inline constexpr std::size_t pool_images = 60;         ///< made by one request: 240 descriptors at most
inline constexpr std::size_t snapshot_bytes = 64 * 1024 * 1024;
inline constexpr std::size_t name_bytes = 64;           ///< client names and image labels
inline constexpr std::size_t modifiers = 64;            ///< in one allocation request
inline constexpr std::size_t candidates = 12;           ///< in one explanation
inline constexpr std::size_t formats = 16;              ///< a participant may choose from
inline constexpr std::size_t participants = 16;         ///< of one image
inline constexpr std::size_t capability_rows = 16384;   ///< in one table
inline constexpr std::size_t table_bytes = 1024 * 1024; ///< of one capability table
inline constexpr std::size_t table_part = 60 * 1024;    ///< of it in one message
inline constexpr std::size_t capability_tables = 64;    ///< stated by one client
inline constexpr std::size_t unread_fds = 32; ///< waiting for one client to read; when nothing is, a packet of any size
inline constexpr std::size_t queued_bytes = 64 * 1024; ///< waiting for one client to read
inline constexpr std::size_t pending_requests = 16;    ///< of one connection, being served
inline constexpr std::size_t wrong_tokens = 64;        ///< before a client is cut
inline constexpr std::uint64_t hello_deadline_ns = 5'000'000'000;

} // namespace dmb::limits
