// SPDX-License-Identifier: MIT
// How images of several planes are cut, and how their colours are converted, for the EGL and Vulkan importers; pure
// functions. The format table says under which fourcc a plane passes alone; the order of chroma is all that it does not
// say, because only the conversion cares. Which of the ways a driver takes is for the importers to find out.
#include "libclient/import/plan.hpp"

#include <utility>

namespace dmb::import {
namespace {

bool cr_comes_first(FourCC format) { return format == fourcc("NV21") || format == fourcc("YV12"); }

} // namespace

Plan whole(const ImageDesc& desc) { return {Part{desc.format, desc.size, desc.planes}}; }

bool can_be_cut(const ImageDesc& desc) { return find_format(desc.format)->plane_count > 1; }

Plan per_plane(const ImageDesc& desc)
{
    const FormatInfo& format = *find_format(desc.format);
    Plan plan;
    for (std::size_t i = 0; i < format.plane_count; ++i)
        plan.push_back({format.planes[i].as_image, plane_extent(format, i, desc.size), {desc.planes[i]}});
    return plan;
}

Cosited cosited(ChromaSiting siting)
{
    const bool centre = siting == ChromaSiting::centre || siting == ChromaSiting::top || siting == ChromaSiting::bottom;
    return {!centre, siting == ChromaSiting::top_left || siting == ChromaSiting::top};
}

GpuMatrix gpu_matrix(const Colour& colour)
{
    const bool stated = colour.matrix != MatrixCoefficients::unspecified;
    switch (stated ? colour.matrix : usual_matrix(colour.primaries)) {
    case MatrixCoefficients::bt470bg:
    case MatrixCoefficients::smpte170m: return GpuMatrix::bt601;
    case MatrixCoefficients::bt709: return GpuMatrix::bt709;
    case MatrixCoefficients::bt2020_ncl: return GpuMatrix::bt2020;
    default: return GpuMatrix::none;
    }
}

dmabroker_yuv conversion(const ImageDesc& desc)
{
    YuvToRgb yuv = yuv_to_rgb(desc.colour, find_format(desc.format)->bits).value_or(YuvToRgb{});
    if (cr_comes_first(desc.format)) {
        for (std::size_t row = 0; row < 3; ++row) std::swap(yuv.matrix[3 * row + 1], yuv.matrix[3 * row + 2]);
        std::swap(yuv.offset[1], yuv.offset[2]);
    }
    dmabroker_yuv out;
    std::copy(yuv.matrix.begin(), yuv.matrix.end(), out.matrix);
    std::copy(yuv.offset.begin(), yuv.offset.end(), out.offset);
    return out;
}

} // namespace dmb::import
