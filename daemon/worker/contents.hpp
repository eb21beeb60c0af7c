// SPDX-License-Identifier: MIT
// Initial contents of an image, as a client sent them: a memfd with tightly packed planes.
#pragma once
#include "proto/base/unique_fd.hpp"
#include "proto/image/format_table.hpp"

#include <span>

namespace dmb::worker {

class Contents {
public:
    /// Refuses anything but shared memory that cannot shrink and has all planes.
    static Result<Contents> open(UniqueFd fd, FourCC, Extent);

    /// Copies `rows` rows of a plane, beginning with `first`, one after the other into `to`.
    Result<> read(std::size_t plane, std::uint32_t first, std::uint32_t rows, std::span<std::byte> to) const;
    /// Of a buffer: the bytes from `at` on.
    Result<> read_bytes(std::uint64_t at, std::span<std::byte> to) const;

private:
    Contents(UniqueFd fd, const FormatInfo& format, Extent size) : fd_(std::move(fd)), format_(&format), size_(size) {}
    UniqueFd fd_;
    const FormatInfo* format_;
    Extent size_;
};

/// Where a plane begins in tightly packed pixels; for plane_count, where everything ends. Sides in range.
std::uint64_t plane_start(const FormatInfo&, Extent, std::size_t plane);

/// One plane somewhere in mapped memory.
struct MappedPlane {
    std::byte* data = nullptr;
    std::uint64_t stride = 0;
};
/// Writes one plane row by row; without contents, zeros.
Result<> write_plane(const FormatInfo&, Extent, std::size_t plane, const Contents*, MappedPlane to);

} // namespace dmb::worker
