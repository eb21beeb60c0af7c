// SPDX-License-Identifier: MIT
// The pixels with which sharing is proven: every channel is all zeros or all ones (0.0 or 1.0 for floats), so that
// no conversion, precision or rounding matters, in blocks whose bits depend on place and channel, so that
// flips, exchanged channels and wrong strides show. Pure functions: the broker fills trial images with
// proof_contents(), the importers' side compares.
#pragma once
#include "proto/image/format_table.hpp"

#include <span>
#include <vector>

namespace dmb {

/// `inverse`: what an importer that draws leaves behind, every channel the opposite.
enum class ProofPattern : std::uint8_t { plain = 1, inverse = 2 };

/// Pixels of luma in both directions with equal bits.
inline constexpr std::uint32_t proof_block = 8;

/// What a channel means, and where a plane's block holds it. Bits count from the least significant of the
/// block as one little-endian word.
enum class Channel : std::uint8_t { red, green, blue, alpha, luma, cb, cr };
struct ChannelBits {
    Channel channel = Channel::red;
    std::uint8_t first = 0; ///< lowest bit
    std::uint8_t count = 0;
    std::uint8_t column = 0; ///< which pixel of the block
    friend bool operator==(const ChannelBits&, const ChannelBits&) = default;
};
/// In ascending order of bits; padding is left out.
BoundedVector<ChannelBits, 4> channels_of(const FormatInfo&, std::size_t plane);

/// Whether a channel is ones at this pixel of luma.
bool proof_bit(Channel, std::uint32_t x, std::uint32_t y, ProofPattern);

/// Bytes of all planes, tightly packed (row_bytes × rows) one after the other.
std::uint64_t packed_bytes(const FormatInfo&, Extent);
/// The pattern in that form: an allocation's initial contents.
std::vector<std::byte> proof_contents(const FormatInfo&, Extent, ProofPattern = ProofPattern::plain);

/// "plane 1, pixel 3,4: cb is 0x00 and should be 0xff"; empty when all is as it should be. Padding counts for
/// nothing. `packed` as proof_contents() makes it.
BoundedText<160> wrong_packed(const FormatInfo&, Extent, std::span<const std::byte> packed, ProofPattern = ProofPattern::plain);

/// What a sampler showed at one pixel, 0 to 1. RGB formats: as they are; YUV: after the driver's conversion.
using Sampled = std::array<float, 4>;
/// The same for one sampled pixel of the whole image. YUV formats are compared away from the edges of blocks and only
/// where every usual conversion agrees.
BoundedText<160> wrong_sample(const FormatInfo&, std::uint32_t x, std::uint32_t y, const Sampled&,
                              ProofPattern = ProofPattern::plain);
/// The same for one pixel (of the plane) of a plane that was imported alone: its channels are red and green.
BoundedText<160> wrong_plane_sample(const FormatInfo&, std::size_t plane, std::uint32_t x, std::uint32_t y, const Sampled&,
                                    ProofPattern = ProofPattern::plain);

/// Between the bits of a block and what a shader sees in its channels: exact for every format here. Blocks of one pixel.
class BlockCodec {
public:
    BlockCodec(const FormatInfo& format, std::size_t plane) : format_(&format), channels_(channels_of(format, plane)) {}
    Sampled decode(std::span<const std::byte> block) const;
    void encode(const Sampled&, std::span<std::byte> block) const;

private:
    const FormatInfo* format_;
    BoundedVector<ChannelBits, 4> channels_;
};

} // namespace dmb
