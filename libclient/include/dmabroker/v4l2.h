/* SPDX-License-Identifier: MIT */
/** @file
 * Buffers of V4L2 devices (cameras, encoders, decoders) as images.
 */
#ifndef DMABROKER_V4L2_H
#define DMABROKER_V4L2_H

#include <dmabroker/export.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dmabroker_v4l2_source {
    size_t struct_size;
    int device;     /**< open V4L2 device */
    uint32_t type;  /**< enum v4l2_buf_type: VIDEO_CAPTURE, VIDEO_OUTPUT, or one of their _MPLANE */
    uint32_t index; /**< of the buffer, requested with V4L2_MEMORY_MMAP */
    uint32_t reserved;
} dmabroker_v4l2_source;
#define DMABROKER_V4L2_SOURCE_INIT {sizeof(dmabroker_v4l2_source), 0, 0, 0, 0}

/** Exports the buffer (VIDIOC_EXPBUF) in the device's present format (VIDIOC_G_FMT) and registers it: linear, with the
 *  device's colour space, transfer function, encoding and quantisation. The buffer stays the device's: whoever reads the image
 *  reads what is captured next into it, so queue it again only when they are done. As long as the image lives,
 *  VIDIOC_REQBUFS does not free the memory.
 *  Errors: the broker's, and those of dmabroker_register; UNKNOWN_FORMAT (compressed or vendor formats), UNSUPPORTED (the
 *  driver cannot export). Waits: driver, and answer. Threads: turns. */
DMABROKER_API int dmabroker_v4l2_export(dmabroker_client* client, const dmabroker_v4l2_source* source,
                                        const dmabroker_export_options* options, dmabroker_image** image,
                                        dmabroker_error* error);

/** The members of these names of v4l2_pix_format and v4l2_pix_format_mplane. */
typedef struct dmabroker_v4l2_colour {
    uint32_t colorspace, xfer_func, ycbcr_enc, quantization;
} dmabroker_v4l2_colour;
/** What to tell a device that is to take the image (VIDIOC_S_FMT) about its colour. Mastering display and content light
 *  have the units of V4L2_CID_COLORIMETRY_HDR10_MASTERING_DISPLAY and _HDR10_CLL_INFO, which list green, blue, red.
 *  Errors: UNSUPPORTED (V4L2 has no word for it, as for HLG; the sentence says for what), BAD_LAYOUT. Waits: no.
 *  Threads: any. */
DMABROKER_API int dmabroker_v4l2_describe(const dmabroker_image_info* info, dmabroker_v4l2_colour* colour,
                                          dmabroker_error* error);

#ifdef __cplusplus
}
#endif
#endif
