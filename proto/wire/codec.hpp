// SPDX-License-Identifier: MIT
// Messages to bytes and back. A packet is a 16-byte header (u16 opcode, u16 descriptors, u32 zero, u64 serial), the
// message's fields and any number of sections (u16 tag, u16 descriptors, u32 size, bytes). Decoding judges everything:
// unknown opcode, body too short or malformed, bytes that are no section, wrong number of descriptors. A message is
// only handed out whole.
//
// Sections are how a message grows: there are none yet, and those of later versions are skipped, their descriptors (the
// last ones) with them.
#pragma once
#include "proto/image/image.hpp"
#include "proto/wire/messages.hpp"

#include <span>

namespace dmb::wire {

inline constexpr std::size_t header_bytes = 16;

using PacketFds = std::vector<UniqueFd>;

/// Some of a packet's descriptors, from `first` on.
inline ImageFds take_image_fds(PacketFds& fds, std::size_t first, std::size_t count)
{
    ImageFds out;
    for (std::size_t i = first; i < first + count; ++i) out.push_back(std::move(fds[i]));
    return out;
}
/// Those of an answer's first image, without its twins'.
inline ImageFds take_image_fds(PacketFds& fds, const HeldImage& image)
{
    return take_image_fds(fds, 0, image.has_fds ? image.desc.memories.size() : 0);
}

/// Encodes into `out` and returns the packet's size. Fails only when `out` is too small.
template <class Message> Result<std::size_t> encode(const Message&, std::uint64_t serial, std::span<std::byte> out);

template <class Variant> struct Decoded {
    std::uint64_t serial = 0;
    /// It has an enum value or a flag that this version does not know: not to be acted on.
    bool has_unknown_value = false;
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
/// Leaves out rows that only a later version understands. Fails on more than limits::capability_rows.
Result<Capabilities> decode_capabilities(std::span<const std::byte>);

} // namespace dmb::wire
