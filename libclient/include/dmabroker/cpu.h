/* SPDX-License-Identifier: MIT */
/** @file
 * Images in the memory of the CPU.
 */
#ifndef DMABROKER_CPU_H
#define DMABROKER_CPU_H

#include <dmabroker/image.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What the CPU does with pixels (flags). */
enum dmabroker_direction { DMABROKER_DIRECTION_READ = 1, DMABROKER_DIRECTION_WRITE = 2 };

/** A mapping of all planes. It stays valid after its image is closed. */
typedef struct dmabroker_cpu_mapping dmabroker_cpu_mapping;

/** `direction`: what will be done with the pixels, enum dmabroker_direction flags. WRITE needs the WRITE right.
 *  Errors: IMPORT_REFUSED (opaque memory, and tiled layouts whose bytes only the driver can read), IMPORT_FAILED (its driver
 *  does not let the CPU map it), DENIED, BAD_DESCRIPTOR, BAD_LAYOUT. Waits: no. Threads: any. */
DMABROKER_API int dmabroker_cpu_map(const dmabroker_image* image, uint32_t direction, dmabroker_cpu_mapping** mapping,
                                    dmabroker_error* error);
/** First byte of a plane's first row; rows are info->planes[plane].stride apart. NULL: there is no such plane.
 *  Errors: none. Waits: no. Threads: any. */
DMABROKER_API void* dmabroker_cpu_data(const dmabroker_cpu_mapping* mapping, uint32_t plane);
/** Reading and writing lies between a begin and an end of the same direction, which is part of the mapping's
 *  (DMA_BUF_IOCTL_SYNC; nothing to do for memfds): begin waits for pending GPU work, end makes what was written visible.
 *  Errors: TIMED_OUT (the GPU is not done), IMPORT_FAILED. Waits: for the GPU, at most `timeout_ns` of the image's
 *  connection, 30 s for one that was adopted. Threads: one. */
DMABROKER_API int dmabroker_cpu_begin(dmabroker_cpu_mapping* mapping, uint32_t direction, dmabroker_error* error);
/** After the last use of the pixels.
 *  Errors: IMPORT_FAILED. Waits: driver. Threads: one. */
DMABROKER_API int dmabroker_cpu_end(dmabroker_cpu_mapping* mapping, uint32_t direction, dmabroker_error* error);
/** NULL is ignored.
 *  Errors: none. Waits: no. Threads: any, as the last call on the mapping. */
DMABROKER_API void dmabroker_cpu_unmap(dmabroker_cpu_mapping* mapping);

#ifdef __cplusplus
}
#endif
#endif
