// SPDX-License-Identifier: MIT
// Colour between V4L2 and H.273, for v4l2.cpp. The tables are those of the V4L2 API, "Colorspaces" and "Defining
// Colorspaces in V4L2". V4L2 has one word where H.273 has several code points for the same curve or matrix, and none
// for some: then to_v4l2 refuses instead of approximating. Pure functions.
#include "libclient/export/v4l2_colour.hpp"

#include "proto/image/format_table.hpp"

#include <algorithm>
#include <linux/videodev2.h>

namespace dmb::exporting {
namespace {

template <class E> struct Pair {
    std::uint32_t v4l2;
    E code;
};

// Where several have the same code point, the first is the one to say.
constexpr Pair<Primaries> spaces[] = {
    {V4L2_COLORSPACE_REC709, Primaries::bt709},
    {V4L2_COLORSPACE_SRGB, Primaries::bt709},
    {V4L2_COLORSPACE_JPEG, Primaries::bt709},
    {V4L2_COLORSPACE_SMPTE170M, Primaries::smpte170m},
    {V4L2_COLORSPACE_SMPTE240M, Primaries::smpte240m},
    {V4L2_COLORSPACE_470_SYSTEM_M, Primaries::bt470m},
    {V4L2_COLORSPACE_470_SYSTEM_BG, Primaries::bt470bg},
    {V4L2_COLORSPACE_BT2020, Primaries::bt2020},
    {V4L2_COLORSPACE_DCI_P3, Primaries::dci_p3},
    {V4L2_COLORSPACE_RAW, Primaries::unspecified},
};
constexpr Pair<Transfer> transfers[] = {
    {V4L2_XFER_FUNC_709, Transfer::bt709},     {V4L2_XFER_FUNC_709, Transfer::smpte170m},
    {V4L2_XFER_FUNC_709, Transfer::bt2020_10}, {V4L2_XFER_FUNC_709, Transfer::bt2020_12},
    {V4L2_XFER_FUNC_709, Transfer::xvycc},     {V4L2_XFER_FUNC_SRGB, Transfer::srgb},
    {V4L2_XFER_FUNC_OPRGB, Transfer::gamma22}, {V4L2_XFER_FUNC_SMPTE240M, Transfer::smpte240m},
    {V4L2_XFER_FUNC_NONE, Transfer::linear},   {V4L2_XFER_FUNC_DCI_P3, Transfer::smpte428},
    {V4L2_XFER_FUNC_SMPTE2084, Transfer::pq},  {V4L2_XFER_FUNC_DEFAULT, Transfer::unspecified},
};
constexpr Pair<MatrixCoefficients> encodings[] = {
    {V4L2_YCBCR_ENC_601, MatrixCoefficients::smpte170m},
    {V4L2_YCBCR_ENC_601, MatrixCoefficients::bt470bg},
    {V4L2_YCBCR_ENC_XV601, MatrixCoefficients::smpte170m},
    {V4L2_YCBCR_ENC_709, MatrixCoefficients::bt709},
    {V4L2_YCBCR_ENC_XV709, MatrixCoefficients::bt709},
    {V4L2_YCBCR_ENC_BT2020, MatrixCoefficients::bt2020_ncl},
    {V4L2_YCBCR_ENC_BT2020_CONST_LUM, MatrixCoefficients::bt2020_cl},
    {V4L2_YCBCR_ENC_SMPTE240M, MatrixCoefficients::smpte240m},
    {V4L2_YCBCR_ENC_DEFAULT, MatrixCoefficients::unspecified},
};

template <class E, std::size_t N> E code_of(const Pair<E> (&table)[N], std::uint32_t word)
{
    const auto found = std::ranges::find(table, word, &Pair<E>::v4l2);
    return found != std::end(table) ? found->code : E::unspecified;
}

template <class E, std::size_t N> Result<std::uint32_t> word_of(const Pair<E> (&table)[N], E code, std::string_view what)
{
    const auto found = std::ranges::find(table, code, &Pair<E>::code);
    if (found != std::end(table)) return found->v4l2;
    return fail(Errc::unsupported, "V4L2 has no word for the {} {}", what, to_string(code));
}

bool is_rgb(FourCC code)
{
    const FormatInfo* format = find_format(code);
    return format && format->model == ColourModel::rgb;
}

bool is_extended(std::uint32_t encoding) { return encoding == V4L2_YCBCR_ENC_XV601 || encoding == V4L2_YCBCR_ENC_XV709; }

ColourRange range_of(const V4l2Colour& from, FourCC format)
{
    if (from.quantisation == V4L2_QUANTIZATION_FULL_RANGE) return ColourRange::full;
    if (from.quantisation == V4L2_QUANTIZATION_LIM_RANGE) return ColourRange::limited;
    return is_rgb(format) || from.space == V4L2_COLORSPACE_JPEG ? ColourRange::full : ColourRange::limited;
}

} // namespace

Colour from_v4l2(const V4l2Colour& from, FourCC format)
{
    const std::uint32_t usual_transfer = V4L2_MAP_XFER_FUNC_DEFAULT(from.space);
    const std::uint32_t usual_encoding = V4L2_MAP_YCBCR_ENC_DEFAULT(from.space);
    const std::uint32_t encoding = from.encoding ? from.encoding : usual_encoding;
    Colour colour;
    colour.primaries = code_of(spaces, from.space);
    colour.transfer = code_of(transfers, from.transfer ? from.transfer : usual_transfer);
    if (is_extended(encoding) && !is_rgb(format)) colour.transfer = Transfer::xvycc;
    colour.matrix = is_rgb(format) ? MatrixCoefficients::identity : code_of(encodings, encoding);
    colour.range = range_of(from, format);
    return colour;
}

Result<V4l2Colour> to_v4l2(const Colour& colour, FourCC format)
{
    V4l2Colour out;
    if (colour.primaries != Primaries::unspecified) out.space = TRY(word_of(spaces, colour.primaries, "primaries"));
    if (out.space == V4L2_COLORSPACE_REC709 && colour.transfer == Transfer::srgb) out.space = V4L2_COLORSPACE_SRGB;
    out.transfer = TRY(word_of(transfers, colour.transfer, "transfer function"));
    if (!is_rgb(format)) out.encoding = TRY(word_of(encodings, colour.matrix, "matrix"));
    if (colour.transfer == Transfer::xvycc && out.encoding == V4L2_YCBCR_ENC_601) out.encoding = V4L2_YCBCR_ENC_XV601;
    if (colour.transfer == Transfer::xvycc && out.encoding == V4L2_YCBCR_ENC_709) out.encoding = V4L2_YCBCR_ENC_XV709;
    const bool full = colour.range == ColourRange::full;
    out.quantisation = full ? V4L2_QUANTIZATION_FULL_RANGE : V4L2_QUANTIZATION_LIM_RANGE;
    return out;
}

} // namespace dmb::exporting
