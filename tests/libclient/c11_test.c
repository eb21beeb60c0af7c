/* SPDX-License-Identifier: MIT */
/* The public headers as a C11 program sees them: this file must compile with -pedantic and every
 * initialiser macro must fit its structure. */
#include <dmabroker/cuda.h>
#include <dmabroker/dmabroker.h>
#include <dmabroker/egl.h>
#include <dmabroker/gl.h>
#include <dmabroker/v4l2.h>
#ifdef HAVE_VULKAN
#include <dmabroker/vulkan.h>
#endif

#include <string.h>

/* Each initialiser, and whether it sets the size. */
#define CHECK(type, INIT)                                                                                                      \
    do {                                                                                                                       \
        type value = INIT;                                                                                                     \
        if (value.struct_size != sizeof value) return __LINE__;                                                                \
    } while (0)

int compiled_as_c11(void);
int compiled_as_c11(void)
{
    dmabroker_connect_options connect = DMABROKER_CONNECT_OPTIONS_INIT;
    dmabroker_allocation allocation = DMABROKER_ALLOCATION_INIT;
    dmabroker_client* client = NULL;
    dmabroker_error error;

    CHECK(dmabroker_connect_options, DMABROKER_CONNECT_OPTIONS_INIT);
    CHECK(dmabroker_event, DMABROKER_EVENT_INIT);
    CHECK(dmabroker_image_info, DMABROKER_IMAGE_INFO_INIT);
    CHECK(dmabroker_token_options, DMABROKER_TOKEN_OPTIONS_INIT);
    CHECK(dmabroker_participant, DMABROKER_PARTICIPANT_INIT);
    CHECK(dmabroker_allocation, DMABROKER_ALLOCATION_INIT);
    CHECK(dmabroker_export_options, DMABROKER_EXPORT_OPTIONS_INIT);
    CHECK(dmabroker_capability_table, DMABROKER_CAPABILITY_TABLE_INIT);
    CHECK(dmabroker_egl, DMABROKER_EGL_INIT);
    CHECK(dmabroker_egl_images, DMABROKER_EGL_IMAGES_INIT);
    CHECK(dmabroker_egl_source, DMABROKER_EGL_SOURCE_INIT);
    CHECK(dmabroker_gl_texture, DMABROKER_GL_TEXTURE_INIT);
    CHECK(dmabroker_gl_buffer, DMABROKER_GL_BUFFER_INIT);
    CHECK(dmabroker_cuda_array, DMABROKER_CUDA_ARRAY_INIT);
    CHECK(dmabroker_cuda_buffer, DMABROKER_CUDA_BUFFER_INIT);
    CHECK(dmabroker_v4l2_source, DMABROKER_V4L2_SOURCE_INIT);
#ifdef HAVE_VULKAN
    CHECK(dmabroker_vulkan, DMABROKER_VULKAN_INIT);
    CHECK(dmabroker_vulkan_images, DMABROKER_VULKAN_IMAGES_INIT);
    CHECK(dmabroker_vulkan_buffer, DMABROKER_VULKAN_BUFFER_INIT);
    CHECK(dmabroker_vulkan_source, DMABROKER_VULKAN_SOURCE_INIT);
#endif
    connect.remote = "/nonexistent/socket";
    allocation.width = 1;
    if (dmabroker_connect(&connect, &client, &error) >= 0 || client != NULL) return 1;
    if (error.code != DMABROKER_NO_BROKER || strlen(error.text) == 0) return 2;
    return allocation.colour.primaries || allocation.participant_count || allocation.lease_ns ? 3 : 0;
}
