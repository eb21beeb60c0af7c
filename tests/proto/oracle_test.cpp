// SPDX-License-Identifier: MIT
// Random descriptions, judged by check_layout and by a second opinion that is written from the rules
// alone, in 128-bit integers. Values crowd around the edges, where a disagreement would be.
#include "tests/proto/layouts.hpp"
#include "tests/support/instrumented.hpp"

#include <cstdlib>
#include <gtest/gtest.h>
#include <random>

namespace dmb {
namespace {

__extension__ typedef unsigned __int128 Big;
using Random = std::mt19937_64;

// Independent of row_bytes() and plane_extent(): samples per line and lines, rounded up.
Big row_of(const FormatInfo& f, std::size_t i, Big width)
{
    const Big columns = (width + f.planes[i].horizontal - 1) / f.planes[i].horizontal;
    return (columns + f.planes[i].block_width - 1) / f.planes[i].block_width * f.planes[i].bytes_per_block;
}
Big rows_of(const FormatInfo& f, std::size_t i, Big height)
{
    return (height + f.planes[i].vertical - 1) / f.planes[i].vertical;
}

bool linear_plane_fits(const FormatInfo& f, const ImageDesc& d, std::size_t i)
{
    const Plane& p = d.planes[i];
    const unsigned unit = f.planes[i].bytes_per_block;
    const bool aligned = (unit & (unit - 1)) != 0 || (p.stride % unit == 0 && p.offset % unit == 0);
    const Big row = row_of(f, i, d.size.width);
    const Big end = Big(p.offset) + Big(p.stride) * (rows_of(f, i, d.size.height) - 1) + row;
    return aligned && p.stride >= row && end <= Big(d.memories[p.memory].size);
}

bool is_used(const ImageDesc& d, std::size_t memory)
{
    return std::any_of(d.planes.begin(), d.planes.end(), [&](const Plane& p) { return p.memory == memory; });
}

bool oracle(const ImageDesc& d)
{
    const FormatInfo* f = find_format(d.format);
    if (!f || d.size.width < 1 || d.size.width > 16384 || d.size.height < 1 || d.size.height > 16384 || d.memories.empty())
        return false;
    Big total = 0;
    for (std::size_t i = 0; i < d.memories.size(); ++i) {
        total += d.memories[i].size;
        if (d.memories[i].size == 0 || (d.kind != MemoryKind::opaque && !is_used(d, i))) return false;
    }
    if (total >> 63) return false;
    if (d.kind == MemoryKind::opaque) return d.memories.size() == 1 && d.planes.empty();
    const bool rows = d.modifier == modifier_linear || d.modifier == modifier_invalid;
    if (rows ? d.planes.size() != f->plane_count : d.planes.size() < f->plane_count) return false;
    for (std::size_t i = 0; i < d.planes.size(); ++i) {
        const Plane& p = d.planes[i];
        if (p.memory >= d.memories.size()) return false;
        if (rows && !linear_plane_fits(*f, d, i)) return false;
        if (!rows && (p.stride == 0 || Big(p.offset) + p.stride > d.memories[p.memory].size)) return false;
    }
    return true;
}

std::uint64_t pick(Random& random, std::initializer_list<std::uint64_t> values)
{
    return *(values.begin() + random() % values.size());
}

/// Mostly valid, so that the edges of the valid are met; then one to three fields are bent.
ImageDesc random_desc(Random& random)
{
    const auto formats = all_formats();
    const FormatInfo& f = formats[random() % formats.size()];
    const Extent size{static_cast<std::uint32_t>(1 + random() % (random() % 8 ? 70 : 16384)),
                      static_cast<std::uint32_t>(1 + random() % (random() % 8 ? 70 : 16384))};
    ImageDesc d = test::exact_layout(f, size, (random() % 3) * 4096);
    if (random() % 4 == 0) d.modifier = {pick(random, {0, 1, 0x00ff'ffff'ffff'ffff, 0x0100'0000'0000'0001, random()})};
    if (random() % 32 == 0) d.kind = MemoryKind::opaque;
    return d;
}

void bend(ImageDesc& d, Random& random)
{
    const std::uint64_t edge =
        pick(random, {0, 1, 2, 3, 4, 7, 8, 64, UINT64_MAX, UINT64_MAX - 1, std::uint64_t{1} << 63, std::uint64_t{1} << 32,
                      (std::uint64_t{1} << 32) - 1, random(), random() >> (random() % 64)});
    const std::uint64_t nudge = random() % 5 - 2;
    const bool small = random() % 2;
    Plane* plane = d.planes.empty() ? nullptr : &d.planes[random() % d.planes.size()];
    Memory* memory = d.memories.empty() ? nullptr : &d.memories[random() % d.memories.size()];
    switch (random() % 10) {
    case 0: d.size.width = static_cast<std::uint32_t>(small ? d.size.width + nudge : edge); break;
    case 1: d.size.height = static_cast<std::uint32_t>(small ? d.size.height + nudge : edge); break;
    case 2:
        if (plane) plane->stride = static_cast<std::uint32_t>(small ? plane->stride + nudge : edge);
        break;
    case 3:
        if (plane) plane->offset = small ? plane->offset + nudge : edge;
        break;
    case 4:
        if (memory) memory->size = small ? memory->size + nudge : edge;
        break;
    case 5:
        if (plane) plane->memory = static_cast<std::uint8_t>(random() % 6);
        break;
    case 6: d.planes.resize(random() % (max_planes + 1)); break;
    case 7: d.memories.resize(random() % (max_planes + 1)); break;
    case 8:
        if (plane && memory) {
            const std::uint64_t add = random() % 100;
            plane->offset += add;
            memory->size += add;
        }
        break;
    default:
        if (random() % 8 == 0) d.format = {static_cast<std::uint32_t>(edge)};
        break;
    }
}

TEST(CheckLayout, agrees_with_a_big_integer_oracle_on_random_descriptions)
{
    const char* chosen = std::getenv("DMABROKER_SEED");
    const std::uint64_t seed = chosen ? std::strtoull(chosen, nullptr, 10) : std::random_device()();
    RecordProperty("seed", std::to_string(seed));
    Random random(seed);
    std::uint64_t accepted = 0;
    const auto count = static_cast<std::uint64_t>(test::rounds(10'000'000));
    for (std::uint64_t i = 0; i < count; ++i) {
        ImageDesc desc = random_desc(random);
        for (std::uint64_t bends = random() % 4; bends > 0; --bends) bend(desc, random);
        const bool wanted = oracle(desc);
        ASSERT_EQ(check_layout(desc).has_value(), wanted) << "tuple " << i << " of DMABROKER_SEED=" << seed;
        accepted += wanted;
    }
    EXPECT_GT(accepted, count / 10) << "the test must meet both answers";
    EXPECT_LT(accepted, count - count / 10);
}

} // namespace
} // namespace dmb
