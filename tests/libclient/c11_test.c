/* SPDX-License-Identifier: MIT */
/* The public headers as a C11 program sees them: this file must compile with -pedantic and every
 * initialiser macro must fit its structure. */
#include <dmabroker/capabilities.h>
#include <dmabroker/dmabroker.h>
#include <dmabroker/egl.h>
#include <dmabroker/gl.h>
#include <dmabroker/v4l2.h>
#ifdef HAVE_VULKAN
#include <dmabroker/vulkan.h>
#endif

#include <string.h>

int compiled_as_c11(void);
int compiled_as_c11(void)
{
    dmabroker_connect_options connect = DMABROKER_CONNECT_OPTIONS_INIT;
    dmabroker_allocation allocation = DMABROKER_ALLOCATION_INIT;
    dmabroker_capability_table table = DMABROKER_CAPABILITY_TABLE_INIT;
    dmabroker_participant participant = DMABROKER_PARTICIPANT_INIT;
    dmabroker_export_options options = DMABROKER_EXPORT_OPTIONS_INIT;
    dmabroker_client* client = NULL;
    dmabroker_error error;

    connect.remote = "/nonexistent/socket";
    allocation.width = 1;
    if (dmabroker_connect(&connect, &client, &error) >= 0 || client != NULL) return 1;
    if (error.code != DMABROKER_NO_BROKER || strlen(error.text) == 0) return 2;
    if (options.struct_size != sizeof options || options.lease_ns != 0) return 6;
    if (allocation.colour.primaries || options.colour.light.max_cll || options.lease_ns || options.label) return 7;
    if (participant.struct_size != sizeof participant || participant.is_protected || allocation.participant_count) return 5;
    if (table.struct_size != sizeof table || table.api != DMABROKER_API_OTHER || table.row_count != 0) return 4;
    return allocation.struct_size == sizeof allocation && connect.struct_size == sizeof connect ? 0 : 3;
}
