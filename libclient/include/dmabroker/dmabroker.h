/* SPDX-License-Identifier: MIT */
/** @file
 * libdmabroker: share GPU and system-memory images between processes.
 *
 * One process allocates an image from the broker (or registers one it made) and hands a token to
 * another, by whatever means; the other opens the token and imports the image with EGL
 * (dmabroker/egl.h), OpenGL memory objects (dmabroker/gl.h), Vulkan (dmabroker/vulkan.h) or the CPU
 * (dmabroker_cpu_map below). The library links no GPU library: importers take your loader functions.
 *
 * Units: pixels, bytes, nanoseconds. Text is UTF-8.
 *
 * Results: 0 or a positive number on success, a negative errno on failure. Where a function takes a
 * `dmabroker_error *`, it may be NULL; on failure it is filled with the error's code and one sentence
 * that says what to do.
 *
 * Descriptors: a function borrows the descriptors passed to it unless it says otherwise; descriptors
 * it returns stay the library's unless it says otherwise. All are close-on-exec.
 *
 * Threads: the library starts none and has no global state. A client and everything that came from it
 * may be used by one thread at a time. Different clients are independent. A child made by fork must not
 * use, nor close, what its parent got from here, mappings excepted: it connects for itself.
 *
 * Blocking: a function that talks to the broker sends one packet and waits for its answer, at most
 * `timeout_ns` of the connection (DMABROKER_TIMED_OUT; the request is cancelled, what it would have given is
 * given back); what else arrives meanwhile is queued as events. Slow ones have a form that only starts them,
 * dmabroker_*_start. These, dmabroker_cancel, dmabroker_dispatch, dmabroker_next_event and everything that
 * closes never block.
 *
 * Errors of all that talk to the broker: DMABROKER_DISCONNECTED once the connection has ended (see
 * dmabroker_reconnect); DMABROKER_TOO_MANY_REQUESTS, also without asking the broker, while 16 requests are
 * unanswered, those that timed out or were cancelled included; codes of a later broker that have no name here.
 *
 * Structures begin with `struct_size`: set it to sizeof the structure (the DMABROKER_*_INIT macros do).
 */
#ifndef DMABROKER_H
#define DMABROKER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DMABROKER_API __attribute__((visibility("default")))
#else
#define DMABROKER_API
#endif

/** Finds functions of the application's GPU libraries by name, e.g. eglGetProcAddress. */
typedef void (*dmabroker_proc)(void);
typedef dmabroker_proc (*dmabroker_get_proc)(const char* name);

/** One connection to a broker. */
typedef struct dmabroker_client dmabroker_client;
/** One hold on an image. It ends with dmabroker_image_close, or with its client. */
typedef struct dmabroker_image dmabroker_image;

/** Error codes: the closed list of PROTOCOL.md. Several share an errno; this tells them apart. */
enum dmabroker_code {
    DMABROKER_PROTOCOL_VIOLATION = 1,
    DMABROKER_UNSUPPORTED_VERSION,
    DMABROKER_UNSUPPORTED,
    DMABROKER_INVALID_ARGUMENT,
    DMABROKER_BAD_SIZE,
    DMABROKER_UNKNOWN_FORMAT,
    DMABROKER_UNKNOWN_MODIFIER,
    DMABROKER_BAD_LAYOUT,
    DMABROKER_BAD_DESCRIPTOR,
    DMABROKER_NOT_FOUND,
    DMABROKER_TOKEN_EXPIRED,
    DMABROKER_TOKEN_REVOKED,
    DMABROKER_TOKEN_USED,
    DMABROKER_DENIED,
    DMABROKER_QUOTA_EXCEEDED,
    DMABROKER_NO_BACKEND,
    DMABROKER_BACKEND_FAILED,
    DMABROKER_TIMED_OUT,
    DMABROKER_OUT_OF_MEMORY,
    DMABROKER_TOO_MANY_REQUESTS,
    DMABROKER_ALREADY_REGISTERED,
    DMABROKER_NO_BROKER,
    DMABROKER_DISCONNECTED,
    DMABROKER_IMPORT_REFUSED, /**< importing this would crash or mislead the driver; the text says why */
    DMABROKER_IMPORT_FAILED,  /**< the driver said no */
    DMABROKER_INTERNAL,
    DMABROKER_SHUTTING_DOWN,
    DMABROKER_CANCELLED,        /**< you cancelled it: dmabroker_cancel */
    DMABROKER_BROKER_RESTARTED, /**< a token from before the broker's restart: ask for a new one */
    DMABROKER_INTERRUPTED       /**< the broker or a part of it ended meanwhile: ask again */
};

typedef struct dmabroker_error {
    int code;       /**< enum dmabroker_code, or a later broker's */
    char text[252]; /**< one sentence, NUL-terminated */
} dmabroker_error;

/** "quota_exceeded" for DMABROKER_QUOTA_EXCEEDED; "unknown" for anything else. Never NULL. */
DMABROKER_API const char* dmabroker_code_name(int code);

/* ---- connection ------------------------------------------------------------------------------- */

typedef struct dmabroker_connect_options {
    size_t struct_size;
    /** Path of the socket; NULL: the descriptor in $DMABROKER_SOCKET (taken over, and removed from the
     *  environment), the path in $DMABROKER_REMOTE, $XDG_RUNTIME_DIR/dmabroker/0, /run/dmabroker/0,
     *  whichever comes first. */
    const char* remote;
    const char* name;    /**< shown by `dmabrokerctl list`, at most 64 bytes; NULL: the program's name */
    uint64_t timeout_ns; /**< for every answer; 0: 30 s */
    int manager;         /**< not 0: connect to the manager socket beside it (PATH.manager), which sees and
                              may revoke every image */
} dmabroker_connect_options;
#define DMABROKER_CONNECT_OPTIONS_INIT {sizeof(dmabroker_connect_options), NULL, NULL, 0, 0}

/** `options` may be NULL. */
DMABROKER_API int dmabroker_connect(const dmabroker_connect_options* options, dmabroker_client** client,
                                    dmabroker_error* error);
/** Takes over a connected SEQPACKET socket (also on failure). */
DMABROKER_API int dmabroker_connect_fd(int socket, const char* name, dmabroker_client** client, dmabroker_error* error);
/** Closes the connection. Its images become invalid for talking to the broker, but stay readable until
 *  each is closed. Operations that have not completed end without an event: their images are given back.
 *  NULL is ignored. */
DMABROKER_API void dmabroker_client_close(dmabroker_client* client);

/** After DMABROKER_DISCONNECTED from any call, or the event: connects again to the same place and shows that it
 *  is the same client. Blocks, at most `timeout_ns` for connecting and as long again for each answer.
 *
 *  1: the broker knows this client. Images, tokens and leases are as before; what was outstanding is asked again
 *     under its number, so that nothing is done twice, and operations complete as if nothing had happened, or
 *     with DMABROKER_INTERRUPTED where the broker could not take them over.
 *  0: it does not; this is a new client. Images of before stay mapped, readable and importable, but calls that
 *     need the broker fail for them with DMABROKER_DISCONNECTED; operations complete with DMABROKER_INTERRUPTED.
 *     Tables must be stated again.
 *  Negative: still disconnected; DMABROKER_NO_BROKER, DMABROKER_TIMED_OUT: try again later. Many clients lose their
 *     broker at the same moment: wait a random part of 0.1 s before the first attempt, and before each later one
 *     twice the last wait, up to 5 s, half of it random. DMABROKER_UNSUPPORTED: the socket was handed over
 *     (dmabroker_connect_fd, $DMABROKER_SOCKET), so there is no place to connect to. DMABROKER_INVALID_ARGUMENT: the
 *     connection stands.
 *
 *  dmabroker_get_fd stays the same. An event DMABROKER_EVENT_DISCONNECTED that was not read yet is dropped. */
DMABROKER_API int dmabroker_reconnect(dmabroker_client* client, dmabroker_error* error);

/** Readable when dmabroker_dispatch or dmabroker_next_event has something to do. The same number as long as the
 *  client lives. Borrowed, only to be waited for: an epoll instance. Negative: out of descriptors. */
DMABROKER_API int dmabroker_get_fd(dmabroker_client* client);
/** Reads what the broker sent, without blocking. 0, or negative when the connection is gone. */
DMABROKER_API int dmabroker_dispatch(dmabroker_client* client, dmabroker_error* error);

enum dmabroker_event_type {
    DMABROKER_EVENT_IMAGE_REVOKED = 1,  /**< `image` was revoked: pixels stay, nobody new can open it */
    DMABROKER_EVENT_DISCONNECTED = 2,   /**< the broker said goodbye or vanished; `text` says why. Told behind all that
                                             came before, once: see dmabroker_reconnect */
    DMABROKER_EVENT_IMAGE_REPLACED = 3, /**< somebody joined who cannot use `image`; all can use its successor: see
                                             dmabroker_image_move. `image` stays as it is */
    DMABROKER_EVENT_COMPLETED = 4       /**< `operation` has ended, with `result` */
};
typedef struct dmabroker_event {
    size_t struct_size;
    int type;               /**< enum dmabroker_event_type */
    dmabroker_image* image; /**< for IMAGE_REVOKED and IMAGE_REPLACED; for COMPLETED what the operation gave, or NULL: from
                                 now the caller's, to be closed */
    char text[252];         /**< for COMPLETED: of its error */
    uint64_t successor;     /**< for IMAGE_REPLACED: the new image's id */
    uint64_t request;       /**< for IMAGE_REPLACED: why, see dmabroker_why; for COMPLETED: the negotiation, 0: none */
    uint64_t operation;     /**< for COMPLETED, as its start returned it */
    void* user_data;        /**< for COMPLETED, as given to its start */
    int result;             /**< for COMPLETED: 0, or the negative errno that the blocking form would have returned */
    int code;               /**< for COMPLETED: its error's enum dmabroker_code, or a later broker's; 0: none */
    uint64_t cost_ns;       /**< for COMPLETED: of a refresh, what the copy took */
} dmabroker_event;
/** 1: `event` is filled; 0: none left. Never talks to the broker: call dmabroker_dispatch first. Events come in the
 *  order in which they arrived: none names an image before the call or the completion that gave it, and none
 *  one that was closed. */
DMABROKER_API int dmabroker_next_event(dmabroker_client* client, dmabroker_event* event);

/* ---- images ----------------------------------------------------------------------------------- */

/** What a participant will do with an image (flags). */
enum dmabroker_usage {
    DMABROKER_USAGE_CPU_READ = 1,
    DMABROKER_USAGE_CPU_WRITE = 2,
    DMABROKER_USAGE_SAMPLE = 4,
    DMABROKER_USAGE_RENDER = 8,
    DMABROKER_USAGE_STORAGE = 16,
    DMABROKER_USAGE_SCANOUT = 32,
    DMABROKER_USAGE_ENCODE = 64
};
enum dmabroker_rights { DMABROKER_READ = 1, DMABROKER_WRITE = 2, DMABROKER_MANAGE = 4 };
enum dmabroker_memory_kind { DMABROKER_DMA_BUF = 1, DMABROKER_OPAQUE = 2, DMABROKER_MEMFD = 3 };
enum dmabroker_backend {
    DMABROKER_BACKEND_MEMFD = 1,
    DMABROKER_BACKEND_UDMABUF = 2,
    DMABROKER_BACKEND_DMA_HEAP = 3,
    DMABROKER_BACKEND_GBM = 4,
    DMABROKER_BACKEND_VULKAN = 5,
    DMABROKER_BACKEND_VULKAN_OPAQUE = 6,
    DMABROKER_BACKEND_CLIENT = 7
};
#define DMABROKER_BACKEND_BIT(backend) (1u << (backend))
enum dmabroker_rung {
    DMABROKER_RUNG_COPY = 1,
    DMABROKER_RUNG_BLIT,
    DMABROKER_RUNG_SYSTEM_DMA_BUF,
    DMABROKER_RUNG_LINEAR,
    DMABROKER_RUNG_TILED
};
enum dmabroker_protection {
    DMABROKER_PROTECTION_NONE = 1,                /**< the descriptor can write, whatever the rights say */
    DMABROKER_PROTECTION_READ_ONLY_DESCRIPTOR = 2 /**< opened O_RDONLY */
};
#define DMABROKER_MAX_PLANES 4
#define DMABROKER_MODIFIER_LINEAR UINT64_C(0)
#define DMABROKER_MODIFIER_INVALID UINT64_C(0x00ffffffffffffff)
#define DMABROKER_FOREVER UINT64_MAX
/** A buffer: bytes without a picture in them, shared by the same calls. Its width is its size in bytes, at most
 *  UINT32_MAX, its height 1. SAMPLE then means that a GPU reads it, STORAGE that a GPU writes it. No fourcc of
 *  drm_fourcc.h: "BLOB". Import it with dmabroker_vulkan_import_buffer, dmabroker_gl_import_buffer or dmabroker_cpu_map. */
#define DMABROKER_FORMAT_BUFFER UINT32_C(0x424f4c42)
/** 32 hexadecimal digits and NUL. A token is a secret: whoever has it can open the image. */
#define DMABROKER_TOKEN_SIZE 33

typedef struct dmabroker_plane {
    uint32_t memory; /**< index of its memory object (descriptor) */
    uint32_t stride; /**< bytes from one row to the next */
    uint64_t offset; /**< bytes from the start of the memory object */
} dmabroker_plane;

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
} dmabroker_colour;
/** Every default. */
#define DMABROKER_COLOUR_INIT {0, 0, 0, 0, 0, 0, {{0, 0}, {0, 0}, {0, 0}, {0, 0}, 0, 0}, {0, 0}}

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

/** Pixels in the caller's memory, one pointer and stride per plane of the format. */
typedef struct dmabroker_pixels {
    const void* data[DMABROKER_MAX_PLANES];
    size_t stride[DMABROKER_MAX_PLANES]; /**< bytes; 0: tightly packed */
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
} dmabroker_participant;
#define DMABROKER_PARTICIPANT_INIT {sizeof(dmabroker_participant), NULL, NULL, 0, 0, NULL, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0}

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
 *  alternatives. On DMABROKER_NO_BACKEND, dmabroker_explanation says what was tried, and dmabroker_why with
 *  dmabroker_last_request whose demand was in the way and what would work. */
DMABROKER_API int dmabroker_allocate(dmabroker_client* client, const dmabroker_allocation* allocation, dmabroker_image** image,
                                     dmabroker_error* error);
/** Opens the image that a token names. `rights` must be part of the token's. A reader that states only
 *  CPU usage may get a read-only descriptor; GPU importers need a writable one (see `protection`). */
DMABROKER_API int dmabroker_open(dmabroker_client* client, const char* token, uint32_t rights, uint32_t usage,
                                 dmabroker_image** image, dmabroker_error* error);
/** Opens it as one who says what it can import. Where the participant cannot use the image as it is, the
 *  broker makes one that all its holders can use and sends these DMABROKER_EVENT_IMAGE_REPLACED; where there
 *  is no such image, the joiner gets a copy of its own (info->source). */
DMABROKER_API int dmabroker_join(dmabroker_client* client, const char* token, uint32_t rights,
                                 const dmabroker_participant* participant, dmabroker_image** image, dmabroker_error* error);
/** After DMABROKER_EVENT_IMAGE_REPLACED: a hold on the successor with the rights of this one, which stays
 *  open until it is closed. The size is the same, format, modifier and device may not be. */
DMABROKER_API int dmabroker_image_move(dmabroker_image* image, dmabroker_image** successor, dmabroker_error* error);
/** Copies a copy's source into it once more, and waits for that. `cost_ns`: what it took; may be NULL. */
DMABROKER_API int dmabroker_image_refresh(dmabroker_image* image, uint64_t* cost_ns, dmabroker_error* error);
/** Registers an image made elsewhere. `info`: width, height, format, modifier, kind (DMA_BUF or MEMFD),
 *  usage, planes, memory_size, colour; of a buffer one plane with the width as stride. `fds`: info->memory_count
 *  descriptors, duplicated by the call; only dma-bufs opened for reading and writing, or memfds sealed with
 *  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL and not against writing. */
DMABROKER_API int dmabroker_register(dmabroker_client* client, const dmabroker_image_info* info, const int* fds,
                                     const char* label, uint64_t lease_ns, dmabroker_image** image, dmabroker_error* error);
/** An image that no broker knows of, for the importers of this library: a dma-buf that came through PipeWire,
 *  Wayland or a camera. `info` and `fds` as for dmabroker_register, descriptors checked in the same way; also
 *  opaque memory, of which nothing can be checked: then `info` must be as its exporter stated it. It has the rights
 *  in `info` (0: all). Calls that need a broker fail with DMABROKER_DISCONNECTED. */
DMABROKER_API int dmabroker_image_adopt(const dmabroker_image_info* info, const int* fds, dmabroker_image** image,
                                        dmabroker_error* error);
/** dmabroker_register for memory of another process: `remote_fds` are descriptor numbers there. For peers that
 *  exchange images as (pid, number). The kernel allows it to whoever may trace that process (ptrace(2)): else
 *  DMABROKER_DENIED. DMABROKER_NOT_FOUND: there is no such process. */
DMABROKER_API int dmabroker_register_from_process(dmabroker_client* client, const dmabroker_image_info* info, int pid,
                                                  const int* remote_fds, const char* label, uint64_t lease_ns,
                                                  dmabroker_image** image, dmabroker_error* error);
/** What an API that exports an image cannot tell about it; for dmabroker_egl_export, dmabroker_vulkan_export
 *  and dmabroker_v4l2_export, which take NULL for none of it. */
typedef struct dmabroker_export_options {
    size_t struct_size;
    uint32_t usage;          /**< what it was made for: enum dmabroker_usage flags */
    dmabroker_colour colour; /**< 0: what the API says, else the default of the format */
    const char* label;       /**< shown by `dmabrokerctl list`, at most 64 bytes; NULL: none */
    uint64_t lease_ns;       /**< how long it lives after its last holder left; 0: not at all */
} dmabroker_export_options;
#define DMABROKER_EXPORT_OPTIONS_INIT {sizeof(dmabroker_export_options), 0, DMABROKER_COLOUR_INIT, NULL, 0}
/** Ends this hold and closes its descriptors. Mappings and GPU imports made from it stay valid. NULL is ignored. */
DMABROKER_API void dmabroker_image_close(dmabroker_image* image);

/** Valid as long as the image. */
DMABROKER_API const dmabroker_image_info* dmabroker_image_get_info(const dmabroker_image* image);
/** Borrowed: duplicate it to keep it. `memory` < info->memory_count. */
DMABROKER_API int dmabroker_image_get_fd(const dmabroker_image* image, uint32_t memory);

typedef struct dmabroker_token_options {
    size_t struct_size;
    uint32_t rights;      /**< part of this hold's */
    int one_shot;         /**< not 0: the first open uses it up */
    int enforced;         /**< not 0: readers who could not be kept from writing are refused */
    uint64_t lifetime_ns; /**< 0: as long as the image */
} dmabroker_token_options;
/** Mints a token. Needs no right beyond those it passes on. */
DMABROKER_API int dmabroker_image_token(dmabroker_image* image, const dmabroker_token_options* options,
                                        char token[DMABROKER_TOKEN_SIZE], dmabroker_error* error);
/** Ends a token and those minted by whoever opened the image with it. Needs a hold with MANAGE on the
 *  image, or a manager connection. */
DMABROKER_API int dmabroker_revoke_token(dmabroker_client* client, const char* token, dmabroker_error* error);
/** Ends all tokens and the lease of an image and tells its holders. Rights as above. */
DMABROKER_API int dmabroker_revoke_image(dmabroker_client* client, uint64_t id, dmabroker_error* error);
/** From now; DMABROKER_FOREVER: until revoked; 0: ends with its last holder. Needs MANAGE. */
DMABROKER_API int dmabroker_image_set_lease(dmabroker_image* image, uint64_t lease_ns, dmabroker_error* error);

/* ---- without waiting ---------------------------------------------------------------------------- */

/* Each of these sends the request of the function it is named after and returns. What happens then is told by
 * exactly one DMABROKER_EVENT_COMPLETED, with `user_data` as it was given here: when the broker has answered, when
 * the operation was cancelled, or after a disconnect when nothing can be answered any more. (After a disconnect
 * operations wait for dmabroker_reconnect, unless their client cannot be resumed.) There is no time limit: a program
 * that wants one cancels. Answers come in any order; several operations and blocking calls may overlap.
 *
 * `operation` (may be NULL) becomes a number for dmabroker_cancel that never repeats for this client, nor is 0.
 * All arguments are copied, pixels and descriptors included, and may be freed at once. What has descriptors may leave only
 * in the next dmabroker_dispatch: the broker takes them over a second socket, which is asked for when first needed.
 *
 * Errors of the start itself, after which no completion comes: those of arguments, as for the blocking form;
 * DMABROKER_TOO_MANY_REQUESTS; DMABROKER_DISCONNECTED; DMABROKER_TIMED_OUT, when the broker reads nothing and the
 * socket is full. */

/** dmabroker_allocate. Initial contents are copied twice where the CPU has to write them, the second time in
 *  the call that reads the answer. dmabroker_explanation and dmabroker_last_request are this allocation's once its
 *  completion was read. */
DMABROKER_API int dmabroker_allocate_start(dmabroker_client* client, const dmabroker_allocation* allocation, void* user_data,
                                           uint64_t* operation, dmabroker_error* error);
/** dmabroker_join. */
DMABROKER_API int dmabroker_join_start(dmabroker_client* client, const char* token, uint32_t rights,
                                       const dmabroker_participant* participant, void* user_data, uint64_t* operation,
                                       dmabroker_error* error);
/** dmabroker_register. */
DMABROKER_API int dmabroker_register_start(dmabroker_client* client, const dmabroker_image_info* info, const int* fds,
                                           const char* label, uint64_t lease_ns, void* user_data, uint64_t* operation,
                                           dmabroker_error* error);
/** dmabroker_image_refresh. The image may be closed meanwhile: then its completion may say DMABROKER_NOT_FOUND. */
DMABROKER_API int dmabroker_image_refresh_start(dmabroker_image* image, void* user_data, uint64_t* operation,
                                                dmabroker_error* error);
/** dmabroker_manage_proofs. */
DMABROKER_API int dmabroker_manage_proofs_start(dmabroker_client* client, int action, void* user_data, uint64_t* operation,
                                                dmabroker_error* error);
/** From now on the operation's completion says DMABROKER_CANCELLED, also if it had ended already and its completion
 *  was not read yet; it can be read at once. An image that it would have given, now or later, is given back. What
 *  the broker did in between stays done. Allowed at any time, also twice and while disconnected.
 *  DMABROKER_NOT_FOUND: its completion was read before, or there never was such an operation. */
DMABROKER_API int dmabroker_cancel(dmabroker_client* client, uint64_t operation, dmabroker_error* error);

/* ---- what happened ------------------------------------------------------------------------------ */

/** JSON: the candidates of the client's last allocation, each with verdict and reason. Borrowed until
 *  the next allocation. Never NULL. */
DMABROKER_API const char* dmabroker_explanation(const dmabroker_client* client);
/** The negotiation of the client's last allocation or join, whether it failed or not; 0: there was none. */
DMABROKER_API uint64_t dmabroker_last_request(const dmabroker_client* client);
/** JSON: the decision behind a request, or behind the image with id `image` if `request` is 0; the
 *  last one if both are 0. Who could do what, what was chosen, what removed the rest, and for a failure the
 *  smallest change that would work. The caller frees it with dmabroker_free. */
DMABROKER_API int dmabroker_why(dmabroker_client* client, uint64_t request, uint64_t image, char** json,
                                dmabroker_error* error);
enum dmabroker_proof_action {
    DMABROKER_PROOFS_CLEAR = 1, /**< forget what was tried: it is tried again when it is next needed */
    DMABROKER_PROOFS_WARM = 2   /**< try whatever the devices here could share, and wait until that is done */
};
/** What the broker knows from trying. Needs a manager connection. Warming may take longer than a connection's usual
 *  time limit: dmabroker_manage_proofs_start has none. */
DMABROKER_API int dmabroker_manage_proofs(dmabroker_client* client, int action, dmabroker_error* error);
/** JSON: clients, images, devices and formats this client may see; `id` 0: everything. The caller
 *  frees it with dmabroker_free. */
DMABROKER_API int dmabroker_inspect(dmabroker_client* client, uint64_t id, char** json, dmabroker_error* error);
/** The JSON form of an image description. The caller frees it with dmabroker_free. */
DMABROKER_API int dmabroker_image_to_json(const dmabroker_image_info* info, char** json, dmabroker_error* error);
/** The reverse. The result is as trustworthy as the text. */
DMABROKER_API int dmabroker_image_from_json(const char* json, dmabroker_image_info* info, dmabroker_error* error);
DMABROKER_API void dmabroker_free(void* memory);

/* ---- CPU ------------------------------------------------------------------------------------------ */

/** A mapping of all planes. It stays valid after its image is closed. */
typedef struct dmabroker_cpu_mapping dmabroker_cpu_mapping;

/** `access`: DMABROKER_READ, DMABROKER_WRITE or both. Refused for opaque memory, and for tiled layouts
 *  whose bytes only the driver can read. */
DMABROKER_API int dmabroker_cpu_map(const dmabroker_image* image, uint32_t access, dmabroker_cpu_mapping** mapping,
                                    dmabroker_error* error);
/** First byte of a plane's first row; rows are info->planes[plane].stride apart. */
DMABROKER_API void* dmabroker_cpu_data(const dmabroker_cpu_mapping* mapping, uint32_t plane);
/** Brackets every access (DMA_BUF_IOCTL_SYNC; nothing to do for memfds): begin waits for pending GPU
 *  work, end makes writes visible. `access` as above. */
DMABROKER_API int dmabroker_cpu_begin(dmabroker_cpu_mapping* mapping, uint32_t access, dmabroker_error* error);
DMABROKER_API int dmabroker_cpu_end(dmabroker_cpu_mapping* mapping, uint32_t access, dmabroker_error* error);
/** NULL is ignored. */
DMABROKER_API void dmabroker_cpu_unmap(dmabroker_cpu_mapping* mapping);

#ifdef __cplusplus
}
#endif
#endif
