/* SPDX-License-Identifier: MIT */
/** @file
 * What all headers of dmabroker.h share: version, errors, and the words for images.
 */
#ifndef DMABROKER_BASE_H
#define DMABROKER_BASE_H

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

/* The version that the program was built with. */
#define DMABROKER_VERSION_MAJOR 0
#define DMABROKER_VERSION_MINOR 1
#define DMABROKER_VERSION_PATCH 0
#define DMABROKER_VERSION_NUMBER(major, minor, patch)                                                                          \
    (UINT32_C(65536) * (major) + UINT32_C(256) * (minor) + UINT32_C(1) * (patch))
#define DMABROKER_VERSION DMABROKER_VERSION_NUMBER(DMABROKER_VERSION_MAJOR, DMABROKER_VERSION_MINOR, DMABROKER_VERSION_PATCH)
/** That of the library it runs with: compare with DMABROKER_VERSION_NUMBER(major, minor, patch).
 *  Errors: none. Waits: no. Threads: any. */
DMABROKER_API uint32_t dmabroker_version(void);

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

/** "quota_exceeded" for DMABROKER_QUOTA_EXCEEDED; "unknown" for anything else. Never NULL.
 *  Errors: none. Waits: no. Threads: any. */
DMABROKER_API const char* dmabroker_code_name(int code);

/** A DRM fourcc: DMABROKER_FOURCC('A', 'B', '2', '4') is DRM_FORMAT_ABGR8888. */
#define DMABROKER_FOURCC(a, b, c, d)                                                                                           \
    (UINT32_C(1) * (a) + UINT32_C(256) * (b) + UINT32_C(65536) * (c) + UINT32_C(16777216) * (d))

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

/** Text that a function of this library handed out to be freed. NULL is ignored.
 *  Errors: none. Waits: no. Threads: any. */
DMABROKER_API void dmabroker_free(void* memory);

#ifdef __cplusplus
}
#endif
#endif
