// SPDX-License-Identifier: MIT
// Initial pixels on their way: the caller's rows into a sealed memfd, or into the image through the CPU mapping. Pixels
// are copied row by row unless both sides have the same stride. The memfd is sealed against every change of size,
// because the broker takes no other. Which of the two ways is taken is decided in c_api_image.cpp and operations.cpp.
#include "libclient/contents.hpp"

#include "libclient/arguments.hpp"
#include "libclient/import/cpu_map.hpp"
#include "proto/base/checked.hpp"
#include "proto/image/format_table.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace dmb {
namespace {

struct Rows {
    std::uint64_t bytes; ///< of one row without padding
    std::uint64_t count;
};
Rows rows_of(const FormatInfo& format, std::size_t plane, Extent size)
{
    return {row_bytes(format, plane, size.width), plane_extent(format, plane, size).height};
}

void copy_rows(std::byte* to, std::size_t to_stride, const void* from, std::size_t from_stride, Rows rows)
{
    if (to_stride == from_stride && to_stride == rows.bytes) {
        std::memcpy(to, from, rows.bytes * rows.count);
        return;
    }
    const std::byte* source = static_cast<const std::byte*>(from);
    for (std::uint64_t y = 0; y < rows.count; ++y) std::memcpy(to + y * to_stride, source + y * from_stride, rows.bytes);
}

Result<const FormatInfo*> known_format(FourCC code)
{
    if (const FormatInfo* format = find_format(code)) return format;
    return fail(Errc::unknown_format, "format {} is not known; `dmabrokerctl formats` lists those that are", to_string(code));
}

Result<UniqueFd> make_memfd(std::uint64_t size)
{
    UniqueFd fd = UniqueFd::adopt(::memfd_create("dmabroker contents", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) return fail_errno(Errc::out_of_memory, "create memory for the contents", errno);
    if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
        return fail_errno(Errc::out_of_memory, "size the memory for the contents", errno);
    if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return fail_errno(Errc::internal, "seal the memory for the contents", errno);
    return fd;
}

/// At most 4 × 16384² × 16 bytes: no overflow after check_size.
std::uint64_t packed_size(const FormatInfo& format, Extent size)
{
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < format.plane_count; ++i)
        total += rows_of(format, i, size).bytes * rows_of(format, i, size).count;
    return total;
}

} // namespace

Result<dmabroker_pixels> check_contents(Extent size, FourCC code, const dmabroker_pixels& pixels)
{
    TRY(check_size(size, code));
    TRY(check_reserved(pixels));
    const FormatInfo* format = TRY(known_format(code));
    dmabroker_pixels out = pixels;
    for (std::size_t i = 0; i < format->plane_count; ++i) {
        const std::uint64_t row = row_bytes(*format, i, size.width);
        if (!pixels.data[i])
            return fail(Errc::invalid_argument, "contents: {} has {} plane(s), data[{}] is NULL", format->name,
                        format->plane_count, i);
        if (pixels.stride[i] == 0) out.stride[i] = row;
        if (out.stride[i] < row)
            return fail(Errc::invalid_argument, "contents: stride[{}] is {}, one row has {} bytes", i, pixels.stride[i], row);
    }
    return out;
}

Result<UniqueFd> pack_contents(Extent size, FourCC code, const dmabroker_pixels& pixels)
{
    const FormatInfo* format = TRY(known_format(code));
    const std::uint64_t total = packed_size(*format, size);
    UniqueFd fd = TRY(make_memfd(total));
    void* map = ::mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (map == MAP_FAILED) return fail_errno(Errc::out_of_memory, "map the memory for the contents", errno);
    std::byte* to = static_cast<std::byte*>(map);
    for (std::size_t i = 0; i < format->plane_count; ++i) {
        const Rows rows = rows_of(*format, i, size);
        copy_rows(to, rows.bytes, pixels.data[i], pixels.stride[i], rows);
        to += rows.bytes * rows.count;
    }
    ::munmap(map, total);
    return fd;
}

Result<> write_packed(const dmabroker_image& image, const UniqueFd& packed)
{
    const ImageDesc& desc = image.image.desc();
    const FormatInfo* format = TRY(known_format(desc.format));
    const std::uint64_t total = packed_size(*format, desc.size);
    void* map = ::mmap(nullptr, total, PROT_READ, MAP_SHARED, packed.get(), 0);
    if (map == MAP_FAILED) return fail_errno(Errc::out_of_memory, "map the memory of the contents", errno);
    dmabroker_pixels pixels{};
    const std::byte* from = static_cast<const std::byte*>(map);
    for (std::size_t i = 0; i < format->plane_count; ++i) {
        const Rows rows = rows_of(*format, i, desc.size);
        pixels.data[i] = from;
        pixels.stride[i] = rows.bytes;
        from += rows.bytes * rows.count;
    }
    auto written = write_contents(image, pixels);
    ::munmap(map, total);
    return written;
}

Result<> write_contents(const dmabroker_image& image, const dmabroker_pixels& pixels)
{
    const ImageDesc& desc = image.image.desc();
    const FormatInfo* format = TRY(known_format(desc.format));
    const std::unique_ptr<CpuMapping> mapping = TRY(CpuMapping::create(image, Direction::write));
    TRY(mapping->begin(Direction::write));
    for (std::size_t i = 0; i < format->plane_count; ++i)
        copy_rows(mapping->data(i), desc.planes[i].stride, pixels.data[i], pixels.stride[i], rows_of(*format, i, desc.size));
    return mapping->end(Direction::write);
}

} // namespace dmb
