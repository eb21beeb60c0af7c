/* SPDX-License-Identifier: MIT */
/** @file
 * Import opaque Vulkan memory into CUDA, as an array or as an address of the device. Works on the device and with the
 * driver that allocated it only; another device is refused by comparing cuDeviceGetUuid with the image's. CUDA imports no
 * dma-bufs.
 *
 * `get_proc` finds functions of the driver API (a wrapper around dlsym of libcuda.so.1). Handles are passed as the driver
 * API's own types: CUexternalMemory, CUmipmappedArray and CUarray are pointers, CUdeviceptr is a number.
 *
 * CUDA sees what Vulkan wrote when it waits for that: with a semaphore that Vulkan exported (cuImportExternalSemaphore),
 * or behind a fence that the caller waited for.
 */
#ifndef DMABROKER_CUDA_H
#define DMABROKER_CUDA_H

#include <dmabroker/image.h>
#include <dmabroker/import.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dmabroker_cuda_array {
    size_t struct_size;
    void* memory; /**< CUexternalMemory; destroy with dmabroker_cuda_release */
    void* levels; /**< CUmipmappedArray with one level */
    void* array;  /**< CUarray: that level; its channels lie as the format's in memory */
} dmabroker_cuda_array;
#define DMABROKER_CUDA_ARRAY_INIT {sizeof(dmabroker_cuda_array), NULL, NULL, NULL}

/** For pictures of one, two or four channels with 8 or 16 bits each, in OPTIMAL tiling: the stride of others is known to
 *  Vulkan alone. `flags`: 0 or DMABROKER_IMPORT_WRITE.
 *  Errors: IMPORT_REFUSED (not such a picture, or not of this device), IMPORT_FAILED (CUDA's error), DENIED (IMPORT_WRITE
 *  without the right). Waits: driver. Threads: context. */
DMABROKER_API int dmabroker_cuda_import(const dmabroker_image* image, dmabroker_get_proc get_proc, uint32_t flags,
                                        dmabroker_cuda_array* array, dmabroker_error* error);
/** Destroys all three; `array` is 0 afterwards. The caller waits for their last use first.
 *  Errors: none; a wrong struct_size destroys nothing. Waits: driver. Threads: context. */
DMABROKER_API void dmabroker_cuda_release(dmabroker_get_proc get_proc, dmabroker_cuda_array* array);

typedef struct dmabroker_cuda_buffer {
    size_t struct_size;
    void* memory;     /**< CUexternalMemory; destroy with dmabroker_cuda_release_buffer */
    uint64_t address; /**< CUdeviceptr */
    uint64_t size;    /**< bytes: the image's width */
} dmabroker_cuda_buffer;
#define DMABROKER_CUDA_BUFFER_INIT {sizeof(dmabroker_cuda_buffer), NULL, 0, 0}

/** For images of DMABROKER_FORMAT_BUFFER; else as dmabroker_cuda_import.
 *  Errors: as dmabroker_cuda_import. Waits: driver. Threads: context. */
DMABROKER_API int dmabroker_cuda_import_buffer(const dmabroker_image* image, dmabroker_get_proc get_proc, uint32_t flags,
                                               dmabroker_cuda_buffer* buffer, dmabroker_error* error);
/** Frees the address and destroys the memory; `buffer` is 0 afterwards. The caller waits for their last use first.
 *  Errors: none; a wrong struct_size destroys nothing. Waits: driver. Threads: context. */
DMABROKER_API void dmabroker_cuda_release_buffer(dmabroker_get_proc get_proc, dmabroker_cuda_buffer* buffer);

#ifdef __cplusplus
}
#endif
#endif
