// SPDX-License-Identifier: MIT
// Image: a description whose every plane was checked, with the descriptors it describes. Layout
// arithmetic is done here and nowhere else.
#pragma once
#include "proto/base/unique_fd.hpp"
#include "proto/image/capabilities.hpp"

#include <span>

namespace dmb {

using ImageFds = BoundedVector<UniqueFd, max_planes>;

/// Width and height are in 1..max_dimension; of buffers, the height is 1 and the width not 0.
Result<> check_size(Extent, FourCC);

/// The description alone: known format, size in range, plane count, every plane inside its memory.
/// `memories[i].size` is taken as true; whoever holds the descriptors compares it with the real size.
/// Linear layouts are checked to the last byte. Tiled ones (any other modifier) are checked as far as
/// a layout that only the driver knows can be: offsets and strides inside the memory.
Result<> check_layout(const ImageDesc&);

class Image {
public:
    /// Checks the description, identifies every descriptor without blocking, and compares real sizes.
    static Result<Image> validate(ImageDesc desc, ImageFds fds);
    /// For descriptors this process made itself or got from the broker: checks the description only.
    static Result<Image> adopt(ImageDesc desc, ImageFds fds);

    const ImageDesc& desc() const { return desc_; }
    /// Borrowed: valid as long as the image.
    int fd(std::size_t memory) const { return fds_[memory].get(); }
    ImageFds take_fds() && { return std::move(fds_); }

private:
    Image(ImageDesc desc, ImageFds fds) : desc_(std::move(desc)), fds_(std::move(fds)) {}
    ImageDesc desc_;
    ImageFds fds_;
};

/// Strides that every GPU's wish known to us divides.
inline constexpr std::uint32_t gpu_stride_alignment = 256;
/// Strides of rows packed for Mesa's software drivers, which take them in no other multiple where they do
/// not know modifiers. No GPU takes such memory anyway.
inline constexpr std::uint32_t software_stride_alignment = 64;

/// A linear layout for system memory: strides are multiples of `stride_alignment`, planes begin on pages, both as the
/// rules want it besides, and each plane has room for rows up to a multiple of 16, because software GPU drivers draw
/// whole blocks. One memory object of whole pages. Buffers are as long as they are.
Result<ImageDesc> linear_layout(Extent, FourCC, const LayoutRules& = {}, std::uint32_t stride_alignment = gpu_stride_alignment);

} // namespace dmb
