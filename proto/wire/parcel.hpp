// SPDX-License-Identifier: MIT
// What a receiver process tells the broker: a head of fixed size and, behind it, a client's packet as it came. Both ends
// are of one build and one machine, so the head is a plain struct.
#pragma once
#include "proto/base/result.hpp"
#include "proto/base/strong.hpp"
#include "proto/wire/limits.hpp"

#include <cstddef>
#include <span>

namespace dmb::wire {

struct Parcel {
    /// opened: the channel is being read. packet: with its descriptors, each a dma-buf or a sealed memfd. refused: a packet
    /// without its descriptors; `error` is for the request. cut: the channel ended because of `error`; after a
    /// protocol_violation the client goes too. ended: the last one, nothing of the channel is left in the process.
    enum class Kind : std::uint8_t { opened, packet, refused, cut, ended };
    Kind kind = Kind::ended;
    ClientId client;
    std::uint16_t descriptors = 0; ///< that came with the packet, also when they were refused
    Error error;
};

inline constexpr std::size_t parcel_head_bytes = 256;
/// A head and the largest packet.
inline constexpr std::size_t parcel_bytes = parcel_head_bytes + limits::packet_bytes;

/// Fills the first parcel_head_bytes of `out`.
void write_head(const Parcel&, std::span<std::byte> out);
Result<Parcel> read_head(std::span<const std::byte>);

} // namespace dmb::wire
