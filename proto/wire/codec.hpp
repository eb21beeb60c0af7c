// SPDX-License-Identifier: MIT
// Messages to bytes and back. A packet is an 8-byte header (u16 opcode, u16 zero, u32 serial) and the
// body. Decoding judges everything: unknown opcode, body too short, too long or malformed, wrong
// number of descriptors. A message is only handed out whole.
#pragma once
#include "proto/image/image.hpp"
#include "proto/wire/messages.hpp"

#include <span>

namespace dmb::wire {

inline constexpr std::size_t header_bytes = 8;

using PacketFds = BoundedVector<UniqueFd, limits::packet_fds>;

/// One image's descriptors out of a packet's, the one after the other from `first`.
inline ImageFds take_image_fds(PacketFds& fds, std::size_t first, std::size_t count)
{
    ImageFds out;
    for (std::size_t i = first; i < first + count; ++i) out.push_back(std::move(fds[i]));
    return out;
}

/// Encodes into `out` and returns the packet's size. Fails only when `out` is too small.
template <class Message> Result<std::size_t> encode(const Message&, std::uint32_t serial, std::span<std::byte> out);

template <class Variant> struct Decoded {
    std::uint32_t serial = 0;
    Variant message;
};

/// `fd_count` is what came with the packet. Unknown opcodes give Errc::unsupported (and the serial, so
/// that it can be answered); everything else malformed gives Errc::protocol_violation.
template <class Variant> Result<> decode(std::span<const std::byte> packet, std::size_t fd_count, Decoded<Variant>& out);

/// For SnapshotReply's memfd.
Result<std::vector<std::byte>> encode_snapshot(const Snapshot&);
Result<Snapshot> decode_snapshot(std::span<const std::byte>);
/// What a table's digest is made over.
Result<std::vector<std::byte>> encode_capabilities(const Capabilities&);

} // namespace dmb::wire
