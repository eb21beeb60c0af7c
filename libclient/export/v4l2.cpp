// SPDX-License-Identifier: MIT
// Buffers of V4L2 devices: VIDIOC_G_FMT tells the layout, VIDIOC_EXPBUF gives a dma-buf per memory plane. V4L2's codes are
// not DRM's. A format without "M" has all its planes in one memory, one behind the other, with rows of the smaller ones
// shorter by the factor of their width; one with "M" has a memory for each (V4L2 API, "Image Formats").
#include "libclient/export/exported.hpp"

#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/export/v4l2_colour.hpp"
#include "proto/image/format_table.hpp"

#include <algorithm>
#include <cerrno>
#include <dmabroker/v4l2.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <sys/ioctl.h>

namespace dmb::exporting {
namespace {

struct Known {
    std::uint32_t v4l2;
    FourCC drm;
};
/// V4L2 names bytes in memory, DRM little-endian words: V4L2's RGB24 is DRM's BGR888.
constexpr Known formats[] = {
    {V4L2_PIX_FMT_XBGR32, fourcc("XR24")},  {V4L2_PIX_FMT_ABGR32, fourcc("AR24")},  {V4L2_PIX_FMT_RGBX32, fourcc("XB24")},
    {V4L2_PIX_FMT_RGBA32, fourcc("AB24")},  {V4L2_PIX_FMT_XRGB32, fourcc("BX24")},  {V4L2_PIX_FMT_ARGB32, fourcc("BA24")},
    {V4L2_PIX_FMT_BGRX32, fourcc("RX24")},  {V4L2_PIX_FMT_BGRA32, fourcc("RA24")},  {V4L2_PIX_FMT_RGB24, fourcc("BG24")},
    {V4L2_PIX_FMT_BGR24, fourcc("RG24")},   {V4L2_PIX_FMT_RGB565, fourcc("RG16")},  {V4L2_PIX_FMT_GREY, fourcc("R8  ")},
    {V4L2_PIX_FMT_Y16, fourcc("R16 ")},     {V4L2_PIX_FMT_YUYV, fourcc("YUYV")},    {V4L2_PIX_FMT_UYVY, fourcc("UYVY")},
    {V4L2_PIX_FMT_NV12, fourcc("NV12")},    {V4L2_PIX_FMT_NV12M, fourcc("NV12")},   {V4L2_PIX_FMT_NV21, fourcc("NV21")},
    {V4L2_PIX_FMT_NV21M, fourcc("NV21")},   {V4L2_PIX_FMT_NV16, fourcc("NV16")},    {V4L2_PIX_FMT_NV16M, fourcc("NV16")},
    {V4L2_PIX_FMT_YUV420, fourcc("YU12")},  {V4L2_PIX_FMT_YUV420M, fourcc("YU12")}, {V4L2_PIX_FMT_YVU420, fourcc("YV12")},
    {V4L2_PIX_FMT_YVU420M, fourcc("YV12")}, {V4L2_PIX_FMT_YUV422P, fourcc("YU16")}, {V4L2_PIX_FMT_YUV422M, fourcc("YU16")},
    {V4L2_PIX_FMT_YUV444M, fourcc("YU24")},
};

int control(int device, unsigned long request, void* argument)
{
    int done;
    do done = ::ioctl(device, request, argument);
    while (done < 0 && errno == EINTR);
    return done;
}

/// What both kinds of v4l2_format say.
struct Format {
    Extent size;
    std::uint32_t code = 0;
    std::size_t memories = 1;
    std::array<std::uint32_t, VIDEO_MAX_PLANES> strides{};
    V4l2Colour colour;
};

bool is_multi_planar(std::uint32_t type)
{
    return type == V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE || type == V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE;
}

Format read_multi_planar(const v4l2_pix_format_mplane& pix)
{
    Format out{.size = {pix.width, pix.height}, .code = pix.pixelformat, .memories = pix.num_planes};
    for (std::size_t i = 0; i < std::min<std::size_t>(pix.num_planes, VIDEO_MAX_PLANES); ++i)
        out.strides[i] = pix.plane_fmt[i].bytesperline;
    out.colour = {pix.colorspace, pix.xfer_func, pix.ycbcr_enc, pix.quantization};
    return out;
}

Format read_single_planar(const v4l2_pix_format& pix)
{
    Format out{.size = {pix.width, pix.height}, .code = pix.pixelformat};
    out.strides[0] = pix.bytesperline;
    out.colour.space = pix.colorspace;
    // Valid only where the driver set `priv` to say that it filled them.
    if (pix.priv == V4L2_PIX_FMT_PRIV_MAGIC) out.colour = {pix.colorspace, pix.xfer_func, pix.ycbcr_enc, pix.quantization};
    return out;
}

Result<Format> read_format(const dmabroker_v4l2_source& from)
{
    v4l2_format format{};
    format.type = from.type;
    if (control(from.device, VIDIOC_G_FMT, &format) != 0)
        return fail(Errc::invalid_argument, "VIDIOC_G_FMT: errno {}; is this a V4L2 device with buffers of type {}?", errno,
                    from.type);
    return is_multi_planar(from.type) ? read_multi_planar(format.fmt.pix_mp) : read_single_planar(format.fmt.pix);
}

Result<const FormatInfo*> find_drm_format(const Format& format)
{
    const auto found = std::ranges::find(formats, format.code, &Known::v4l2);
    const FormatInfo* info = found == std::end(formats) ? nullptr : find_format(found->drm);
    if (!info)
        return fail(Errc::unknown_format, "V4L2 format {} has no DRM format here; set another with VIDIOC_S_FMT",
                    to_string(FourCC{format.code}));
    if (format.memories == 1 || format.memories == info->plane_count) return info;
    return fail(Errc::bad_layout, "V4L2 format {} in {} memory planes", to_string(FourCC{format.code}), format.memories);
}

/// A dma-buf over one memory plane of the buffer.
Result<UniqueFd> export_memory(const dmabroker_v4l2_source& from, std::size_t plane)
{
    v4l2_exportbuffer request{};
    request.type = from.type;
    request.index = from.index;
    request.plane = static_cast<std::uint32_t>(plane);
    request.flags = O_RDWR | O_CLOEXEC;
    if (control(from.device, VIDIOC_EXPBUF, &request) == 0) return UniqueFd::adopt(request.fd);
    if (errno == ENOTTY) return fail(Errc::unsupported, "this V4L2 driver cannot export buffers (no VIDIOC_EXPBUF)");
    return fail(Errc::bad_descriptor, "VIDIOC_EXPBUF: errno {}; is there a buffer {} of memory type MMAP?", errno, from.index);
}

/// Planes one behind the other in the only memory.
Result<> add_contiguous_planes(Exported& exported, std::uint8_t memory, const Format& format, const FormatInfo& info)
{
    std::uint64_t offset = 0;
    for (std::size_t i = 0; i < info.plane_count; ++i) {
        const PlaneFormat &plane = info.planes[i], &first = info.planes[0];
        const std::uint64_t stride = std::uint64_t{format.strides[0]} * plane.bytes_per_block /
                                     (std::uint64_t{first.bytes_per_block} * plane.horizontal);
        TRY(exported.add_plane(memory, stride, offset));
        offset += stride * plane_extent(info, i, format.size).height;
    }
    return {};
}

Result<std::unique_ptr<dmabroker_image>> export_v4l2(Client& client, const dmabroker_v4l2_source* given,
                                                     const dmabroker_export_options* options)
{
    const dmabroker_v4l2_source from = TRY(read_struct(given));
    const dmabroker_export_options wanted = TRY(read_optional(options));
    const Format format = TRY(read_format(from));
    const FormatInfo* info = TRY(find_drm_format(format));
    Exported exported = TRY(Exported::begin(format.size, info->fourcc, modifier_linear, wanted));
    TRY(exported.set_colour(from_v4l2(format.colour, info->fourcc)));
    for (std::size_t i = 0; i < format.memories; ++i) {
        UniqueFd fd = TRY(export_memory(from, i));
        const std::uint8_t memory = TRY(exported.add_memory(std::move(fd)));
        if (format.memories == 1) TRY(add_contiguous_planes(exported, memory, format, *info));
        else TRY(exported.add_plane(memory, format.strides[i], 0));
    }
    return std::move(exported).register_at(client);
}

Result<dmabroker_v4l2_colour> describe(const dmabroker_image_info& info)
{
    const ImageDesc desc = TRY(to_desc(info));
    const V4l2Colour colour = TRY(to_v4l2(desc.colour, desc.format));
    return dmabroker_v4l2_colour{colour.space, colour.transfer, colour.encoding, colour.quantisation};
}

} // namespace
} // namespace dmb::exporting

extern "C" {

DMABROKER_API int dmabroker_v4l2_describe(const dmabroker_image_info* info, dmabroker_v4l2_colour* colour,
                                          dmabroker_error* error)
{
    return dmb::guard(error, [&]() -> dmb::Result<> {
        TRY(dmb::require(colour, "colour"));
        const dmabroker_image_info from = TRY(dmb::read_struct(info));
        *colour = TRY(dmb::exporting::describe(from));
        return {};
    });
}

DMABROKER_API int dmabroker_v4l2_export(dmabroker_client* client, const dmabroker_v4l2_source* source,
                                        const dmabroker_export_options* options, dmabroker_image** image,
                                        dmabroker_error* error)
{
    return dmb::guard(error, [&]() -> dmb::Result<> {
        const dmb::Turn turn = TRY(dmb::Turn::with(client));
        TRY(dmb::require(image, "image"));
        *image = nullptr;
        *image = TRY(dmb::exporting::export_v4l2(*turn, source, options)).release();
        return {};
    });
}
}
