// SPDX-License-Identifier: MIT
// V4L2's words for colour against the tables of the V4L2 API.
#include "libclient/export/v4l2_colour.hpp"

#include <dmabroker/v4l2.h>
#include <gtest/gtest.h>
#include <linux/videodev2.h>

namespace dmb::exporting {
namespace {

constexpr FourCC nv12 = fourcc("NV12"), xr24 = fourcc("XR24");

void expect_colour(const V4l2Colour& from, FourCC format, const Colour& wanted)
{
    const Colour got = from_v4l2(from, format);
    EXPECT_EQ(to_string(got.primaries), to_string(wanted.primaries));
    EXPECT_EQ(to_string(got.transfer), to_string(wanted.transfer));
    EXPECT_EQ(to_string(got.matrix), to_string(wanted.matrix));
    EXPECT_EQ(to_string(got.range), to_string(wanted.range));
    EXPECT_EQ(got, wanted);
}

TEST(V4l2Colours, a_colour_space_brings_its_own_defaults)
{
    using P = Primaries;
    using T = Transfer;
    using M = MatrixCoefficients;
    using R = ColourRange;
    expect_colour({V4L2_COLORSPACE_REC709}, nv12, {P::bt709, T::bt709, M::bt709, R::limited});
    expect_colour({V4L2_COLORSPACE_SMPTE170M}, nv12, {P::smpte170m, T::bt709, M::smpte170m, R::limited});
    expect_colour({V4L2_COLORSPACE_SMPTE240M}, nv12, {P::smpte240m, T::smpte240m, M::smpte240m, R::limited});
    expect_colour({V4L2_COLORSPACE_BT2020}, nv12, {P::bt2020, T::bt709, M::bt2020_ncl, R::limited});
    expect_colour({V4L2_COLORSPACE_JPEG}, nv12, {P::bt709, T::srgb, M::smpte170m, R::full});
    expect_colour({V4L2_COLORSPACE_SRGB}, nv12, {P::bt709, T::srgb, M::smpte170m, R::limited});
    expect_colour({V4L2_COLORSPACE_SRGB}, xr24, {P::bt709, T::srgb, M::identity, R::full});
    expect_colour({V4L2_COLORSPACE_470_SYSTEM_M}, nv12, {P::bt470m, T::bt709, M::smpte170m, R::limited});
    expect_colour({V4L2_COLORSPACE_470_SYSTEM_BG}, nv12, {P::bt470bg, T::bt709, M::smpte170m, R::limited});
    expect_colour({V4L2_COLORSPACE_DCI_P3}, nv12, {P::dci_p3, T::smpte428, M::bt709, R::limited});
    expect_colour({V4L2_COLORSPACE_OPRGB}, xr24, {P::unspecified, T::gamma22, M::identity, R::full});
}

TEST(V4l2Colours, what_is_said_beside_the_colour_space_counts)
{
    const Colour pq = from_v4l2(
        {V4L2_COLORSPACE_BT2020, V4L2_XFER_FUNC_SMPTE2084, V4L2_YCBCR_ENC_BT2020_CONST_LUM, V4L2_QUANTIZATION_FULL_RANGE},
        fourcc("P010"));
    EXPECT_EQ(pq, (Colour{Primaries::bt2020, Transfer::pq, MatrixCoefficients::bt2020_cl, ColourRange::full}));
    const Colour extended = from_v4l2({V4L2_COLORSPACE_REC709, 0, V4L2_YCBCR_ENC_XV709, 0}, nv12);
    EXPECT_EQ(extended.transfer, Transfer::xvycc);
    EXPECT_EQ(from_v4l2({V4L2_COLORSPACE_SRGB, 0, 0, V4L2_QUANTIZATION_LIM_RANGE}, xr24).range, ColourRange::limited)
        << "which registration refuses";
}

TEST(V4l2Colours, what_a_device_is_told_means_the_same_when_it_says_it)
{
    for (const FourCC format : {nv12, xr24})
        for (const std::uint32_t space :
             {V4L2_COLORSPACE_SMPTE170M, V4L2_COLORSPACE_SMPTE240M, V4L2_COLORSPACE_REC709, V4L2_COLORSPACE_470_SYSTEM_M,
              V4L2_COLORSPACE_470_SYSTEM_BG, V4L2_COLORSPACE_SRGB, V4L2_COLORSPACE_BT2020, V4L2_COLORSPACE_DCI_P3})
            for (const std::uint32_t transfer :
                 {V4L2_XFER_FUNC_709, V4L2_XFER_FUNC_SRGB, V4L2_XFER_FUNC_OPRGB, V4L2_XFER_FUNC_SMPTE240M, V4L2_XFER_FUNC_NONE,
                  V4L2_XFER_FUNC_DCI_P3, V4L2_XFER_FUNC_SMPTE2084})
                for (const std::uint32_t encoding :
                     {V4L2_YCBCR_ENC_601, V4L2_YCBCR_ENC_709, V4L2_YCBCR_ENC_XV601, V4L2_YCBCR_ENC_XV709, V4L2_YCBCR_ENC_BT2020,
                      V4L2_YCBCR_ENC_BT2020_CONST_LUM, V4L2_YCBCR_ENC_SMPTE240M}) {
                    const Colour colour = from_v4l2({space, transfer, encoding, V4L2_QUANTIZATION_FULL_RANGE}, format);
                    const auto told = to_v4l2(colour, format);
                    ASSERT_TRUE(told) << told.error().reason.view();
                    EXPECT_EQ(from_v4l2(*told, format), colour) << space << " " << transfer << " " << encoding;
                }
}

TEST(V4l2Colours, the_library_says_what_v4l2_cannot)
{
    dmabroker_image_info info{};
    info.struct_size = sizeof info;
    info.format = fourcc("P010").value;
    info.colour.primaries = DMABROKER_PRIMARIES_BT2020;
    info.colour.transfer = DMABROKER_TRANSFER_PQ;
    dmabroker_v4l2_colour colour{};
    dmabroker_error error{};
    ASSERT_EQ(dmabroker_v4l2_describe(&info, &colour, &error), 0) << error.text;
    EXPECT_EQ(colour.colorspace, unsigned(V4L2_COLORSPACE_BT2020));
    EXPECT_EQ(colour.xfer_func, unsigned(V4L2_XFER_FUNC_SMPTE2084));
    EXPECT_EQ(colour.ycbcr_enc, unsigned(V4L2_YCBCR_ENC_BT2020));
    EXPECT_EQ(colour.quantization, unsigned(V4L2_QUANTIZATION_LIM_RANGE));
    info.colour.transfer = DMABROKER_TRANSFER_HLG;
    EXPECT_LT(dmabroker_v4l2_describe(&info, &colour, &error), 0);
    EXPECT_EQ(error.code, DMABROKER_UNSUPPORTED);
    EXPECT_STREQ(error.text, "V4L2 has no word for the transfer function hlg");
    info.colour.transfer = 0;
    info.colour.matrix = DMABROKER_MATRIX_ICTCP;
    EXPECT_LT(dmabroker_v4l2_describe(&info, &colour, &error), 0);
    EXPECT_LT(dmabroker_v4l2_describe(nullptr, nullptr, &error), 0);
}

} // namespace
} // namespace dmb::exporting
