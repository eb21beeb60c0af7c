// SPDX-License-Identifier: MIT
// ImageDesc: everything one must know to import an image except the descriptors themselves. It is
// an untrusted value: only Image::validate (image.hpp) turns it and its descriptors into an Image.
#pragma once
#include "proto/image/colour.hpp"

namespace dmb {

inline constexpr std::size_t max_planes = 4;
inline constexpr std::uint32_t max_dimension = 16384; ///< pixels, both directions

/// Not of drm_fourcc.h: a buffer, bytes without a picture in them. One row: the width is its size in bytes, up to
/// UINT32_MAX, the height is 1 (as AHardwareBuffer has it). LINEAR unless the memory is opaque.
inline constexpr FourCC buffer_format = fourcc("BLOB");

/// One plane: where it begins and how far its rows are apart.
struct Plane {
    std::uint8_t memory = 0;  ///< index into ImageDesc::memories
    std::uint32_t stride = 0; ///< bytes from one row (of blocks) to the next
    std::uint64_t offset = 0; ///< bytes from the start of the memory object
    friend bool operator==(const Plane&, const Plane&) = default;
};

/// One memory object, i.e. one descriptor.
struct Memory {
    std::uint64_t size = 0; ///< bytes
    friend bool operator==(const Memory&, const Memory&) = default;
};

/// What an importer of MemoryKind::opaque must repeat exactly (VkImageCreateInfo, VkMemoryAllocateInfo).
struct OpaqueInfo {
    std::uint32_t vk_format = 0;
    std::uint32_t vk_usage = 0;        ///< VkImageUsageFlags
    std::uint32_t vk_create_flags = 0; ///< VkImageCreateFlags
    std::uint32_t memory_type = 0;     ///< index on the exporting device
    bool optimal_tiling = false;
    bool dedicated = false;
    friend bool operator==(const OpaqueInfo&, const OpaqueInfo&) = default;
};

struct ImageDesc {
    MemoryKind kind = MemoryKind::memfd;
    Backend backend = Backend::memfd;
    Rung rung = Rung::system_dma_buf;
    Extent size;
    FourCC format;
    Modifier modifier = modifier_linear;
    Usage usage;
    Colour colour;
    DeviceId device;
    OpaqueInfo opaque; ///< kind opaque only
    BoundedVector<Plane, max_planes> planes;
    BoundedVector<Memory, max_planes> memories;
    friend bool operator==(const ImageDesc&, const ImageDesc&) = default;

    bool is_buffer() const { return format == buffer_format; }
    /// Bytes of all memory objects.
    std::uint64_t total_size() const
    {
        std::uint64_t sum = 0;
        for (const Memory& memory : memories) sum += memory.size;
        return sum;
    }
};

} // namespace dmb
