/* SPDX-License-Identifier: MIT */
/** @file
 * Import opaque Vulkan memory into the current OpenGL (ES) context, as a texture or a buffer: EXT_memory_object_fd. Works with
 * the driver that allocated it only; another one is refused by comparing GL_DEVICE_UUID_EXT and GL_DRIVER_UUID_EXT with the
 * image's.
 */
#ifndef DMABROKER_GL_H
#define DMABROKER_GL_H

#include <dmabroker/capabilities.h>
#include <dmabroker/image.h>
#include <dmabroker/import.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What memory objects of the current context can be: rows of kind OPAQUE with the device's and driver's
 *  UUIDs.
 *  Errors: IMPORT_REFUSED (no GL_EXT_memory_object_fd), IMPORT_FAILED. Waits: driver. Threads: context. */
DMABROKER_API int dmabroker_gl_capabilities(dmabroker_get_proc get_proc, dmabroker_capabilities** capabilities,
                                            dmabroker_error* error);

typedef struct dmabroker_gl_texture {
    size_t struct_size;
    uint32_t memory;  /**< GL memory object; delete with dmabroker_gl_release */
    uint32_t texture; /**< GL_TEXTURE_2D */
    uint32_t internal_format;
    int swap_red_blue; /**< the texture's R and B are exchanged (a sampling swizzle is already set);
                            what is drawn into it must be exchanged by the caller */
} dmabroker_gl_texture;
#define DMABROKER_GL_TEXTURE_INIT {sizeof(dmabroker_gl_texture), 0, 0, 0, 0}

/** A context must be current, its functions come from `get_proc`. `flags`: 0 or DMABROKER_IMPORT_WRITE.
 *  Errors: IMPORT_REFUSED (not opaque memory of this very driver and device; no extension), IMPORT_FAILED (GL's error),
 *  DENIED (IMPORT_WRITE without the right). Waits: driver. Threads: context. */
DMABROKER_API int dmabroker_gl_import(const dmabroker_image* image, dmabroker_get_proc get_proc, uint32_t flags,
                                      dmabroker_gl_texture* texture, dmabroker_error* error);
/** Deletes both; `texture` is 0 afterwards.
 *  Errors: none; a wrong struct_size deletes nothing. Waits: driver. Threads: context. */
DMABROKER_API void dmabroker_gl_release(dmabroker_get_proc get_proc, dmabroker_gl_texture* texture);

typedef struct dmabroker_gl_buffer {
    size_t struct_size;
    uint32_t memory; /**< GL memory object; delete with dmabroker_gl_release_buffer */
    uint32_t buffer; /**< a buffer object with immutable storage, bound to nothing */
    uint64_t size;   /**< bytes: the image's width */
} dmabroker_gl_buffer;
#define DMABROKER_GL_BUFFER_INIT {sizeof(dmabroker_gl_buffer), 0, 0, 0}

/** For images of DMABROKER_FORMAT_BUFFER (glBufferStorageMemEXT); else as dmabroker_gl_import.
 *  Errors: as dmabroker_gl_import. Waits: driver. Threads: context. */
DMABROKER_API int dmabroker_gl_import_buffer(const dmabroker_image* image, dmabroker_get_proc get_proc, uint32_t flags,
                                             dmabroker_gl_buffer* buffer, dmabroker_error* error);
/** Deletes both; `buffer` is 0 afterwards.
 *  Errors: none; a wrong struct_size deletes nothing. Waits: driver. Threads: context. */
DMABROKER_API void dmabroker_gl_release_buffer(dmabroker_get_proc get_proc, dmabroker_gl_buffer* buffer);

#ifdef __cplusplus
}
#endif
#endif
