// SPDX-License-Identifier: MIT
// How an image is cut for a driver: as it is, or as one single-plane image per plane. Both importers
// try the first and fall back to the second, so both cut alike.
#pragma once
#include "proto/image/format_table.hpp"

#include <dmabroker/import.h>

namespace dmb::import {

/// One driver image to be made.
struct Part {
    FourCC format;
    Extent size;
    BoundedVector<Plane, max_planes> planes;
};
using Plan = BoundedVector<Part, max_planes>;

Plan whole(const ImageDesc&);
/// As many parts as the format has planes; R8 + GR88 for NV12.
Plan per_plane(const ImageDesc&);
/// True for formats of several planes: only they can be cut.
bool can_be_cut(const ImageDesc&);

/// Whether chroma samples lie on luma samples, across and down, or between two. GPUs know no bottom: that is between.
struct Cosited {
    bool across, down;
};
Cosited cosited(ChromaSiting);

/// What GPUs convert by themselves.
enum class GpuMatrix { none, bt601, bt709, bt2020 };
GpuMatrix gpu_matrix(const Colour&);

/// The conversion for samples in the order of the parts: where Cr comes before Cb (NV21, YVU420), the
/// swap is folded into the matrix. All zero where no matrix converts.
dmabroker_yuv conversion(const ImageDesc&);

} // namespace dmb::import
