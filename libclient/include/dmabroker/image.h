/* SPDX-License-Identifier: MIT */
/** @file
 * Images: what is known of one, and what its holder can do.
 */
#ifndef DMABROKER_IMAGE_H
#define DMABROKER_IMAGE_H

#include <dmabroker/colour.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dmabroker_plane {
    uint32_t memory; /**< index of its memory object (descriptor) */
    uint32_t stride; /**< bytes from one row to the next */
    uint64_t offset; /**< bytes from the start of the memory object */
    uint64_t reserved;
} dmabroker_plane;

/** Everything one must know to import an image, except its descriptors. */
typedef struct dmabroker_image_info {
    size_t struct_size;
    uint64_t id;     /**< the broker's number for it, as in `dmabrokerctl list` */
    uint32_t width;  /**< pixels; of a buffer: bytes */
    uint32_t height; /**< pixels */
    uint32_t format; /**< a DRM fourcc (drm_fourcc.h), or DMABROKER_FORMAT_BUFFER */
    uint32_t usage;
    uint64_t modifier;   /**< a DRM format modifier; INVALID: implicit, only its driver knows */
    uint32_t kind;       /**< enum dmabroker_memory_kind */
    uint32_t backend;    /**< enum dmabroker_backend: who allocated it */
    uint32_t rung;       /**< enum dmabroker_rung: how good the sharing is */
    uint32_t rights;     /**< of this hold */
    uint32_t protection; /**< enum dmabroker_protection */
    dmabroker_colour colour;
    uint32_t plane_count;  /**< 0 for DMABROKER_OPAQUE */
    uint32_t memory_count; /**< number of descriptors */
    uint32_t reserved;
    dmabroker_plane planes[DMABROKER_MAX_PLANES];
    uint64_t memory_size[DMABROKER_MAX_PLANES]; /**< bytes */
    uint64_t render_node;                       /**< dev_t of the allocating device's node, 0 when it has none */
    uint8_t device_uuid[16];                    /**< VkPhysicalDeviceIDProperties; zero when unknown */
    uint8_t driver_uuid[16];
    /** DMABROKER_OPAQUE only: what an importing VkImage must repeat. */
    uint32_t vk_format, vk_usage, vk_create_flags, memory_type;
    uint32_t optimal_tiling, dedicated;
    uint64_t request; /**< the negotiation it came from, for dmabroker_why; 0: none */
    uint64_t source;  /**< of a copy: the image it is a copy of, see dmabroker_image_refresh; 0: it is no copy */
} dmabroker_image_info;
/* clang-format off */
#define DMABROKER_IMAGE_INFO_INIT                                                                                 \
    {sizeof(dmabroker_image_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                                               \
     DMABROKER_COLOUR_INIT, 0, 0, 0,                                                                              \
     {{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}}, {0, 0, 0, 0}, 0, {0}, {0}, 0, 0, 0, 0, 0, 0, 0, 0}
/* clang-format on */

/** Opens the image that a token names. `rights` must be part of the token's. A reader that states only
 *  CPU usage may get a read-only descriptor; GPU importers need a writable one (see `protection`).
 *  Errors: the broker's; NOT_FOUND, TOKEN_EXPIRED, TOKEN_REVOKED, TOKEN_USED, BROKER_RESTARTED, DENIED, QUOTA_EXCEEDED.
 *  Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_open(dmabroker_client* client, const char* token, uint32_t rights, uint32_t usage,
                                 dmabroker_image** image, dmabroker_error* error);
/** Registers an image made elsewhere. `info`: width, height, format, modifier, kind (DMA_BUF or MEMFD),
 *  usage, planes, memory_size, colour; of a buffer one plane with the width as stride. `fds`: info->memory_count
 *  descriptors, duplicated by the call; only dma-bufs opened for reading and writing, or memfds sealed with
 *  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL and not against writing.
 *  Errors: the broker's; BAD_SIZE, UNKNOWN_FORMAT, UNKNOWN_MODIFIER, BAD_LAYOUT, BAD_DESCRIPTOR, ALREADY_REGISTERED,
 *  QUOTA_EXCEEDED, BACKEND_FAILED. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_register(dmabroker_client* client, const dmabroker_image_info* info, const int* fds,
                                     const char* label, uint64_t lease_ns, dmabroker_image** image, dmabroker_error* error);
/** dmabroker_register for memory of another process: `remote_fds` are descriptor numbers there. For peers that
 *  exchange images as (pid, number). The kernel allows it to whoever may trace that process (ptrace(2)).
 *  Errors: as dmabroker_register; DENIED (by the kernel), NOT_FOUND (there is no such process). Waits: answer.
 *  Threads: turns. */
DMABROKER_API int dmabroker_register_from_process(dmabroker_client* client, const dmabroker_image_info* info, int pid,
                                                  const int* remote_fds, const char* label, uint64_t lease_ns,
                                                  dmabroker_image** image, dmabroker_error* error);
/** An image that no broker knows of, for the importers of this library: a dma-buf that came through PipeWire,
 *  Wayland or a camera. `info` and `fds` as for dmabroker_register, descriptors checked in the same way; also
 *  opaque memory, of which nothing can be checked: then `info` must be as its exporter stated it. It has the rights
 *  in `info` (0: all). Calls that need a broker fail with DMABROKER_DISCONNECTED.
 *  Errors: BAD_SIZE, UNKNOWN_FORMAT, BAD_LAYOUT, BAD_DESCRIPTOR. Waits: no. Threads: any. */
DMABROKER_API int dmabroker_image_adopt(const dmabroker_image_info* info, const int* fds, dmabroker_image** image,
                                        dmabroker_error* error);
/** Ends this hold and closes its descriptors. Mappings and GPU imports made from it stay valid. NULL is ignored. While
 *  another thread is in a call of the client, the broker hears of it when that call ends.
 *  Errors: none. Waits: no. Threads: any, as the last call on the image. */
DMABROKER_API void dmabroker_image_close(dmabroker_image* image);

/** Valid as long as the image.
 *  Errors: NULL for NULL. Waits: no. Threads: any. */
DMABROKER_API const dmabroker_image_info* dmabroker_image_get_info(const dmabroker_image* image);
/** Borrowed: duplicate it to keep it. `memory` < info->memory_count.
 *  Errors: negative for an index beyond. Waits: no. Threads: any. */
DMABROKER_API int dmabroker_image_get_fd(const dmabroker_image* image, uint32_t memory);
/** The caller's own, NULL at first: it comes with the image's events.
 *  Errors: none. Waits: no. Threads: any. */
DMABROKER_API void dmabroker_image_set_user_data(dmabroker_image* image, void* user_data);
/** As it was set last.
 *  Errors: none. Waits: no. Threads: any. */
DMABROKER_API void* dmabroker_image_get_user_data(const dmabroker_image* image);

typedef struct dmabroker_token_options {
    size_t struct_size;
    uint32_t rights; /**< part of this hold's */
    int one_shot;    /**< not 0: the first open uses it up */
    int enforced;    /**< not 0: readers who could not be kept from writing are refused */
    uint32_t reserved;
    uint64_t lifetime_ns; /**< 0: as long as the image */
} dmabroker_token_options;
#define DMABROKER_TOKEN_OPTIONS_INIT {sizeof(dmabroker_token_options), 0, 0, 0, 0, 0}
/** Mints a token. Needs no right beyond those it passes on.
 *  Errors: the broker's; DENIED, NOT_FOUND, QUOTA_EXCEEDED. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_image_token(dmabroker_image* image, const dmabroker_token_options* options,
                                        char token[DMABROKER_TOKEN_SIZE], dmabroker_error* error);
/** From now; DMABROKER_FOREVER: until revoked; 0: ends with its last holder. Needs MANAGE.
 *  Errors: the broker's; DENIED, NOT_FOUND. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_image_set_lease(dmabroker_image* image, uint64_t lease_ns, dmabroker_error* error);
/** After DMABROKER_EVENT_IMAGE_REPLACED: a hold on the successor with the rights of this one, which stays
 *  open until it is closed. The size is the same, format, modifier and device may not be.
 *  Errors: the broker's; NOT_FOUND, TOKEN_REVOKED, QUOTA_EXCEEDED. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_image_open_successor(dmabroker_image* image, dmabroker_image** successor, dmabroker_error* error);
/** Copies a copy's source into it once more, and waits for that. `cost_ns`: what it took; may be NULL.
 *  Errors: the broker's; INVALID_ARGUMENT (it is no copy), NOT_FOUND (the source is gone), TOKEN_REVOKED, BACKEND_FAILED.
 *  Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_image_refresh(dmabroker_image* image, uint64_t* cost_ns, dmabroker_error* error);

/** The JSON form of an image description. The caller frees it with dmabroker_free.
 *  Errors: BAD_LAYOUT. Waits: no. Threads: any. */
DMABROKER_API int dmabroker_image_to_json(const dmabroker_image_info* info, char** json, dmabroker_error* error);
/** The reverse. The result is as trustworthy as the text.
 *  Errors: the usual ones. Waits: no. Threads: any. */
DMABROKER_API int dmabroker_image_from_json(const char* json, dmabroker_image_info* info, dmabroker_error* error);

#ifdef __cplusplus
}
#endif
#endif
