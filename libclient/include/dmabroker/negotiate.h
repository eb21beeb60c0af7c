/* SPDX-License-Identifier: MIT */
/** @file
 * One image for several participants: who says what they can use, and who learns why.
 */
#ifndef DMABROKER_NEGOTIATE_H
#define DMABROKER_NEGOTIATE_H

#include <dmabroker/image.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Pixels in the caller's memory, one pointer and stride per plane of the format. */
typedef struct dmabroker_pixels {
    const void* data[DMABROKER_MAX_PLANES];
    size_t stride[DMABROKER_MAX_PLANES]; /**< bytes; 0: tightly packed */
    uint64_t reserved[2];
} dmabroker_pixels;

/** One who will use an image, as far as it decides what the image may be. All of it is hard but the
 *  usage, and the order of formats and modifiers. In an array each one has the struct_size of the first. */
typedef struct dmabroker_participant {
    size_t struct_size;
    const char* name;         /**< for dmabroker_why, at most 64 bytes; NULL: none */
    const char* capabilities; /**< dmabroker_capabilities_digest of a table that somebody stated to this broker and who
                                   is still connected; NULL: takes whatever the rest of this allows */
    uint32_t usage;           /**< enum dmabroker_usage flags */
    uint32_t minimum_rung;    /**< enum dmabroker_rung; 0: any */
    const uint32_t* formats;  /**< acceptable ones, best first; NULL: any. At most 16 */
    size_t format_count;
    const uint64_t* modifiers; /**< acceptable ones, best first; NULL: any. At most 64 */
    size_t modifier_count;
    /** Bytes; what strides and offsets must be multiples of, beyond what its table says. 0: anything. */
    uint32_t stride_alignment, offset_alignment;
    uint32_t max_width, max_height; /**< pixels; 0: any */
    int contiguous;                 /**< not 0: only physically contiguous memory */
    int no_external_only;           /**< not 0: samples with sampler2D, never GL_TEXTURE_EXTERNAL_OES */
    int is_protected;               /**< not 0: needs memory that the CPU cannot read */
    uint32_t reserved;
} dmabroker_participant;
#define DMABROKER_PARTICIPANT_INIT {sizeof(dmabroker_participant), NULL, NULL, 0, 0, NULL, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0}

typedef struct dmabroker_allocation {
    size_t struct_size;
    uint32_t width, height;    /**< 1 to 16384 pixels each; of a buffer: bytes, and 1 */
    uint32_t format;           /**< a DRM fourcc, or DMABROKER_FORMAT_BUFFER */
    uint32_t usage;            /**< enum dmabroker_usage flags */
    const uint64_t* modifiers; /**< acceptable ones, best first; NULL: any. At most 64 */
    size_t modifier_count;
    uint32_t backends;                /**< DMABROKER_BACKEND_BIT()s of those acceptable; 0: any */
    uint32_t minimum_rung;            /**< enum dmabroker_rung; 0: any */
    const char* device;               /**< node, name or UUID (32 hexadecimal digits) of the device it must come from;
                                           NULL: any */
    const char* label;                /**< shown by `dmabrokerctl list`, at most 64 bytes; NULL: none */
    uint64_t lease_ns;                /**< how long it lives after its last holder left; 0: not at all */
    const dmabroker_pixels* contents; /**< initial pixels; NULL: undefined, never another client's */
    dmabroker_colour colour;          /**< of `format`; an alternative between RGB and YUV gets its own matrix and range */
    const uint32_t* alternatives;     /**< other acceptable formats, best first; NULL: none. At most 16, none with
                                           `contents` */
    size_t alternative_count;
    const dmabroker_participant* participants; /**< others who will use it; NULL: none. At most 16 */
    size_t participant_count;
} dmabroker_allocation;
#define DMABROKER_ALLOCATION_INIT                                                                                              \
    {sizeof(dmabroker_allocation), 0, 0, 0, 0, NULL, 0, 0, 0, NULL, NULL, 0, NULL, DMABROKER_COLOUR_INIT, NULL, 0, NULL, 0}

/** Allocates an image with all rights that all its participants can use, in the format wanted or one of its
 *  alternatives. On DMABROKER_NO_BACKEND, dmabroker_why with dmabroker_last_request says what was tried,
 *  whose demand was in the way and what would work.
 *  Errors: the broker's; BAD_SIZE, UNKNOWN_FORMAT, UNKNOWN_MODIFIER, BAD_LAYOUT (contents), NOT_FOUND (no such table),
 *  QUOTA_EXCEEDED, NO_BACKEND, BACKEND_FAILED. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_allocate(dmabroker_client* client, const dmabroker_allocation* allocation, dmabroker_image** image,
                                     dmabroker_error* error);
/** Opens it as one who says what it can import. Where the participant cannot use the image as it is, the
 *  broker makes one that all its holders can use and sends these DMABROKER_EVENT_IMAGE_REPLACED; where there
 *  is no such image, the joiner gets a copy of its own (info->source).
 *  Errors: those of dmabroker_open and dmabroker_allocate. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_join(dmabroker_client* client, const char* token, uint32_t rights,
                                 const dmabroker_participant* participant, dmabroker_image** image, dmabroker_error* error);

/** The negotiation of the client's last allocation or join, whether it failed or not; 0: there was none.
 *  Errors: none. Waits: no. Threads: turns; useful in the one that allocates. */
DMABROKER_API uint64_t dmabroker_last_request(const dmabroker_client* client);
/** JSON: the decision behind a request, or behind the image with id `image` if `request` is 0; the
 *  last one if both are 0. Who could do what, what was chosen, what removed the rest, and for a failure the
 *  smallest change that would work. The caller frees it with dmabroker_free.
 *  Errors: the broker's; NOT_FOUND. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_why(dmabroker_client* client, uint64_t request, uint64_t image, char** json,
                                dmabroker_error* error);
enum dmabroker_proof_action {
    DMABROKER_PROOFS_CLEAR = 1, /**< forget what was tried: it is tried again when it is next needed */
    DMABROKER_PROOFS_WARM = 2   /**< try whatever the devices here could share, and wait until that is done */
};
/** What the broker knows from trying. Needs a manager connection. Warming may take longer than a connection's usual
 *  time limit: dmabroker_manage_proofs_start has none.
 *  Errors: the broker's; DENIED. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_manage_proofs(dmabroker_client* client, int action, dmabroker_error* error);

#ifdef __cplusplus
}
#endif
#endif
