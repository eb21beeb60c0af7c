// SPDX-License-Identifier: MIT
// Layout checks, and Image, the only thing that has passed them. Every number here may come from an enemy: all
// arithmetic is Checked, and a plane must end inside its memory to the last byte. The sentences are for the person who
// wrote the exporter. An Image owns its descriptors and points at nobody; validate() is for descriptors of strangers,
// adopt() for those of this process or of the broker.
#include "proto/image/image.hpp"

#include "proto/base/checked.hpp"
#include "proto/image/fd_identity.hpp"
#include "proto/image/format_table.hpp"

#include <bit>

namespace dmb {
namespace {

constexpr std::uint32_t plane_alignment = 4096;
constexpr std::uint64_t row_alignment = 16;

/// INVALID too: where the layout is implicit, drivers still report a stride per row of pixels.
bool has_linear_rows(Modifier m) { return m == modifier_linear || m == modifier_invalid; }

Result<> check_linear_plane(const ImageDesc& desc, const FormatInfo& format, std::size_t index)
{
    const Plane& plane = desc.planes[index];
    const std::uint64_t size = desc.memories[plane.memory].size;
    const std::uint64_t row = row_bytes(format, index, desc.size.width);
    const std::uint64_t rows = plane_extent(format, index, desc.size).height;
    if (plane.stride < row)
        return fail(Errc::bad_layout, "plane {}: stride {} is smaller than one row of {} bytes", index, plane.stride, row);
    // Units of 3 bytes have no alignment; everything else is addressed in whole units.
    const std::uint64_t unit = format.planes[index].bytes_per_block;
    if (std::has_single_bit(unit) && (plane.stride % unit != 0 || plane.offset % unit != 0))
        return fail(Errc::bad_layout, "plane {}: stride {} and offset {} must be multiples of its {} bytes per sample", index,
                    plane.stride, plane.offset, unit);
    const Checked end = Checked(plane.offset) + Checked(plane.stride) * (rows - 1) + row;
    if (!end.fits_in(size))
        return fail(Errc::bad_layout, "plane {}: offset {} + {} rows of stride {} ends past the {} bytes of memory {}", index,
                    plane.offset, rows, plane.stride, size, plane.memory);
    return {};
}

Result<> check_tiled_plane(const ImageDesc& desc, std::size_t index)
{
    const Plane& plane = desc.planes[index];
    const std::uint64_t size = desc.memories[plane.memory].size;
    if (plane.stride == 0) return fail(Errc::bad_layout, "plane {}: the stride is 0; state what the driver reported", index);
    if (!(Checked(plane.offset) + plane.stride).fits_in(size))
        return fail(Errc::bad_layout, "plane {}: offset {} + stride {} is past the {} bytes of memory {}", index, plane.offset,
                    plane.stride, size, plane.memory);
    return {};
}

Result<> check_planes(const ImageDesc& desc, const FormatInfo& format)
{
    // Auxiliary planes (compression) come after the format's own planes and exist with modifiers only.
    const bool may_have_more = !has_linear_rows(desc.modifier);
    const bool count_fits = may_have_more ? desc.planes.size() >= format.plane_count : desc.planes.size() == format.plane_count;
    if (!count_fits)
        return fail(Errc::bad_layout, "{} has {} plane(s) with modifier {}, the description has {}", format.name,
                    format.plane_count, to_string(desc.modifier), desc.planes.size());
    for (std::size_t i = 0; i < desc.planes.size(); ++i) {
        if (desc.planes[i].memory >= desc.memories.size())
            return fail(Errc::bad_layout, "plane {} points at memory {}, there are {}", i, desc.planes[i].memory,
                        desc.memories.size());
        if (has_linear_rows(desc.modifier)) TRY(check_linear_plane(desc, format, i));
        else TRY(check_tiled_plane(desc, i));
    }
    return {};
}

Result<> check_memories(const ImageDesc& desc)
{
    if (desc.memories.empty()) return fail(Errc::bad_layout, "the description names no memory; send one descriptor per memory");
    Checked total = 0;
    for (std::size_t i = 0; i < desc.memories.size(); ++i) {
        if (desc.memories[i].size == 0) return fail(Errc::bad_layout, "memory {} has 0 bytes", i);
        total = total + desc.memories[i].size;
        bool used = false;
        for (const Plane& plane : desc.planes) used |= plane.memory == i;
        if (!used && desc.kind != MemoryKind::opaque) return fail(Errc::bad_layout, "no plane uses memory {}; leave it out", i);
    }
    if (!total.fits_in(INT64_MAX)) return fail(Errc::bad_layout, "the memories are larger than any machine");
    return {};
}

} // namespace

Result<> check_size(Extent size, FourCC format)
{
    if (format == buffer_format) {
        if (size.width >= 1 && size.height == 1) return {};
        return fail(Errc::bad_size, "a buffer has its bytes as width, 1 to {}, and the height 1; not {}x{}", UINT32_MAX,
                    size.width, size.height);
    }
    const auto in_range = [](std::uint32_t v) { return v >= 1 && v <= max_dimension; };
    if (in_range(size.width) && in_range(size.height)) return {};
    return fail(Errc::bad_size, "{}x{} pixels: both sides must be 1 to {}", size.width, size.height, max_dimension);
}

Result<> check_layout(const ImageDesc& desc)
{
    TRY(check_size(desc.size, desc.format));
    const FormatInfo* format = find_format(desc.format);
    if (!format)
        return fail(Errc::unknown_format, "format {} is not known; `dmabrokerctl formats` lists those that are",
                    to_string(desc.format));
    if (desc.is_buffer() && desc.modifier != (desc.kind == MemoryKind::opaque ? modifier_invalid : modifier_linear))
        return fail(Errc::bad_layout, "a buffer has no layout {}: it is LINEAR, or INVALID in opaque memory",
                    to_string(desc.modifier));
    TRY(check_memories(desc));
    // Opaque memory has no layout anyone but its driver could know.
    if (desc.kind == MemoryKind::opaque) {
        if (desc.memories.size() == 1 && desc.planes.empty()) return {};
        return fail(Errc::bad_layout, "opaque memory is one memory without planes, not {} with {}", desc.memories.size(),
                    desc.planes.size());
    }
    return check_planes(desc, *format);
}

Result<Image> Image::adopt(ImageDesc desc, ImageFds fds)
{
    if (fds.size() != desc.memories.size())
        return fail(Errc::bad_layout, "{} descriptors for {} memories", fds.size(), desc.memories.size());
    TRY(check_layout(desc));
    return Image(std::move(desc), std::move(fds));
}

Result<Image> Image::validate(ImageDesc desc, ImageFds fds)
{
    if (desc.kind == MemoryKind::opaque)
        return fail(Errc::bad_descriptor, "opaque memory cannot be told from anything else; share a dma-buf or a sealed memfd");
    for (std::size_t i = 0; i < fds.size() && i < desc.memories.size(); ++i) {
        const FdIdentity found = identify(fds[i].get());
        const FdType wanted = desc.kind == MemoryKind::memfd ? FdType::sealed_memfd : FdType::dma_buf;
        if (found.type == FdType::other) return fail(Errc::bad_descriptor, "memory {}: {}", i, found.problem.view());
        if (found.type != wanted)
            return fail(Errc::bad_descriptor, "memory {}: the descriptor is not the {} that the description says", i,
                        name(desc.kind));
        if (!found.writable)
            return fail(Errc::bad_descriptor, "memory {}: opened read-only; GPU drivers crash on it, export it with DRM_RDWR",
                        i);
        if (found.size < desc.memories[i].size)
            return fail(Errc::bad_layout, "memory {} has {} bytes, the description says {}", i, found.size,
                        desc.memories[i].size);
        desc.memories[i].size = found.size;
    }
    return adopt(std::move(desc), std::move(fds));
}

Result<ImageDesc> linear_layout(Extent size, FourCC code, const LayoutRules& rules, std::uint32_t stride_alignment)
{
    const auto aligned = combine(rules, {stride_alignment, plane_alignment, false});
    if (!aligned)
        return fail(Errc::bad_layout, "strides that are multiples of both {} and {} bytes would be too far apart",
                    rules.stride_alignment, stride_alignment);
    TRY(check_size(size, code));
    const FormatInfo* format = find_format(code);
    if (!format) return fail(Errc::unknown_format, "format {} is not known", to_string(code));
    ImageDesc desc;
    desc.size = size;
    desc.format = code;
    if (desc.is_buffer()) {
        desc.planes.push_back({0, size.width, 0});
        desc.memories.push_back({align_up(size.width, plane_alignment).value()});
        return desc;
    }
    Checked end = 0;
    for (std::size_t i = 0; i < format->plane_count; ++i) {
        const Checked offset = align_up(end, aligned->offset_alignment);
        const Checked stride = align_up(row_bytes(*format, i, size.width), aligned->stride_alignment);
        const Checked rows = align_up(plane_extent(*format, i, size).height, row_alignment);
        desc.planes.push_back({0, static_cast<std::uint32_t>(stride.value()), offset.value()});
        end = offset + stride * rows;
    }
    desc.memories.push_back({align_up(end, plane_alignment).value()});
    return desc;
}

} // namespace dmb
