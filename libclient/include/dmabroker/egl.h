/* SPDX-License-Identifier: MIT */
/** @file
 * Import an image into EGL and OpenGL ES (EGL_EXT_image_dma_buf_import and _modifiers,
 * OES_EGL_image, OES_EGL_image_external). Handles are passed as EGL's own types, which are `void *`.
 *
 * Multi-planar YUV: tried as one EGLImage first; where the driver lists it but fails, one EGLImage per
 * plane (R8 + GR88, R16 + GR1616, ...) with `per_plane` set and the conversion in `yuv`.
 */
#ifndef DMABROKER_EGL_H
#define DMABROKER_EGL_H

#include <dmabroker/capabilities.h>
#include <dmabroker/export.h>
#include <dmabroker/import.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dmabroker_egl {
    size_t struct_size;
    void* display;               /**< EGLDisplay, initialised */
    dmabroker_get_proc get_proc; /**< eglGetProcAddress */
    /** GBM displays: st_rdev of the DRM node below; 0 for others. Where GBM draws in software it crashes on
     *  memory of other devices, and EGL does not tell which device is its own: without this, all is refused. */
    uint64_t drm_node;
} dmabroker_egl;
#define DMABROKER_EGL_INIT {sizeof(dmabroker_egl), NULL, NULL, 0}

/** What the display lists for import (EGL_EXT_image_dma_buf_import_modifiers; refused without). Rows are for
 *  sampling, and for rendering where not external-only; each format has a row for the implicit layout
 *  (INVALID) of its own. A display that draws with the CPU has LINEAR rows for memfds too. The device: its DRM node,
 *  PCI address and driver. If a context of this display is current, GL's names and UUIDs for them are read
 *  too: have one current, or none, whenever digests are to be equal.
 *  Errors: IMPORT_REFUSED (a missing extension), IMPORT_FAILED (the display is not initialised). Waits: driver.
 *  Threads: context, if one is to be read; else any. */
DMABROKER_API int dmabroker_egl_capabilities(const dmabroker_egl* egl, dmabroker_capabilities** capabilities,
                                             dmabroker_error* error);

typedef struct dmabroker_egl_images {
    size_t struct_size;
    uint32_t count; /**< 1, or the number of planes */
    int per_plane;
    int external_only; /**< sample through GL_TEXTURE_EXTERNAL_OES only */
    uint32_t reserved;
    void* images[DMABROKER_MAX_PLANES]; /**< EGLImage; the caller destroys them with dmabroker_egl_release */
    uint32_t formats[DMABROKER_MAX_PLANES];
    uint32_t widths[DMABROKER_MAX_PLANES];
    uint32_t heights[DMABROKER_MAX_PLANES];
    dmabroker_yuv yuv; /**< for per_plane */
} dmabroker_egl_images;
#define DMABROKER_EGL_IMAGES_INIT {sizeof(dmabroker_egl_images), 0, 0, 0, 0, {NULL}, {0}, {0}, {0}, DMABROKER_YUV_INIT}

/** Needs no current context. After a failure `images` is 0.
 *  Errors: IMPORT_REFUSED (would crash or mislead this driver, which the sentence explains), IMPORT_FAILED (EGL's error),
 *  DENIED (IMPORT_WRITE without the right). Waits: driver. Threads: any. */
DMABROKER_API int dmabroker_egl_import(const dmabroker_image* image, const dmabroker_egl* egl, uint32_t flags,
                                       dmabroker_egl_images* images, dmabroker_error* error);
/** Creates a texture over one of the images in the current GLES context. `target` becomes
 *  GL_TEXTURE_2D or GL_TEXTURE_EXTERNAL_OES. The caller deletes the texture.
 *  Errors: IMPORT_REFUSED (no GL_OES_EGL_image), IMPORT_FAILED (GL's error). Waits: driver. Threads: context. */
DMABROKER_API int dmabroker_egl_texture(const dmabroker_egl* egl, const dmabroker_egl_images* images, uint32_t index,
                                        uint32_t* texture, uint32_t* target, dmabroker_error* error);
/** Destroys the EGLImages; textures made from them stay valid. `images` is 0 afterwards.
 *  Errors: none; a wrong struct_size destroys nothing. Waits: driver. Threads: any. */
DMABROKER_API void dmabroker_egl_release(const dmabroker_egl* egl, dmabroker_egl_images* images);

/** What to export: an EGLImage, or a GL texture of a context. */
typedef struct dmabroker_egl_source {
    size_t struct_size;
    void* image;            /**< EGLImage; NULL: the texture */
    void* context;          /**< EGLContext of the texture */
    uint32_t texture;       /**< a complete GL_TEXTURE_2D, level 0; 0: the image */
    uint32_t width, height; /**< pixels: EGL does not tell */
    uint32_t reserved;
} dmabroker_egl_source;
#define DMABROKER_EGL_SOURCE_INIT {sizeof(dmabroker_egl_source), NULL, NULL, 0, 0, 0, 0}

/** Exports it through EGL_MESA_image_dma_buf_export and registers it, in the format and modifier that the driver
 *  says; INVALID stays INVALID, an image for the same driver only. It shares the texture's memory: what is drawn
 *  later is seen too. Call glFinish (or wait for a fence) before others read what was drawn before.
 *  Errors: the broker's, and those of dmabroker_register; UNSUPPORTED (this display cannot export), IMPORT_REFUSED,
 *  IMPORT_FAILED (EGL's error), BACKEND_FAILED. Waits: driver, and answer. Threads: turns; no other thread draws into it
 * meanwhile. */
DMABROKER_API int dmabroker_egl_export(dmabroker_client* client, const dmabroker_egl* egl, const dmabroker_egl_source* source,
                                       const dmabroker_export_options* options, dmabroker_image** image,
                                       dmabroker_error* error);

#ifdef __cplusplus
}
#endif
#endif
