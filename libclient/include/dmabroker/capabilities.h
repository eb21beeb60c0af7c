/* SPDX-License-Identifier: MIT */
/** @file
 * What one participant can import through one API of one device: a table of (memory kind, format,
 * modifier) with what each can be used for. It is read from a live driver (here for gbm, KMS and the CPU;
 * egl.h, gl.h and vulkan.h have theirs), stated by the program, or read back from JSON.
 *
 * A table says what a driver lists, no more; the broker tries what it lists before it relies on it. It is
 * canonical: sorted, each (kind, format, modifier) once. Equal tables have equal digests, so a process
 * may hand another the digest (dmabroker_participant::capabilities) instead of the table.
 *
 * Modifier INVALID is the implicit layout of the very driver that made an image: a row of its own, never
 * the same as LINEAR.
 *
 * A dmabroker_capabilities never changes and belongs to no client: any number of threads may use it at once.
 */
#ifndef DMABROKER_CAPABILITIES_H
#define DMABROKER_CAPABILITIES_H

#include <dmabroker/connect.h>
#include <dmabroker/import.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dmabroker_capabilities dmabroker_capabilities;

/** How a participant gets at the memory. */
enum dmabroker_api {
    DMABROKER_API_CPU = 1,       /**< mmap */
    DMABROKER_API_EGL = 2,       /**< EGL_EXT_image_dma_buf_import(_modifiers) */
    DMABROKER_API_GL_MEMORY = 3, /**< GL_EXT_memory_object_fd */
    DMABROKER_API_VULKAN = 4,    /**< VkImportMemoryFdInfoKHR */
    DMABROKER_API_GBM = 5,       /**< gbm_bo_import */
    DMABROKER_API_KMS = 6,       /**< a plane's IN_FORMATS */
    DMABROKER_API_V4L2 = 7,      /**< V4L2_MEMORY_DMABUF */
    DMABROKER_API_CUDA = 8,      /**< cudaImportExternalMemory */
    DMABROKER_API_OTHER = 9
};

/** One row. Arrays of it never grow: this structure is final. */
typedef struct dmabroker_capability {
    uint64_t modifier;      /**< a DRM format modifier; DMABROKER_OPAQUE: INVALID */
    uint32_t format;        /**< a DRM fourcc */
    uint32_t kind;          /**< enum dmabroker_memory_kind */
    uint32_t usage;         /**< enum dmabroker_usage flags; 0: not known */
    uint32_t plane_count;   /**< memory planes with this modifier; 0: not known */
    uint32_t external_only; /**< not 0: sampled through GL_TEXTURE_EXTERNAL_OES only */
    uint32_t max_width;     /**< pixels; 0: not known */
    uint32_t max_height;
    uint32_t reserved; /**< 0 */
} dmabroker_capability;

/** A table in the open. Texts are printable UTF-8. */
typedef struct dmabroker_capability_table {
    size_t struct_size;
    uint32_t api;            /**< enum dmabroker_api */
    int software;            /**< not 0: draws with the CPU */
    const char* node;        /**< "/dev/dri/renderD128", at most 64 bytes; NULL: none */
    const char* driver;      /**< "radeonsi", at most 64 bytes; NULL: not known */
    const char* version;     /**< of the driver, in its own words, at most 96 bytes; NULL: not known */
    uint64_t render_node;    /**< st_rdev of the node, 0: none */
    uint8_t device_uuid[16]; /**< VkPhysicalDeviceIDProperties or GL_DEVICE_UUID_EXT; zero when unknown */
    uint8_t driver_uuid[16];
    uint32_t pci; /**< domain << 16 | bus << 8 | device << 3 | function; 0: not known */
    /** Bytes; what strides and offsets of planes with rows (LINEAR, and what INVALID may mean) must be multiples of. 0:
     *  anything. At most 1 MiB. The readers below state it for drivers that are known to need it (AMD's: 256). */
    uint32_t stride_alignment, offset_alignment;
    int contiguous; /**< not 0: only physically contiguous memory */
    const dmabroker_capability* rows;
    size_t row_count;
} dmabroker_capability_table;
#define DMABROKER_CAPABILITY_TABLE_INIT                                                                                        \
    {sizeof(dmabroker_capability_table), DMABROKER_API_OTHER, 0, NULL, NULL, NULL, 0, {0}, {0}, 0, 0, 0, 0, NULL, 0}

/** States a table by hand. Rows come in any order and may repeat; of rows that say the same twice the union
 *  of usages, the smaller size and the stricter rest stay. At most 262144 rows are read, and at most 16384
 *  different ones stay: more is DMABROKER_INVALID_ARGUMENT. No rows: a participant that can import nothing.
 *  Errors: the usual ones. Waits: no. Threads: any. */
DMABROKER_API int dmabroker_capabilities_create(const dmabroker_capability_table* table, dmabroker_capabilities** capabilities,
                                                dmabroker_error* error);
/** The CPU: every format that `dmabrokerctl formats` lists, LINEAR, as dma-buf and as memfd.
 *  Errors: the usual ones. Waits: no. Threads: any. */
DMABROKER_API int dmabroker_cpu_capabilities(dmabroker_capabilities** capabilities, dmabroker_error* error);
/** A gbm_device: for each format the implicit layout and LINEAR, as gbm_device_is_format_supported says for rendering
 *  and scanout, and those of `modifiers` for which gbm_device_get_format_modifier_plane_count knows planes. gbm
 *  lists no modifiers by itself: hand in those of EGL's or Vulkan's table of the same device; NULL: none.
 *  `get_proc` finds gbm_* functions (a wrapper around dlsym).
 *  Errors: IMPORT_REFUSED (functions are missing). Waits: driver. Threads: any; whether others may use the gbm_device
 *  meanwhile is for its driver to say. */
DMABROKER_API int dmabroker_gbm_capabilities(void* gbm_device, dmabroker_get_proc get_proc, const uint64_t* modifiers,
                                             size_t modifier_count, dmabroker_capabilities** capabilities,
                                             dmabroker_error* error);
/** A KMS plane: the formats and modifiers of its IN_FORMATS, and each format in the implicit layout. A driver without
 *  IN_FORMATS knows no modifiers: LINEAR and implicit. `drm` is an open primary node, for other than overlay
 *  planes with DRM_CLIENT_CAP_UNIVERSAL_PLANES set; it need not be master.
 *  Errors: BAD_DESCRIPTOR, NOT_FOUND (no such plane), IMPORT_FAILED. Waits: no. Threads: any. */
DMABROKER_API int dmabroker_kms_capabilities(int drm, uint32_t plane, dmabroker_capabilities** capabilities,
                                             dmabroker_error* error);
/** NULL is ignored.
 *  Errors: none. Waits: no. Threads: any, as the last call on it. */
DMABROKER_API void dmabroker_capabilities_free(dmabroker_capabilities* capabilities);

/** What is in it, in canonical order. Valid as long as `capabilities`; never NULL unless that is.
 *  Errors: none. Waits: no. Threads: any. */
DMABROKER_API const dmabroker_capability_table* dmabroker_capabilities_get(const dmabroker_capabilities* capabilities);
/** Its name: the SHA-256 of its canonical form, 64 hexadecimal digits. Valid as long as `capabilities`; NULL if that
 *  is NULL.
 *  Errors: none. Waits: no. Threads: any. */
DMABROKER_API const char* dmabroker_capabilities_digest(const dmabroker_capabilities* capabilities);
/** To record it. The caller frees the text with dmabroker_free.
 *  Errors: the usual ones. Waits: no. Threads: any. */
DMABROKER_API int dmabroker_capabilities_to_json(const dmabroker_capabilities* capabilities, char** json,
                                                 dmabroker_error* error);
/** The reverse: the same table with the same digest.
 *  Errors: the usual ones. Waits: no. Threads: any. */
DMABROKER_API int dmabroker_capabilities_from_json(const char* json, dmabroker_capabilities** capabilities,
                                                   dmabroker_error* error);

/** Makes the table known to the broker, for as long as this client is connected, so that its digest can be
 *  named in allocations and joins, by this client and by any other. Asks for the digest first: a table that
 *  the broker has already costs one question, a table that this client has stated before costs nothing.
 *  At most 64 tables per client.
 *  Errors: the broker's; QUOTA_EXCEEDED. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_state_capabilities(dmabroker_client* client, const dmabroker_capabilities* capabilities,
                                               dmabroker_error* error);

#ifdef __cplusplus
}
#endif
#endif
