/* SPDX-License-Identifier: MIT */
/** @file
 * What the exporters of egl.h, vulkan.h and v4l2.h share.
 */
#ifndef DMABROKER_EXPORT_H
#define DMABROKER_EXPORT_H

#include <dmabroker/connect.h>
#include <dmabroker/image.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What an API that exports an image cannot tell about it. The exporters take NULL for none of it. */
typedef struct dmabroker_export_options {
    size_t struct_size;
    uint32_t usage; /**< what it was made for: enum dmabroker_usage flags */
    uint32_t reserved;
    dmabroker_colour colour; /**< 0: what the API says, else the default of the format */
    const char* label;       /**< shown by `dmabrokerctl list`, at most 64 bytes; NULL: none */
    uint64_t lease_ns;       /**< how long it lives after its last holder left; 0: not at all */
} dmabroker_export_options;
#define DMABROKER_EXPORT_OPTIONS_INIT {sizeof(dmabroker_export_options), 0, 0, DMABROKER_COLOUR_INIT, NULL, 0}

#ifdef __cplusplus
}
#endif
#endif
