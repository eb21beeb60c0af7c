// SPDX-License-Identifier: MIT
// How an image is cut for a driver: as it is, or as one single-plane image per plane. Both importers
// try the first and fall back to the second, so both cut alike.
#pragma once
#include "proto/base/result.hpp"
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

/// Whole where `flags` (enum dmabroker_import_flags) allow it and the driver takes it, else cut. Both return a Result<>.
template <class Whole, class Cut> Result<> whole_or_cut(const ImageDesc& desc, std::uint32_t flags, Whole whole, Cut cut)
{
    if (!can_be_cut(desc) && (flags & DMABROKER_IMPORT_PER_PLANE))
        return fail(Errc::invalid_argument, "{} has one plane; import it without PER_PLANE", to_string(desc.format));
    if (flags & DMABROKER_IMPORT_PER_PLANE) return cut();
    const Result<> done = whole();
    if (done || !can_be_cut(desc) || (flags & DMABROKER_IMPORT_WHOLE)) return done;
    return cut();
}

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
