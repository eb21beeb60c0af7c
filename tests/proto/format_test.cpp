// SPDX-License-Identifier: MIT
// The format table against the headers it quotes: every fourcc against drm_fourcc.h, every VkFormat
// against vulkan_core.h, every GL constant against the GLES headers; and the sizes of planes.
#include "proto/image/format_table.hpp"

#include <drm_fourcc.h>
#include <gtest/gtest.h>
#include <map>
#include <set>
#ifdef HAVE_VULKAN_HEADER
#include <vulkan/vulkan_core.h>
#endif
#ifdef HAVE_GLES_HEADER
#include <GLES3/gl32.h>
// After gl32.h, which it builds on.
#include <GLES2/gl2ext.h>
#endif

// The macros of these C headers cast in the old style.
#pragma GCC diagnostic ignored "-Wold-style-cast"

// Newer than the oldest libdrm we build with; values from the kernel's drm_fourcc.h.
#ifndef DRM_FORMAT_R16
#define DRM_FORMAT_R16 fourcc_code('R', '1', '6', ' ')
#endif
#ifndef DRM_FORMAT_XRGB16161616
#define DRM_FORMAT_XRGB16161616 fourcc_code('X', 'R', '4', '8')
#define DRM_FORMAT_ARGB16161616 fourcc_code('A', 'R', '4', '8')
#define DRM_FORMAT_XBGR16161616 fourcc_code('X', 'B', '4', '8')
#define DRM_FORMAT_ABGR16161616 fourcc_code('A', 'B', '4', '8')
#endif

namespace dmb {
namespace {

#define FORMAT(name) {DRM_FORMAT_##name, #name}
const std::map<std::uint32_t, std::string> drm_formats{
    FORMAT(XRGB8888),      FORMAT(ARGB8888),      FORMAT(XBGR8888),      FORMAT(ABGR8888),      FORMAT(RGBX8888),
    FORMAT(RGBA8888),      FORMAT(BGRX8888),      FORMAT(BGRA8888),      FORMAT(RGB888),        FORMAT(BGR888),
    FORMAT(RGB565),        FORMAT(BGR565),        FORMAT(XRGB2101010),   FORMAT(ARGB2101010),   FORMAT(XBGR2101010),
    FORMAT(ABGR2101010),   FORMAT(XRGB16161616),  FORMAT(ARGB16161616),  FORMAT(XBGR16161616),  FORMAT(ABGR16161616),
    FORMAT(XRGB16161616F), FORMAT(ARGB16161616F), FORMAT(XBGR16161616F), FORMAT(ABGR16161616F), FORMAT(R8),
    FORMAT(GR88),          FORMAT(RG88),          FORMAT(R16),           FORMAT(GR1616),        FORMAT(NV12),
    FORMAT(NV21),          FORMAT(NV16),          FORMAT(P010),          FORMAT(P012),          FORMAT(P016),
    FORMAT(YUV420),        FORMAT(YVU420),        FORMAT(YUV422),        FORMAT(YUV444),        FORMAT(YUYV),
    FORMAT(UYVY)};
#undef FORMAT

static_assert(modifier_linear.value == DRM_FORMAT_MOD_LINEAR);
static_assert(modifier_invalid.value == DRM_FORMAT_MOD_INVALID);

TEST(FormatTable, every_code_and_name_is_that_of_drm_fourcc_h)
{
    std::set<std::uint32_t> seen;
    for (const FormatInfo& format : all_formats()) {
        EXPECT_TRUE(seen.insert(format.fourcc.value).second) << format.name << " is listed twice";
        const auto found = drm_formats.find(format.fourcc.value);
        ASSERT_NE(found, drm_formats.end()) << format.name;
        EXPECT_EQ(found->second, format.name);
    }
    EXPECT_EQ(seen.size(), drm_formats.size());
}

TEST(FormatTable, finds_each_of_its_formats_and_nothing_else)
{
    for (const FormatInfo& format : all_formats()) EXPECT_EQ(find_format(format.fourcc), &format);
    EXPECT_EQ(find_format(FourCC{0}), nullptr);
    EXPECT_EQ(find_format(FourCC{DRM_FORMAT_XRGB8888 | DRM_FORMAT_BIG_ENDIAN}), nullptr);
    EXPECT_EQ(find_format(FourCC{DRM_FORMAT_C8}), nullptr);
}

TEST(FormatTable, names_as_alternatives_only_formats_that_it_has)
{
    for (const FormatInfo& format : all_formats())
        for (std::size_t i = 0; i < format.plane_count; ++i) {
            const FormatInfo* alone = find_format(format.planes[i].as_image);
            ASSERT_NE(alone, nullptr) << format.name;
            EXPECT_EQ(alone->plane_count, 1u);
            EXPECT_EQ(alone->planes[0].bytes_per_block, format.planes[i].bytes_per_block) << format.name << " plane " << i;
        }
}

#ifdef HAVE_VULKAN_HEADER
const std::map<std::string, VkFormat> vk_formats{
    {"XRGB8888", VK_FORMAT_B8G8R8A8_UNORM},
    {"ARGB8888", VK_FORMAT_B8G8R8A8_UNORM},
    {"XBGR8888", VK_FORMAT_R8G8B8A8_UNORM},
    {"ABGR8888", VK_FORMAT_R8G8B8A8_UNORM},
    {"RGB888", VK_FORMAT_B8G8R8_UNORM},
    {"BGR888", VK_FORMAT_R8G8B8_UNORM},
    {"RGB565", VK_FORMAT_R5G6B5_UNORM_PACK16},
    {"BGR565", VK_FORMAT_B5G6R5_UNORM_PACK16},
    {"XRGB2101010", VK_FORMAT_A2R10G10B10_UNORM_PACK32},
    {"ARGB2101010", VK_FORMAT_A2R10G10B10_UNORM_PACK32},
    {"XBGR2101010", VK_FORMAT_A2B10G10R10_UNORM_PACK32},
    {"ABGR2101010", VK_FORMAT_A2B10G10R10_UNORM_PACK32},
    {"XBGR16161616", VK_FORMAT_R16G16B16A16_UNORM},
    {"ABGR16161616", VK_FORMAT_R16G16B16A16_UNORM},
    {"XBGR16161616F", VK_FORMAT_R16G16B16A16_SFLOAT},
    {"ABGR16161616F", VK_FORMAT_R16G16B16A16_SFLOAT},
    {"R8", VK_FORMAT_R8_UNORM},
    {"GR88", VK_FORMAT_R8G8_UNORM},
    {"R16", VK_FORMAT_R16_UNORM},
    {"GR1616", VK_FORMAT_R16G16_UNORM},
    {"NV12", VK_FORMAT_G8_B8R8_2PLANE_420_UNORM},
    {"NV16", VK_FORMAT_G8_B8R8_2PLANE_422_UNORM},
    {"P010", VK_FORMAT_G10X6_B10X6R10X6_2PLANE_420_UNORM_3PACK16},
    {"P012", VK_FORMAT_G12X4_B12X4R12X4_2PLANE_420_UNORM_3PACK16},
    {"P016", VK_FORMAT_G16_B16R16_2PLANE_420_UNORM},
    {"YUV420", VK_FORMAT_G8_B8_R8_3PLANE_420_UNORM},
    {"YUV422", VK_FORMAT_G8_B8_R8_3PLANE_422_UNORM},
    {"YUV444", VK_FORMAT_G8_B8_R8_3PLANE_444_UNORM},
    {"YUYV", VK_FORMAT_G8B8G8R8_422_UNORM},
    {"UYVY", VK_FORMAT_B8G8R8G8_422_UNORM},
};

TEST(FormatTable, every_vulkan_format_is_that_of_vulkan_core_h)
{
    for (const FormatInfo& format : all_formats()) {
        const auto found = vk_formats.find(format.name);
        EXPECT_EQ(format.vk_format, found == vk_formats.end() ? 0u : static_cast<std::uint32_t>(found->second)) << format.name;
        EXPECT_EQ(format.vk_ignores_alpha, format.vk_format != 0 && format.name[0] == 'X') << format.name;
    }
}
#endif

#ifdef HAVE_GLES_HEADER
TEST(FormatTable, every_gl_format_is_that_of_the_gles_headers)
{
    const std::map<std::string, std::uint32_t> rows{
        {"XRGB8888", GL_RGBA8},
        {"ARGB8888", GL_RGBA8},
        {"XBGR8888", GL_RGBA8},
        {"ABGR8888", GL_RGBA8},
        {"RGB565", GL_RGB565},
        {"XRGB2101010", GL_RGB10_A2},
        {"ARGB2101010", GL_RGB10_A2},
        {"XBGR2101010", GL_RGB10_A2},
        {"ABGR2101010", GL_RGB10_A2},
        {"XBGR16161616", GL_RGBA16_EXT},
        {"ABGR16161616", GL_RGBA16_EXT},
        {"XBGR16161616F", GL_RGBA16F},
        {"ABGR16161616F", GL_RGBA16F},
        {"R8", GL_R8},
        {"GR88", GL_RG8},
        {"R16", GL_R16_EXT},
        {"GR1616", GL_RG16_EXT},
    };
    for (const FormatInfo& format : all_formats()) {
        const auto found = rows.find(format.name);
        EXPECT_EQ(format.gl_internal_format, found == rows.end() ? 0u : found->second) << format.name;
        // GL's 8888 and 2101010 begin with red in the lowest bits; XRGB and ARGB begin with blue.
        const bool blue_first = format.gl_internal_format != 0 && std::string_view(format.name).substr(1, 3) == "RGB";
        EXPECT_EQ(format.gl_swap_red_blue, blue_first) << format.name;
    }
}
#endif

TEST(FormatTable, bits_alpha_and_samples_agree_with_the_name)
{
    for (const FormatInfo& format : all_formats()) {
        const std::string_view name = format.name;
        const bool four = name.size() > 4 && (name[0] == 'A' || name[3] == 'A');
        EXPECT_EQ(format.has_alpha, four && name.find_first_of("0123456789") == 4) << name;
        EXPECT_EQ(format.sample == SampleType::sfloat, name.back() == 'F') << name;
        EXPECT_EQ(format.model == ColourModel::yuv, name.find_first_of("YVP") != std::string_view::npos) << name;
    }
}

struct PlaneSize {
    const char* format;
    std::size_t plane;
    Extent image, plane_size;
    std::uint64_t row;
};

TEST(PlaneExtent, odd_sizes_round_up)
{
    const PlaneSize cases[] = {
        {"XR24", 0, {5, 3}, {5, 3}, 20}, {"RG24", 0, {5, 3}, {5, 3}, 15},
        {"AB4H", 0, {1, 1}, {1, 1}, 8},  {"NV12", 0, {5, 3}, {5, 3}, 5},
        {"NV12", 1, {5, 3}, {3, 2}, 6},  {"NV12", 1, {1, 1}, {1, 1}, 2},
        {"NV16", 1, {5, 3}, {3, 3}, 6},  {"P010", 0, {5, 3}, {5, 3}, 10},
        {"P010", 1, {5, 3}, {3, 2}, 12}, {"YU12", 1, {5, 3}, {3, 2}, 3},
        {"YU16", 2, {5, 3}, {3, 3}, 3},  {"YU24", 2, {5, 3}, {5, 3}, 5},
        {"YUYV", 0, {5, 3}, {5, 3}, 12}, {"YUYV", 0, {1, 1}, {1, 1}, 4},
        {"UYVY", 0, {4, 1}, {4, 1}, 8},  {"NV12", 1, {16384, 16384}, {8192, 8192}, 16384},
    };
    for (const PlaneSize& c : cases) {
        const FormatInfo* format = find_format(*parse_fourcc(c.format));
        ASSERT_NE(format, nullptr) << c.format;
        EXPECT_EQ(plane_extent(*format, c.plane, c.image), c.plane_size) << c.format << " plane " << c.plane;
        EXPECT_EQ(row_bytes(*format, c.plane, c.image.width), c.row) << c.format << " plane " << c.plane;
    }
}

TEST(PlaneExtent, does_not_wrap_at_the_largest_numbers)
{
    for (const FormatInfo& format : all_formats())
        for (std::size_t i = 0; i < format.plane_count; ++i) {
            EXPECT_GT(plane_extent(format, i, {UINT32_MAX, UINT32_MAX}).width, UINT32_MAX / 4);
            EXPECT_GE(row_bytes(format, i, UINT32_MAX), UINT32_MAX / 2) << format.name;
        }
}

} // namespace
} // namespace dmb
