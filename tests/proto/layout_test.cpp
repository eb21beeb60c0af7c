// SPDX-License-Identifier: MIT
// Metadata from an enemy: sizes at and beyond the limit, overflow at 32 and 64 bits, planes that end one
// byte too late, wrong counts, strides that no row fits in.
#include "proto/base/checked.hpp"
#include "tests/proto/layouts.hpp"
#include "tests/support/fixture.hpp"

namespace dmb {
namespace {

using test::exact_layout;
using test::layout_error;

const FormatInfo& format(const char (&code)[5]) { return *find_format(fourcc(code)); }
ImageDesc xr24(Extent size = {4, 4}) { return exact_layout(format("XR24"), size); }

constexpr Extent odd_sizes[] = {{1, 1},   {1, 2},     {2, 1},     {3, 3},     {5, 7},
                                {64, 64}, {255, 257}, {16384, 1}, {1, 16384}, {16383, 16383}};

TEST(CheckSize, the_limit_itself_is_accepted_and_everything_beyond_refused)
{
    constexpr FourCC code = fourcc("XR24");
    for (const Extent good : {Extent{1, 1}, {16384, 1}, {1, 16384}, {16384, 16384}}) EXPECT_TRUE(check_size(good, code));
    for (const std::uint32_t bad : {0u, 16385u, 0x8000'0000u, 0xffff'ffffu}) {
        EXPECT_EQ(check_size({bad, 1}, code).error().code, Errc::bad_size) << bad;
        EXPECT_EQ(check_size({1, bad}, code).error().code, Errc::bad_size) << bad;
        ImageDesc desc = xr24();
        desc.size = {bad, 4};
        EXPECT_EQ(layout_error(desc), Errc::bad_size) << bad;
    }
}

TEST(CheckSize, a_buffer_is_one_row_of_any_length)
{
    for (const std::uint32_t bytes : {1u, 16384u, 16385u, UINT32_MAX}) EXPECT_TRUE(check_size({bytes, 1}, buffer_format));
    for (const Extent bad : {Extent{0, 1}, {1, 0}, {4, 2}, {1, UINT32_MAX}})
        EXPECT_EQ(check_size(bad, buffer_format).error().code, Errc::bad_size) << bad.width << "x" << bad.height;
}

TEST(BrokenRule, alignments_are_for_planes_with_rows)
{
    ImageDesc desc = *linear_layout({601, 333}, fourcc("AR24"), {}, 64);
    const LayoutRules rules{.stride_alignment = 256};
    ASSERT_NE(desc.planes[0].stride % 256, 0u);
    EXPECT_NE(broken_rule(rules, desc).view(), "");
    desc.modifier = modifier_invalid;
    EXPECT_NE(broken_rule(rules, desc).view(), "") << "may be rows";
    desc.modifier = {0x0200'0000'0000'0901};
    EXPECT_EQ(broken_rule(rules, desc).view(), "") << "a tiling has strides of its own";
    desc.modifier = modifier_invalid;
    desc.kind = MemoryKind::opaque;
    EXPECT_EQ(broken_rule(rules, desc).view(), "");
}

TEST(CheckLayout, a_buffer_ends_inside_its_memory)
{
    for (const std::uint32_t bytes : {1u, 4095u, 4096u, 100'000u, UINT32_MAX}) {
        const ImageDesc desc = *linear_layout({bytes, 1}, buffer_format, {.stride_alignment = 256, .offset_alignment = 4096});
        EXPECT_TRUE(check_layout(desc)) << bytes;
        EXPECT_GE(desc.memories[0].size, bytes);
        EXPECT_LT(desc.memories[0].size - bytes, 4096u) << "no padding for rows that nobody draws";
        EXPECT_EQ(desc.planes[0].stride, bytes);
        EXPECT_EQ(broken_rule({.stride_alignment = 256}, desc).view(), "") << "there is no second row";
        ImageDesc short_one = desc;
        short_one.memories[0].size = bytes - 1;
        EXPECT_EQ(layout_error(short_one), Errc::bad_layout);
    }
}

TEST(CheckLayout, a_buffer_is_linear_and_says_nothing_in_opaque_memory)
{
    ImageDesc desc = *linear_layout({64, 1}, buffer_format);
    for (const Modifier wrong : {modifier_invalid, Modifier{0x0100'0000'0000'0001}}) {
        desc.modifier = wrong;
        EXPECT_EQ(layout_error(desc), Errc::bad_layout);
    }
    desc.kind = MemoryKind::opaque;
    desc.planes.clear();
    desc.modifier = modifier_invalid;
    EXPECT_TRUE(check_layout(desc));
    desc.modifier = modifier_linear;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
}

TEST(CheckLayout, a_plane_may_end_at_the_last_byte_and_not_one_later)
{
    for (const FormatInfo& f : all_formats())
        for (const Extent size : odd_sizes)
            for (const std::uint64_t offset : {0u, 64u, 4096u}) {
                const ImageDesc exact = exact_layout(f, size, offset);
                EXPECT_TRUE(check_layout(exact)) << f.name << " " << size.width << "x" << size.height;
                for (std::size_t i = 0; i < exact.memories.size(); ++i) {
                    ImageDesc one_short = exact;
                    one_short.memories[i].size -= 1;
                    EXPECT_EQ(layout_error(one_short), Errc::bad_layout) << f.name << " plane " << i;
                }
            }
}

TEST(CheckLayout, the_last_row_needs_no_padding)
{
    for (const FormatInfo& f : all_formats()) {
        ImageDesc desc = exact_layout(f, {5, 3});
        for (std::size_t i = 0; i < desc.planes.size(); ++i) {
            const std::uint64_t rows = plane_extent(f, i, desc.size).height;
            desc.planes[i].stride = 4096;
            desc.memories[i].size = 4096 * (rows - 1) + row_bytes(f, i, 5);
        }
        EXPECT_TRUE(check_layout(desc)) << f.name;
        desc.memories[desc.memories.size() - 1].size -= 1;
        EXPECT_EQ(layout_error(desc), Errc::bad_layout) << f.name;
    }
}

TEST(CheckLayout, a_stride_below_one_row_is_refused)
{
    for (const FormatInfo& f : all_formats())
        for (std::size_t i = 0; i < f.plane_count; ++i) {
            ImageDesc desc = exact_layout(f, {64, 64});
            desc.memories[i].size *= 2;
            desc.planes[i].stride -= f.planes[i].bytes_per_block;
            EXPECT_EQ(layout_error(desc), Errc::bad_layout) << f.name << " plane " << i;
            desc.planes[i].stride = 0;
            EXPECT_EQ(layout_error(desc), Errc::bad_layout) << f.name << " plane " << i;
        }
}

TEST(CheckLayout, strides_and_offsets_are_whole_samples)
{
    for (const FormatInfo& f : all_formats())
        for (std::size_t i = 0; i < f.plane_count; ++i) {
            const bool bytes = f.planes[i].bytes_per_block == 1 || f.planes[i].bytes_per_block == 3;
            ImageDesc desc = exact_layout(f, {64, 64}, 64);
            desc.memories[i].size *= 2;
            desc.planes[i].stride += 1;
            EXPECT_EQ(layout_error(desc), bytes ? Errc{} : Errc::bad_layout) << f.name << " plane " << i;
            desc.planes[i].stride -= 1;
            desc.planes[i].offset += 1;
            EXPECT_EQ(layout_error(desc), bytes ? Errc{} : Errc::bad_layout) << f.name << " plane " << i;
        }
}

TEST(CheckLayout, offsets_strides_and_sizes_that_wrap_are_refused)
{
    const std::uint64_t offsets[] = {UINT64_MAX,
                                     UINT64_MAX - 3,
                                     UINT64_MAX - 15,
                                     UINT64_MAX - 63,
                                     std::uint64_t{1} << 63,
                                     std::uint64_t{1} << 32,
                                     (std::uint64_t{1} << 32) - 4};
    for (const std::uint64_t offset : offsets) {
        ImageDesc desc = xr24();
        desc.planes[0].offset = offset;
        EXPECT_EQ(layout_error(desc), Errc::bad_layout) << offset;
    }
    ImageDesc desc = xr24({1, 16384});
    desc.planes[0].stride = 0xffff'fffc;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
    // The product wraps to a small number in 32 bits: 0x40000 * 16384 = 2^32.
    desc.planes[0].stride = 0x4'0000;
    desc.memories[0].size = 0x10'0000;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
    desc.memories[0].size = std::uint64_t{0x4'0000} * 16383 + 4;
    EXPECT_TRUE(check_layout(desc));
}

TEST(CheckLayout, memory_sizes_no_machine_has_are_refused)
{
    ImageDesc desc = exact_layout(format("NV12"), {4, 4});
    desc.memories[0].size = desc.memories[1].size = std::uint64_t{1} << 63;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout) << "the sum wraps to 0";
    desc.memories[0].size = UINT64_MAX;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
    desc.memories[0].size = 0;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
}

TEST(CheckLayout, the_plane_count_is_that_of_the_format)
{
    for (const FormatInfo& f : all_formats()) {
        ImageDesc none = exact_layout(f, {8, 8});
        none.planes.clear();
        EXPECT_EQ(layout_error(none), Errc::bad_layout) << f.name;
        ImageDesc fewer = exact_layout(f, {8, 8});
        fewer.planes.resize(f.plane_count - 1u);
        fewer.memories.resize(f.plane_count - 1u);
        EXPECT_EQ(layout_error(fewer), Errc::bad_layout) << f.name;
        ImageDesc more = exact_layout(f, {8, 8});
        more.planes.push_back(more.planes[0]);
        EXPECT_EQ(layout_error(more), Errc::bad_layout) << f.name;
    }
}

TEST(CheckLayout, planes_point_at_memories_that_exist_and_every_memory_is_used)
{
    ImageDesc desc = xr24();
    desc.planes[0].memory = 1;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
    desc.planes[0].memory = 255;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
    desc = xr24();
    desc.memories.push_back({4096});
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
    desc = xr24();
    desc.memories.clear();
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
}

TEST(CheckLayout, planes_may_share_and_overlap_but_each_is_checked)
{
    ImageDesc desc = exact_layout(format("NV12"), {16, 16});
    desc.memories.resize(1);
    desc.planes[1] = {0, 16, 0};
    EXPECT_TRUE(check_layout(desc)) << "reading the same bytes twice harms nobody";
    desc.planes[1].offset = 16 * 16 - 16 * 7 - 15;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
}

TEST(CheckLayout, tiled_layouts_may_have_more_planes_and_stay_inside_their_memory)
{
    ImageDesc desc = xr24({64, 64});
    desc.modifier = {0x0100'0000'0000'0004};
    desc.planes.push_back({0, 64, 8192});
    EXPECT_TRUE(check_layout(desc));
    desc.planes[1].offset = 16384 - 63;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
    desc.planes[1].offset = UINT64_MAX - 10;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
    desc.planes[1] = {0, 0, 0};
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
    ImageDesc too_few = exact_layout(format("NV12"), {8, 8});
    too_few.modifier = {0x0100'0000'0000'0001};
    too_few.planes.resize(1);
    too_few.memories.resize(1);
    EXPECT_EQ(layout_error(too_few), Errc::bad_layout);
}

TEST(CheckLayout, an_implicit_modifier_is_checked_like_rows)
{
    ImageDesc desc = xr24();
    desc.modifier = modifier_invalid;
    EXPECT_TRUE(check_layout(desc));
    desc.memories[0].size -= 1;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
}

TEST(CheckLayout, unknown_formats_are_named_in_the_refusal)
{
    ImageDesc desc = xr24();
    desc.format = fourcc("C8  ");
    const Result<> refused = check_layout(desc);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::unknown_format);
    EXPECT_NE(refused.error().reason.view().find("C8"), std::string_view::npos);
    desc.format = {0};
    EXPECT_EQ(layout_error(desc), Errc::unknown_format);
}

TEST(CheckLayout, opaque_memory_is_one_memory_without_planes)
{
    ImageDesc desc = xr24();
    desc.kind = MemoryKind::opaque;
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
    desc.planes.clear();
    EXPECT_TRUE(check_layout(desc));
    desc.memories.push_back({1});
    EXPECT_EQ(layout_error(desc), Errc::bad_layout);
}

TEST(LinearLayout, passes_its_own_check_and_is_aligned_for_every_gpu)
{
    for (const FormatInfo& f : all_formats())
        for (const Extent size : odd_sizes) {
            const Result<ImageDesc> desc = linear_layout(size, f.fourcc);
            ASSERT_TRUE(desc);
            EXPECT_TRUE(check_layout(*desc)) << f.name;
            ASSERT_EQ(desc->memories.size(), 1u);
            EXPECT_EQ(desc->memories[0].size % 4096, 0u);
            std::uint64_t end = 0;
            for (std::size_t i = 0; i < desc->planes.size(); ++i) {
                const Plane& plane = desc->planes[i];
                EXPECT_EQ(plane.stride % 256, 0u);
                EXPECT_EQ(plane.offset % 4096, 0u);
                EXPECT_GE(plane.offset, end) << "planes do not overlap";
                const std::uint64_t rows = align_up(plane_extent(f, i, size).height, 16).value();
                end = plane.offset + std::uint64_t{plane.stride} * rows;
            }
            EXPECT_LE(end, desc->memories[0].size) << f.name;
        }
}

TEST(LinearLayout, rows_are_packed_as_software_drivers_want_them)
{
    for (const std::uint32_t width : {1u, 15u, 16u, 17u, 61u, 97u, 128u, 1000u}) {
        const ImageDesc desc = linear_layout({width, 3}, fourcc("AB24"), {}, software_stride_alignment).value();
        EXPECT_EQ(desc.planes[0].stride, (width * 4 + 63) / 64 * 64);
    }
}

TEST(LinearLayout, refuses_what_no_image_can_be)
{
    EXPECT_EQ(linear_layout({0, 1}, fourcc("XR24")).error().code, Errc::bad_size);
    EXPECT_EQ(linear_layout({16385, 1}, fourcc("XR24")).error().code, Errc::bad_size);
    EXPECT_EQ(linear_layout({1, 1}, fourcc("NONE")).error().code, Errc::unknown_format);
}

} // namespace
} // namespace dmb
