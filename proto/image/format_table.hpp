// SPDX-License-Identifier: MIT
// What each fourcc means: planes, subsampling, block sizes, and the names other APIs give it.
// Sources: drm_fourcc.h, the Vulkan specification ("Compatible formats of planes of multi-planar
// formats"), the OpenGL ES 3.2 specification (table 8.2) and EXT_texture_norm16.
#pragma once
#include "proto/image/image_desc.hpp"

#include <span>

namespace dmb {

enum class ColourModel : std::uint8_t { rgb, yuv };
enum class SampleType : std::uint8_t { unorm, sfloat };

/// One plane of a format. A block is the smallest addressable group of pixels: 1x1 for most formats,
/// 2x1 for packed 4:2:2.
struct PlaneFormat {
    std::uint8_t bytes_per_block = 0;
    std::uint8_t block_width = 1; ///< pixels of this plane
    std::uint8_t horizontal = 1;  ///< luma columns per column of this plane
    std::uint8_t vertical = 1;    ///< luma rows per row of this plane
    FourCC as_image;              ///< the fourcc under which this plane alone can be imported
};

struct FormatInfo {
    FourCC fourcc;
    const char* name; ///< without the DRM_FORMAT_ prefix, e.g. "XRGB8888"
    ColourModel model = ColourModel::rgb;
    SampleType sample = SampleType::unorm;
    bool has_alpha = false;
    std::uint8_t bits = 8; ///< significant bits of the widest channel
    std::uint8_t plane_count = 1;
    std::array<PlaneFormat, max_planes> planes{};
    std::uint32_t vk_format = 0; ///< VkFormat with exactly these bits in memory, or 0
    /// GL sized internal format with these bits in memory after the swizzle below, or 0.
    std::uint32_t gl_internal_format = 0;
    bool gl_swap_red_blue = false; ///< a GL texture over this memory must be read with R and B swapped
    bool vk_ignores_alpha = false; ///< the VkFormat has alpha, the fourcc has padding there
};

/// Of pictures and of buffer_format. Null when the fourcc is unknown.
const FormatInfo* find_format(FourCC);
/// Of pictures.
std::span<const FormatInfo> all_formats();

/// Size of one plane in its own pixels: odd sizes round up.
Extent plane_extent(const FormatInfo&, std::size_t plane, Extent image);
/// Bytes of one row of a plane without padding.
std::uint64_t row_bytes(const FormatInfo&, std::size_t plane, std::uint32_t image_width);

} // namespace dmb
