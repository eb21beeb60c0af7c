// SPDX-License-Identifier: MIT
// Pixels of an image by way of libdmabroker's mapping, row by row: both sides have strides of their own. All rows lie
// in one bracket, which waits for the GPU. What must not be mapped (tiled or implicit layouts, memory that
// could fault) is refused by the mapping, and that refusal is the result.
#include "daemon/worker/proofs/cpu_pixels.hpp"

#include <cstring>

namespace dmb::worker {
namespace {

/// What the rows of an image are.
struct Shape {
    const FormatInfo& format;
    Extent size;
    explicit Shape(const dmabroker::Image& image)
        : format(*find_format({image.info().format})), size{image.info().width, image.info().height}
    {
    }
    std::uint64_t row(std::size_t plane) const { return row_bytes(format, plane, size.width); }
    std::uint32_t rows(std::size_t plane) const { return plane_extent(format, plane, size).height; }
};

/// Calls visit(plane, row, first byte of the row, its bytes) inside one bracket.
template <class Visit> Result<> each_row(const dmabroker::Image& image, dmabroker::Direction direction, Visit visit)
{
    const Shape shape(image);
    auto mapping = TRY(caught([&] { return image.map(direction); }));
    auto mapped = TRY(caught([&] { return mapping.begin(direction); }));
    for (std::uint32_t plane = 0; plane < shape.format.plane_count; ++plane)
        for (std::uint32_t y = 0; y < shape.rows(plane); ++y)
            TRY(visit(plane, y, mapped.data(plane) + mapped.stride(plane) * y, shape.row(plane)));
    return caught([&] { mapped.end(); });
}

} // namespace

Result<> read_by_cpu(const dmabroker::Image& image, std::span<std::byte> to)
{
    std::uint64_t at = 0;
    return each_row(image, dmabroker::Direction::read, [&](auto, auto, const std::byte* row, std::uint64_t bytes) -> Result<> {
        std::memcpy(to.subspan(at, bytes).data(), row, bytes);
        at += bytes;
        return {};
    });
}

Result<> write_by_cpu(const dmabroker::Image& image, const Contents& contents)
{
    return each_row(image, dmabroker::Direction::write,
                    [&](std::uint32_t plane, std::uint32_t y, std::byte* row, std::uint64_t bytes) {
                        return contents.read(plane, y, 1, {row, bytes});
                    });
}

Result<> write_by_cpu(const dmabroker::Image& image, std::span<const std::byte> packed)
{
    std::uint64_t at = 0;
    return each_row(image, dmabroker::Direction::write, [&](auto, auto, std::byte* row, std::uint64_t bytes) -> Result<> {
        std::memcpy(row, packed.subspan(at, bytes).data(), bytes);
        at += bytes;
        return {};
    });
}

Result<> copy_by_cpu(const dmabroker::Image& from, const dmabroker::Image& to)
{
    auto source = TRY(caught([&] { return from.map(dmabroker::Direction::read); }));
    auto reading = TRY(caught([&] { return source.begin(dmabroker::Direction::read); }));
    TRY(each_row(to, dmabroker::Direction::write,
                 [&](std::uint32_t plane, std::uint32_t y, std::byte* row, std::uint64_t bytes) -> Result<> {
                     std::memcpy(row, reading.data(plane) + reading.stride(plane) * y, bytes);
                     return {};
                 }));
    return caught([&] { reading.end(); });
}

} // namespace dmb::worker
