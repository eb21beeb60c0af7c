// SPDX-License-Identifier: MIT
// What packets and connections may carry. How much may be asked for is in proto/request/limits.hpp, the limits of images
// themselves (planes, pixels) are in proto/image. PROTOCOL.md repeats them all.
#pragma once
#include "proto/request/limits.hpp"

#include <cstdint>

namespace dmb::limits {

inline constexpr std::size_t packet_bytes = 64 * 1024; ///< one message, header included
inline constexpr std::size_t packet_fds = 253;         ///< descriptors with one message: SCM_MAX_FD of the kernel
inline constexpr std::size_t request_fds = 16;         ///< with one request; newer clients may send what is not understood
inline constexpr std::size_t snapshot_bytes = 64 * 1024 * 1024;
inline constexpr std::size_t table_part = 60 * 1024; ///< of a capability table in one message
inline constexpr std::size_t unread_fds = 32;        ///< waiting for one client to read; when nothing is, a packet of any size
inline constexpr std::size_t queued_bytes = 64 * 1024; ///< waiting for one client to read
inline constexpr std::uint64_t hello_deadline_ns = 5'000'000'000;

} // namespace dmb::limits
