/* SPDX-License-Identifier: MIT */
/** @file
 * The slow calls without waiting.
 */
#ifndef DMABROKER_START_H
#define DMABROKER_START_H

#include <dmabroker/negotiate.h>

#ifdef __cplusplus
extern "C" {
#endif

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
 * After an error of the start itself no completion comes. "Of a start" are TOO_MANY_REQUESTS, DISCONNECTED, and TIMED_OUT
 * when the broker reads nothing and the socket is full. */

/** dmabroker_allocate. Initial contents are copied twice where the CPU has to write them, the second time in
 *  the call that reads the answer. dmabroker_last_request is this allocation's once its completion was read.
 *  Errors: of a start; BAD_SIZE, UNKNOWN_FORMAT. Waits: no. Threads: turns. */
DMABROKER_API int dmabroker_allocate_start(dmabroker_client* client, const dmabroker_allocation* allocation, void* user_data,
                                           uint64_t* operation, dmabroker_error* error);
/** dmabroker_join.
 *  Errors: of a start. Waits: no. Threads: turns. */
DMABROKER_API int dmabroker_join_start(dmabroker_client* client, const char* token, uint32_t rights,
                                       const dmabroker_participant* participant, void* user_data, uint64_t* operation,
                                       dmabroker_error* error);
/** dmabroker_register.
 *  Errors: of a start; BAD_SIZE, UNKNOWN_FORMAT, BAD_LAYOUT, BAD_DESCRIPTOR. Waits: no. Threads: turns. */
DMABROKER_API int dmabroker_register_start(dmabroker_client* client, const dmabroker_image_info* info, const int* fds,
                                           const char* label, uint64_t lease_ns, void* user_data, uint64_t* operation,
                                           dmabroker_error* error);
/** dmabroker_image_refresh. The image may be closed meanwhile: then its completion may say DMABROKER_NOT_FOUND.
 *  Errors: of a start; INVALID_ARGUMENT (it is no copy). Waits: no. Threads: turns. */
DMABROKER_API int dmabroker_image_refresh_start(dmabroker_image* image, void* user_data, uint64_t* operation,
                                                dmabroker_error* error);
/** dmabroker_manage_proofs.
 *  Errors: of a start. Waits: no. Threads: turns. */
DMABROKER_API int dmabroker_manage_proofs_start(dmabroker_client* client, int action, void* user_data, uint64_t* operation,
                                                dmabroker_error* error);
/** From now on the operation's completion says DMABROKER_CANCELLED, also if it had ended already and its completion
 *  was not read yet; it can be read at once. An image that it would have given, now or later, is given back. What
 *  the broker did in between stays done. Allowed at any time, also twice and while disconnected.
 *  Errors: NOT_FOUND: its completion was read before, or there never was such an operation. Waits: no. Threads: turns. */
DMABROKER_API int dmabroker_cancel(dmabroker_client* client, uint64_t operation, dmabroker_error* error);

#ifdef __cplusplus
}
#endif
#endif
