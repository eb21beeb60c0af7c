/* SPDX-License-Identifier: MIT */
/** @file
 * What the numbers of a picture mean.
 */
#ifndef DMABROKER_COLOUR_H
#define DMABROKER_COLOUR_H

#include <dmabroker/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the numbers of a picture mean: code points of ITU-T H.273, with one exception. 0 in a dmabroker_colour is
 * "the default of the format", so the code point 0, where it means something, is written as 256. A code point without
 * a name here is passed on as it is. */
#define DMABROKER_CODE_POINT_0 256
/** H.273 ColourPrimaries. */
enum dmabroker_primaries {
    DMABROKER_PRIMARIES_BT709 = 1,
    DMABROKER_PRIMARIES_UNSPECIFIED = 2,
    DMABROKER_PRIMARIES_BT470M = 4,
    DMABROKER_PRIMARIES_BT470BG = 5,
    DMABROKER_PRIMARIES_SMPTE170M = 6,
    DMABROKER_PRIMARIES_SMPTE240M = 7,
    DMABROKER_PRIMARIES_FILM = 8,
    DMABROKER_PRIMARIES_BT2020 = 9,
    DMABROKER_PRIMARIES_XYZ = 10,
    DMABROKER_PRIMARIES_DCI_P3 = 11,
    DMABROKER_PRIMARIES_DISPLAY_P3 = 12,
    DMABROKER_PRIMARIES_EBU3213 = 22
};
/** H.273 TransferCharacteristics. */
enum dmabroker_transfer {
    DMABROKER_TRANSFER_BT709 = 1,
    DMABROKER_TRANSFER_UNSPECIFIED = 2,
    DMABROKER_TRANSFER_GAMMA22 = 4,
    DMABROKER_TRANSFER_GAMMA28 = 5,
    DMABROKER_TRANSFER_SMPTE170M = 6,
    DMABROKER_TRANSFER_SMPTE240M = 7,
    DMABROKER_TRANSFER_LINEAR = 8,
    DMABROKER_TRANSFER_LOG = 9,
    DMABROKER_TRANSFER_LOG_SQRT = 10,
    DMABROKER_TRANSFER_XVYCC = 11,
    DMABROKER_TRANSFER_BT1361 = 12,
    DMABROKER_TRANSFER_SRGB = 13,
    DMABROKER_TRANSFER_BT2020_10 = 14,
    DMABROKER_TRANSFER_BT2020_12 = 15,
    DMABROKER_TRANSFER_PQ = 16,
    DMABROKER_TRANSFER_SMPTE428 = 17,
    DMABROKER_TRANSFER_HLG = 18
};
/** H.273 MatrixCoefficients. */
enum dmabroker_matrix {
    DMABROKER_MATRIX_BT709 = 1,
    DMABROKER_MATRIX_UNSPECIFIED = 2,
    DMABROKER_MATRIX_FCC = 4,
    DMABROKER_MATRIX_BT470BG = 5,   /**< BT.601 */
    DMABROKER_MATRIX_SMPTE170M = 6, /**< BT.601 */
    DMABROKER_MATRIX_SMPTE240M = 7,
    DMABROKER_MATRIX_YCGCO = 8,
    DMABROKER_MATRIX_BT2020_NCL = 9,
    DMABROKER_MATRIX_BT2020_CL = 10,
    DMABROKER_MATRIX_SMPTE2085 = 11,
    DMABROKER_MATRIX_CHROMA_NCL = 12,
    DMABROKER_MATRIX_CHROMA_CL = 13,
    DMABROKER_MATRIX_ICTCP = 14,
    DMABROKER_MATRIX_IDENTITY = DMABROKER_CODE_POINT_0 /**< RGB; in YUV 4:4:4 the planes are G, B, R */
};
/** H.273 VideoFullRangeFlag. RGB is full range everywhere. */
enum dmabroker_range { DMABROKER_RANGE_FULL = 1, DMABROKER_RANGE_LIMITED = DMABROKER_CODE_POINT_0 };
/** H.273 ChromaSampleLocType: where the first chroma sample lies among the luma samples. */
enum dmabroker_siting {
    DMABROKER_SITING_CENTRE = 1,
    DMABROKER_SITING_TOP_LEFT = 2,
    DMABROKER_SITING_TOP = 3,
    DMABROKER_SITING_BOTTOM_LEFT = 4,
    DMABROKER_SITING_BOTTOM = 5,
    DMABROKER_SITING_LEFT = DMABROKER_CODE_POINT_0
};
/** alpha_channel_use_idc of H.265. Premultiplied: after the transfer function, as OpenGL blends. */
enum dmabroker_alpha { DMABROKER_ALPHA_PREMULTIPLIED = 1, DMABROKER_ALPHA_STRAIGHT = DMABROKER_CODE_POINT_0 };

/** A point of the CIE 1931 diagram, in units of 0.00002. */
typedef struct dmabroker_chromaticity {
    uint16_t x, y;
} dmabroker_chromaticity;
/** The display on which the picture was graded (SMPTE ST 2086). All zero: not stated. */
typedef struct dmabroker_mastering_display {
    dmabroker_chromaticity red, green, blue, white;
    uint32_t max_luminance, min_luminance; /**< 0.0001 cd/m2 */
} dmabroker_mastering_display;
/** The brightest pixel and the brightest average of a frame (CTA-861.3). 0: not stated. */
typedef struct dmabroker_content_light {
    uint16_t max_cll, max_fall; /**< cd/m2 */
} dmabroker_content_light;
/** In a request, 0 is the default: sRGB for RGB formats (BT.709 primaries, sRGB transfer, identity, full), BT.709 limited
 *  for YUV formats, with the matrix that goes with the primaries if only these are stated (BT.601, BT.709, BT.2020);
 *  siting left; alpha straight. What the library hands out has no 0. Refused are RGB of limited range
 *  (DMABROKER_INVALID_ARGUMENT), or with a matrix; identity where chroma is subsampled; and ranges, sitings and alphas
 *  without a name here (DMABROKER_UNSUPPORTED). */
typedef struct dmabroker_colour {
    uint16_t primaries; /**< enum dmabroker_primaries */
    uint16_t transfer;  /**< enum dmabroker_transfer */
    uint16_t matrix;    /**< enum dmabroker_matrix */
    uint16_t range;     /**< enum dmabroker_range */
    uint16_t siting;    /**< enum dmabroker_siting: subsampled formats only */
    uint16_t alpha;     /**< enum dmabroker_alpha: formats with alpha only */
    dmabroker_mastering_display mastering;
    dmabroker_content_light light;
    uint32_t reserved[2];
} dmabroker_colour;
/** Every default. */
#define DMABROKER_COLOUR_INIT {0, 0, 0, 0, 0, 0, {{0, 0}, {0, 0}, {0, 0}, {0, 0}, 0, 0}, {0, 0}, {0, 0}}

#ifdef __cplusplus
}
#endif
#endif
