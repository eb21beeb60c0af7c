/* SPDX-License-Identifier: MIT */
/** @file
 * Import an image into Vulkan: dma-bufs and memfds with VkImportMemoryFdInfoKHR and
 * VK_EXT_image_drm_format_modifier, opaque memory by repeating its VkImageCreateInfo. Buffers become VkBuffers.
 *
 * The device must have been created with VK_KHR_external_memory_fd, and for dma-bufs with
 * VK_EXT_external_memory_dma_buf and VK_EXT_image_drm_format_modifier where it has them.
 * The library loads no Vulkan: it takes vkGetInstanceProcAddr from you.
 */
#ifndef DMABROKER_VULKAN_H
#define DMABROKER_VULKAN_H

#include <dmabroker/capabilities.h>
#include <dmabroker/export.h>
#include <dmabroker/import.h>
#include <vulkan/vulkan_core.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dmabroker_vulkan {
    size_t struct_size;
    VkInstance instance;
    VkPhysicalDevice physical_device;
    VkDevice device;
    PFN_vkGetInstanceProcAddr get_instance_proc_addr;
} dmabroker_vulkan;
#define DMABROKER_VULKAN_INIT {sizeof(dmabroker_vulkan), VK_NULL_HANDLE, VK_NULL_HANDLE, VK_NULL_HANDLE, NULL}

/** What the physical device can import; `device` may be VK_NULL_HANDLE. Dma-bufs by format and modifier, opaque memory
 *  by format, each with the usages (sample, render, storage) and the size that the driver confirms for an imported
 *  image, and both as buffers. Its node, PCI address and UUIDs as far as it tells. A device made later must have the extensions
 *  above.
 *  Errors: IMPORT_REFUSED (no Vulkan 1.1). Waits: driver. Threads: any. */
DMABROKER_API int dmabroker_vulkan_capabilities(const dmabroker_vulkan* vulkan, dmabroker_capabilities** capabilities,
                                                dmabroker_error* error);

typedef struct dmabroker_vulkan_images {
    size_t struct_size;
    uint32_t count; /**< 1, or the number of planes */
    int per_plane;
    VkImage images[DMABROKER_MAX_PLANES];
    VkDeviceMemory memory[DMABROKER_MAX_PLANES];
    VkFormat formats[DMABROKER_MAX_PLANES];
    VkExtent2D extents[DMABROKER_MAX_PLANES];
    VkImageUsageFlags usage;
    /** Acquire with a barrier from this queue family (VK_QUEUE_FAMILY_FOREIGN_EXT or _EXTERNAL) and this
     *  layout; release the same way. */
    uint32_t external_queue_family;
    VkImageLayout external_layout;
    uint32_t reserved;
    dmabroker_yuv yuv; /**< for per_plane */
    /** For the VkSamplerYcbcrConversionCreateInfo of a YUV image that is whole. The model is YCBCR_IDENTITY where Vulkan
     *  has no such matrix: then the shader converts, as the image's colour says. Chroma sited at the bottom, which Vulkan
     *  does not know either, becomes MIDPOINT. */
    VkSamplerYcbcrModelConversion ycbcr_model;
    VkSamplerYcbcrRange ycbcr_range;
    VkChromaLocation x_chroma_offset, y_chroma_offset;
} dmabroker_vulkan_images;
#define DMABROKER_VULKAN_IMAGES_INIT                                                                                           \
    {sizeof(dmabroker_vulkan_images),                                                                                          \
     0,                                                                                                                        \
     0,                                                                                                                        \
     {VK_NULL_HANDLE},                                                                                                         \
     {VK_NULL_HANDLE},                                                                                                         \
     {VK_FORMAT_UNDEFINED},                                                                                                    \
     {{0, 0}},                                                                                                                 \
     0,                                                                                                                        \
     0,                                                                                                                        \
     VK_IMAGE_LAYOUT_UNDEFINED,                                                                                                \
     0,                                                                                                                        \
     DMABROKER_YUV_INIT,                                                                                                       \
     VK_SAMPLER_YCBCR_MODEL_CONVERSION_RGB_IDENTITY,                                                                           \
     VK_SAMPLER_YCBCR_RANGE_ITU_FULL,                                                                                          \
     VK_CHROMA_LOCATION_COSITED_EVEN,                                                                                          \
     VK_CHROMA_LOCATION_COSITED_EVEN}

/** `usage`: what the images will be used for; 0: TRANSFER_SRC and SAMPLED (with DMABROKER_IMPORT_WRITE
 *  also TRANSFER_DST and COLOR_ATTACHMENT where the format can). Opaque images always have their
 *  exporter's usage. `flags` as for EGL. After a failure `images` is 0.
 *  Errors: IMPORT_REFUSED (would crash or mislead this driver, or a missing extension; the sentence says what),
 *  IMPORT_FAILED (Vulkan's error), DENIED (IMPORT_WRITE without the right). Waits: driver. Threads: any. */
DMABROKER_API int dmabroker_vulkan_import(const dmabroker_image* image, const dmabroker_vulkan* vulkan, VkImageUsageFlags usage,
                                          uint32_t flags, dmabroker_vulkan_images* images, dmabroker_error* error);
/** Destroys images and memory, and `images` is 0 afterwards. The caller waits for their last use first.
 *  Errors: none; a wrong struct_size destroys nothing. Waits: driver. Threads: any. */
DMABROKER_API void dmabroker_vulkan_release(const dmabroker_vulkan* vulkan, dmabroker_vulkan_images* images);

typedef struct dmabroker_vulkan_buffer {
    size_t struct_size;
    VkBuffer buffer;
    VkDeviceMemory memory;
    VkDeviceSize size; /**< bytes: the image's width */
    VkBufferUsageFlags usage;
    /** Acquire with a barrier from this queue family, release the same way. */
    uint32_t external_queue_family;
} dmabroker_vulkan_buffer;
#define DMABROKER_VULKAN_BUFFER_INIT {sizeof(dmabroker_vulkan_buffer), VK_NULL_HANDLE, VK_NULL_HANDLE, 0, 0, 0}

/** For images of DMABROKER_FORMAT_BUFFER. `usage`: what it will be used for; 0: TRANSFER_SRC, UNIFORM_BUFFER and
 *  STORAGE_BUFFER (with DMABROKER_IMPORT_WRITE also TRANSFER_DST). `flags`: 0 or DMABROKER_IMPORT_WRITE.
 *  Errors: as dmabroker_vulkan_import. Waits: driver. Threads: any. */
DMABROKER_API int dmabroker_vulkan_import_buffer(const dmabroker_image* image, const dmabroker_vulkan* vulkan,
                                                 VkBufferUsageFlags usage, uint32_t flags, dmabroker_vulkan_buffer* buffer,
                                                 dmabroker_error* error);
/** Destroys buffer and memory, and `buffer` is 0 afterwards. The caller waits for their last use first.
 *  Errors: none; a wrong struct_size destroys nothing. Waits: driver. Threads: any. */
DMABROKER_API void dmabroker_vulkan_release_buffer(const dmabroker_vulkan* vulkan, dmabroker_vulkan_buffer* buffer);

/** What to export: Vulkan does not tell how an image was created. */
typedef struct dmabroker_vulkan_source {
    size_t struct_size;
    VkImage image;              /**< created with VkExternalMemoryImageCreateInfo, 2D, one level and layer */
    VkDeviceMemory memory;      /**< bound to it, allocated with VkExportMemoryAllocateInfo */
    VkDeviceSize memory_offset; /**< as in vkBindImageMemory */
    VkExternalMemoryHandleTypeFlagBits handle_type; /**< DMA_BUF_BIT_EXT; OPAQUE_FD cannot be registered today */
    VkImageTiling tiling;                           /**< DRM_FORMAT_MODIFIER_EXT, or LINEAR */
    VkFormat format;
    uint32_t fourcc;        /**< 0: the DRM format with the bits of `format`, with alpha rather than padding */
    uint32_t width, height; /**< pixels */
} dmabroker_vulkan_source;
#define DMABROKER_VULKAN_SOURCE_INIT                                                                                           \
    {sizeof(dmabroker_vulkan_source),                                                                                          \
     VK_NULL_HANDLE,                                                                                                           \
     VK_NULL_HANDLE,                                                                                                           \
     0,                                                                                                                        \
     VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT,                                                                           \
     VK_IMAGE_TILING_OPTIMAL,                                                                                                  \
     VK_FORMAT_UNDEFINED,                                                                                                      \
     0,                                                                                                                        \
     0,                                                                                                                        \
     0}

/** Exports the memory (vkGetMemoryFdKHR) and registers it with the modifier and the plane layouts that the driver says.
 *  Release the image to VK_QUEUE_FAMILY_FOREIGN_EXT in VK_IMAGE_LAYOUT_GENERAL before others use it.
 *  Errors: the broker's, and those of dmabroker_register; UNSUPPORTED (OPAQUE_FD memory and OPTIMAL tiling, which nobody
 *  else could check or read), IMPORT_REFUSED, IMPORT_FAILED (Vulkan's error), BACKEND_FAILED. Waits: driver, and answer.
 *  Threads: turns. */
DMABROKER_API int dmabroker_vulkan_export(dmabroker_client* client, const dmabroker_vulkan* vulkan,
                                          const dmabroker_vulkan_source* source, const dmabroker_export_options* options,
                                          dmabroker_image** image, dmabroker_error* error);

#ifdef __cplusplus
}
#endif
#endif
