// SPDX-License-Identifier: MIT
// Where channels lie is read off a format's name, which says it most significant first ("XRGB2101010"), and for
// YUV off the shape of its planes. Whether a channel is ones in a block is one bit of a hash of the block's place
// and the channel: no symmetry, no period, and nothing to keep in step between broker and workers.
//
// A driver that converts YUV itself may follow any matrix and range (they are hints), and filters chroma: so such
// pixels are compared in the middle of blocks only, and only channels that come out at the same end either way.
#include "proto/image/proof_pattern.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>

namespace dmb {
namespace {

/// IEEE binary16, as the F formats hold it.
__extension__ typedef _Float16 Half;

std::uint64_t mask(unsigned bits) { return (std::uint64_t{1} << bits) - 1; }

Channel channel_of(char letter)
{
    switch (letter) {
    case 'R': return Channel::red;
    case 'G': return Channel::green;
    case 'B': return Channel::blue;
    default: return Channel::alpha;
    }
}

unsigned decimal(std::string_view digits)
{
    unsigned value = 0;
    for (const char digit : digits) value = value * 10 + static_cast<unsigned>(digit - '0');
    return value;
}

/// "2101010" for four channels: 2, 10, 10, 10. Only the first may have fewer digits than the others.
std::vector<unsigned> widths_of(std::string_view digits, std::size_t channels)
{
    const std::size_t each = digits.size() > channels ? 2 : 1, first = digits.size() - each * (channels - 1);
    std::vector<unsigned> out{decimal(digits.substr(0, first))};
    for (std::size_t at = first; at < digits.size(); at += each) out.push_back(decimal(digits.substr(at, each)));
    return out;
}

BoundedVector<ChannelBits, 4> rgb_channels(std::string_view name)
{
    const std::string_view letters = name.substr(0, name.find_first_of("0123456789"));
    std::string_view digits = name.substr(letters.size());
    if (digits.ends_with('F')) digits.remove_suffix(1);
    const std::vector<unsigned> widths = widths_of(digits, letters.size());
    BoundedVector<ChannelBits, 4> out;
    unsigned first = 0;
    for (std::size_t i = letters.size(); i-- > 0; first += widths[i])
        if (letters[i] != 'X')
            out.push_back({channel_of(letters[i]), static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(widths[i]), 0});
    return out;
}

BoundedVector<ChannelBits, 4> packed_channels(bool luma_first)
{
    constexpr Channel y = Channel::luma;
    if (luma_first) return {{y, 0, 8, 0}, {Channel::cb, 8, 8, 0}, {y, 16, 8, 1}, {Channel::cr, 24, 8, 0}};
    return {{Channel::cb, 0, 8, 0}, {y, 8, 8, 0}, {Channel::cr, 16, 8, 0}, {y, 24, 8, 1}};
}

/// Samples fill the top of their bytes.
BoundedVector<ChannelBits, 4> planar_channels(const FormatInfo& format, std::size_t plane)
{
    const bool swapped = format.fourcc == fourcc("NV21") || format.fourcc == fourcc("YV12");
    const Channel chroma[2] = {swapped ? Channel::cr : Channel::cb, swapped ? Channel::cb : Channel::cr};
    const unsigned samples = plane == 0 || format.plane_count == 3 ? 1 : 2;
    const unsigned unit = format.planes[plane].bytes_per_block * 8u / samples;
    BoundedVector<ChannelBits, 4> out;
    for (unsigned i = 0; i < samples; ++i) {
        const Channel channel = plane == 0 ? Channel::luma : chroma[samples == 2 ? i : plane - 1];
        out.push_back({channel, static_cast<std::uint8_t>(unit * (i + 1) - format.bits), format.bits, 0});
    }
    return out;
}

std::uint64_t load(std::span<const std::byte> block)
{
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < block.size(); ++i) word |= std::to_integer<std::uint64_t>(block[i]) << (8 * i);
    return word;
}

void store(std::uint64_t word, std::span<std::byte> block)
{
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::byte>(word >> (8 * i));
}

/// The channel's bits for "ones".
std::uint64_t ones(const FormatInfo& format, const ChannelBits& bits)
{
    constexpr std::uint64_t half_one = 0x3c00;
    return format.sample == SampleType::sfloat ? half_one : mask(bits.count);
}

std::string_view word_of(Channel channel)
{
    constexpr std::string_view words[] = {"red", "green", "blue", "alpha", "luma", "cb", "cr"};
    return words[static_cast<std::size_t>(channel)];
}

/// One block of one plane, as it should be.
class BlockPattern {
public:
    BlockPattern(const FormatInfo& format, std::size_t plane, ProofPattern pattern)
        : format_(format), plane_(format.planes[plane]), channels_(channels_of(format, plane)), pattern_(pattern)
    {
    }
    std::uint64_t expected(const ChannelBits& bits, std::uint32_t block_x, std::uint32_t y) const
    {
        const std::uint32_t x = block_x * plane_.block_width + bits.column;
        return proof_bit(bits.channel, x * plane_.horizontal, y * plane_.vertical, pattern_) ? ones(format_, bits) : 0;
    }
    std::uint64_t word(std::uint32_t block_x, std::uint32_t y) const
    {
        std::uint64_t out = 0;
        for (const ChannelBits& bits : channels_) out |= expected(bits, block_x, y) << bits.first;
        return out;
    }
    BoundedText<160> wrong(std::uint64_t found, std::uint32_t block_x, std::uint32_t y, std::size_t plane) const
    {
        for (const ChannelBits& bits : channels_) {
            const std::uint64_t seen = found >> bits.first & mask(bits.count), wanted = expected(bits, block_x, y);
            if (seen == wanted) continue;
            return std::string_view(fmt::format("plane {}, pixel {},{}: {} is {:#x} and should be {:#x}", plane,
                                                block_x * plane_.block_width + bits.column, y, word_of(bits.channel), seen,
                                                wanted));
        }
        return {};
    }

private:
    const FormatInfo& format_;
    const PlaneFormat& plane_;
    BoundedVector<ChannelBits, 4> channels_;
    ProofPattern pattern_;
};

/// Calls visit(block's pattern, plane, block_x, y, first byte) for every block, until it returns false.
template <class Visit> void each_block(const FormatInfo& format, Extent size, ProofPattern pattern, Visit visit)
{
    std::uint64_t at = 0;
    for (std::size_t plane = 0; plane < format.plane_count; ++plane) {
        const BlockPattern block(format, plane, pattern);
        const std::uint64_t bytes = format.planes[plane].bytes_per_block;
        const auto blocks = static_cast<std::uint32_t>(row_bytes(format, plane, size.width) / bytes);
        for (std::uint32_t y = 0; y < plane_extent(format, plane, size).height; ++y)
            for (std::uint32_t x = 0; x < blocks; ++x, at += bytes)
                if (!visit(block, plane, x, y, at)) return;
    }
}

enum class End { low, high, either };

BoundedText<160> wrong_end(Channel channel, std::uint32_t x, std::uint32_t y, float seen, End wanted)
{
    constexpr float low = 0.25F, high = 0.75F;
    const bool right = wanted == End::either || (wanted == End::high ? seen >= high : seen <= low);
    if (right) return {};
    return std::string_view(
        fmt::format("pixel {},{}: {} is {:.3f} and should be {}", x, y, word_of(channel), seen, wanted == End::high ? 1 : 0));
}

End end_of(bool bit) { return bit ? End::high : End::low; }

/// Where a colour channel ends up under every matrix and range, or `either`.
End converted_end(std::size_t channel, const std::array<float, 3>& samples)
{
    bool all_low = true, all_high = true;
    for (const auto matrix : {MatrixCoefficients::smpte170m, MatrixCoefficients::bt709, MatrixCoefficients::bt2020_ncl})
        for (const ColourRange range : {ColourRange::full, ColourRange::limited}) {
            const YuvToRgb yuv = *yuv_to_rgb({.matrix = matrix, .range = range}, 8);
            float value = 0;
            for (std::size_t i = 0; i < 3; ++i) value += yuv.matrix[3 * channel + i] * (samples[i] - yuv.offset[i]);
            all_low &= value < 0.15F;
            all_high &= value > 0.85F;
        }
    return all_low ? End::low : all_high ? End::high : End::either;
}

BoundedText<160> wrong_converted(std::uint32_t x, std::uint32_t y, const Sampled& seen, ProofPattern pattern)
{
    constexpr Channel rgb[] = {Channel::red, Channel::green, Channel::blue};
    const auto middle = [](std::uint32_t at) { return at % proof_block >= 3 && at % proof_block < 5; };
    if (!middle(x) || !middle(y)) return {};
    std::array<float, 3> samples{};
    for (std::size_t i = 0; i < 3; ++i) {
        const auto channel = static_cast<Channel>(static_cast<std::size_t>(Channel::luma) + i);
        samples[i] = proof_bit(channel, x, y, pattern) ? 1.0F : 0.0F;
    }
    for (std::size_t i = 0; i < 3; ++i)
        if (auto wrong = wrong_end(rgb[i], x, y, seen[i], converted_end(i, samples)); !wrong.empty()) return wrong;
    return {};
}

float decode_channel(const FormatInfo& format, const ChannelBits& bits, std::uint64_t word)
{
    const std::uint64_t value = word >> bits.first & mask(bits.count);
    if (format.sample == SampleType::unorm) return static_cast<float>(value) / static_cast<float>(mask(bits.count));
    const auto pattern = static_cast<std::uint16_t>(value);
    Half half;
    std::memcpy(&half, &pattern, sizeof half);
    return static_cast<float>(half);
}

std::uint64_t encode_channel(const FormatInfo& format, const ChannelBits& bits, float value)
{
    const auto most = static_cast<float>(mask(bits.count));
    if (format.sample == SampleType::unorm)
        return static_cast<std::uint64_t>(std::lround(std::min(std::max(value, 0.0F), 1.0F) * most));
    const auto half = static_cast<Half>(value);
    std::uint16_t pattern = 0;
    std::memcpy(&pattern, &half, sizeof pattern);
    return pattern;
}

/// Where a sampler shows the n-th channel of a plane.
std::size_t component_of(const FormatInfo& format, const ChannelBits& bits, std::size_t index)
{
    return format.model == ColourModel::rgb ? static_cast<std::size_t>(bits.channel) : index;
}

} // namespace

BoundedVector<ChannelBits, 4> channels_of(const FormatInfo& format, std::size_t plane)
{
    if (format.fourcc == buffer_format) return {{Channel::red, 0, 8, 0}};
    if (format.model == ColourModel::rgb) return rgb_channels(format.name);
    if (format.planes[0].block_width > 1) return packed_channels(format.fourcc == fourcc("YUYV"));
    return planar_channels(format, plane);
}

bool proof_bit(Channel channel, std::uint32_t x, std::uint32_t y, ProofPattern pattern)
{
    std::uint32_t h =
        x / proof_block * 0x9e3779b1U ^ y / proof_block * 0x85ebca77U ^ (static_cast<std::uint32_t>(channel) + 1) * 0xc2b2ae3dU;
    h = (h ^ h >> 15) * 0x2c1b3c6dU;
    h = (h ^ h >> 12) * 0x297a2d39U;
    return ((h >> 17 & 1) != 0) == (pattern == ProofPattern::plain);
}

std::uint64_t packed_bytes(const FormatInfo& format, Extent size)
{
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < format.plane_count; ++i)
        sum += row_bytes(format, i, size.width) * plane_extent(format, i, size).height;
    return sum;
}

std::vector<std::byte> proof_contents(const FormatInfo& format, Extent size, ProofPattern pattern)
{
    std::vector<std::byte> out(packed_bytes(format, size));
    each_block(format, size, pattern, [&](const auto& block, std::size_t plane, auto x, auto y, std::uint64_t at) {
        store(block.word(x, y), std::span(out).subspan(at, format.planes[plane].bytes_per_block));
        return true;
    });
    return out;
}

BoundedText<160> wrong_packed(const FormatInfo& format, Extent size, std::span<const std::byte> packed, ProofPattern pattern)
{
    if (packed.size() < packed_bytes(format, size))
        return std::string_view(fmt::format("{} bytes instead of {}", packed.size(), packed_bytes(format, size)));
    BoundedText<160> wrong;
    each_block(format, size, pattern, [&](const auto& block, std::size_t plane, auto x, auto y, std::uint64_t at) {
        wrong = block.wrong(load(packed.subspan(at, format.planes[plane].bytes_per_block)), x, y, plane);
        return wrong.empty();
    });
    return wrong;
}

BoundedText<160> wrong_sample(const FormatInfo& format, std::uint32_t x, std::uint32_t y, const Sampled& seen,
                              ProofPattern pattern)
{
    if (format.model == ColourModel::yuv) return wrong_converted(x, y, seen, pattern);
    return wrong_plane_sample(format, 0, x, y, seen, pattern);
}

BoundedText<160> wrong_plane_sample(const FormatInfo& format, std::size_t plane, std::uint32_t x, std::uint32_t y,
                                    const Sampled& seen, ProofPattern pattern)
{
    const auto channels = channels_of(format, plane);
    for (std::size_t i = 0; i < channels.size(); ++i) {
        const Channel channel = channels[i].channel;
        const PlaneFormat& shape = format.planes[plane];
        const bool bit = proof_bit(channel, x * shape.horizontal, y * shape.vertical, pattern);
        auto wrong = wrong_end(channel, x, y, seen[component_of(format, channels[i], i)], end_of(bit));
        if (!wrong.empty()) return wrong;
    }
    return {};
}

Sampled BlockCodec::decode(std::span<const std::byte> block) const
{
    Sampled out{0, 0, 0, 1};
    const std::uint64_t word = load(block);
    for (std::size_t i = 0; i < channels_.size(); ++i)
        out[component_of(*format_, channels_[i], i)] = decode_channel(*format_, channels_[i], word);
    return out;
}

void BlockCodec::encode(const Sampled& texel, std::span<std::byte> block) const
{
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < channels_.size(); ++i)
        word |= encode_channel(*format_, channels_[i], texel[component_of(*format_, channels_[i], i)]) << channels_[i].first;
    store(word, block);
}

} // namespace dmb
