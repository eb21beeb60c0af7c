/* SPDX-License-Identifier: MIT */
/** @file
 * What the importers of egl.h, gl.h, vulkan.h and cuda.h share.
 */
#ifndef DMABROKER_IMPORT_H
#define DMABROKER_IMPORT_H

#include <dmabroker/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Finds functions of the application's GPU libraries by name, e.g. eglGetProcAddress. */
typedef void (*dmabroker_proc)(void);
typedef dmabroker_proc (*dmabroker_get_proc)(const char* name);

/** rgb = matrix * (sample - offset), samples as the GPU reads them (0..1), in the order of the planes:
 *  image 0's .r, then image 1's .r and .g, or image 1's and 2's .r. Where Cr lies before Cb (NV21, YVU420)
 *  the matrix already has its columns exchanged. With MatrixCoefficients as the image's colour states them; all zero where
 *  no matrix does it (constant luminance, ICtCp, code points unknown here): then look at the colour yourself. */
typedef struct dmabroker_yuv {
    float matrix[9]; /**< row-major */
    float offset[3];
    uint32_t reserved[4];
} dmabroker_yuv;
#define DMABROKER_YUV_INIT {{0}, {0}, {0}}

enum dmabroker_import_flags {
    DMABROKER_IMPORT_WHOLE = 1,     /**< only as one image */
    DMABROKER_IMPORT_PER_PLANE = 2, /**< only as one image per plane */
    DMABROKER_IMPORT_WRITE = 4      /**< the importer will draw into it: needs the WRITE right */
};

#ifdef __cplusplus
}
#endif
#endif
