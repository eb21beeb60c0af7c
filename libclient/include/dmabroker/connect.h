/* SPDX-License-Identifier: MIT */
/** @file
 * The connection to a broker, what arrives over it, and what it shows.
 */
#ifndef DMABROKER_CONNECT_H
#define DMABROKER_CONNECT_H

#include <dmabroker/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dmabroker_connect_options {
    size_t struct_size;
    /** Path of the socket; NULL: the descriptor in $DMABROKER_SOCKET (taken over, and removed from the
     *  environment), the path in $DMABROKER_REMOTE, $XDG_RUNTIME_DIR/dmabroker/0, /run/dmabroker/0,
     *  whichever comes first. */
    const char* remote;
    const char* name;    /**< shown by `dmabrokerctl list`, at most 64 bytes; NULL: the program's name */
    uint64_t timeout_ns; /**< for every answer; 0: 30 s; DMABROKER_FOREVER: no limit */
    int manager;         /**< not 0: connect to the manager socket beside it (PATH.manager), which sees and
                              may revoke every image */
    uint32_t reserved;
} dmabroker_connect_options;
#define DMABROKER_CONNECT_OPTIONS_INIT {sizeof(dmabroker_connect_options), NULL, NULL, 0, 0, 0}

/** `options` may be NULL.
 *  Errors: NO_BROKER (nobody listens), TIMED_OUT, DISCONNECTED, PROTOCOL_VIOLATION (it is no broker), UNSUPPORTED_VERSION,
 *  DENIED (a manager's connection), BAD_DESCRIPTOR ($DMABROKER_SOCKET), or why the broker said goodbye (DENIED,
 *  QUOTA_EXCEEDED, SHUTTING_DOWN). Waits: `timeout_ns` for connecting, and as long for the answer. Threads: any; it may
 *  change the environment ($DMABROKER_SOCKET), which no other thread must read meanwhile. */
DMABROKER_API int dmabroker_connect(const dmabroker_connect_options* options, dmabroker_client** client,
                                    dmabroker_error* error);
/** Takes over a connected SEQPACKET socket (also on failure).
 *  Errors: BAD_DESCRIPTOR; TIMED_OUT and what follows it at dmabroker_connect. Waits: answer, 30 s. Threads: any. */
DMABROKER_API int dmabroker_connect_fd(int socket, const char* name, dmabroker_client** client, dmabroker_error* error);
/** Closes the connection. Its images become invalid for talking to the broker, but stay readable until
 *  each is closed. Operations that have not completed end without an event: their images are given back.
 *  NULL is ignored.
 *  Errors: none. Waits: for calls of its images in other threads. Threads: any, as the last call on the client itself. */
DMABROKER_API void dmabroker_client_close(dmabroker_client* client);

/** After DMABROKER_DISCONNECTED from any call, or the event: connects again to the same place and shows that it
 *  is the same client.
 *
 *  1: the broker knows this client. Images, tokens and leases are as before; what was outstanding is asked again
 *     under its number, so that nothing is done twice, and operations complete as if nothing had happened, or
 *     with DMABROKER_INTERRUPTED where the broker could not take them over.
 *  0: it does not; this is a new client. Images of before stay mapped, readable and importable, but calls that
 *     need the broker fail for them with DMABROKER_DISCONNECTED; operations complete with DMABROKER_INTERRUPTED.
 *     Tables must be stated again.
 *  Negative: still disconnected. Many clients lose their broker at the same moment: wait a random part of 0.1 s before
 *     the first attempt, and before each later one twice the last wait, up to 5 s, half of it random.
 *
 *  dmabroker_get_fd stays the same. An event DMABROKER_EVENT_DISCONNECTED that was not read yet is dropped.
 *  Errors: NO_BROKER, TIMED_OUT, DISCONNECTED: try again later. UNSUPPORTED: the socket was handed over
 *  (dmabroker_connect_fd, $DMABROKER_SOCKET), so there is no place to connect to. INVALID_ARGUMENT: the connection stands.
 *  PROTOCOL_VIOLATION, UNSUPPORTED_VERSION, DENIED, QUOTA_EXCEEDED, SHUTTING_DOWN: as at dmabroker_connect. Waits: `timeout_ns`
 * for connecting, and as long again for each of two answers. Threads: turns. */
DMABROKER_API int dmabroker_reconnect(dmabroker_client* client, dmabroker_error* error);

/** Readable when dmabroker_dispatch or dmabroker_next_event has something to do, events that were queued by another call
 *  included. The same number as long as the client lives. Borrowed, only to be waited for: an epoll instance.
 *  Errors: negative when out of descriptors. Waits: no. Threads: turns. */
DMABROKER_API int dmabroker_get_fd(dmabroker_client* client);
/** Reads what the broker sent. 0, or negative when the connection is gone.
 *  Errors: DISCONNECTED. Waits: no. Threads: turns. */
DMABROKER_API int dmabroker_dispatch(dmabroker_client* client, dmabroker_error* error);

enum dmabroker_event_type {
    DMABROKER_EVENT_IMAGE_REVOKED = 1,  /**< `image` was revoked: pixels stay, nobody new can open it */
    DMABROKER_EVENT_DISCONNECTED = 2,   /**< the broker said goodbye or vanished; `text` says why. Told behind all that
                                             came before, once: see dmabroker_reconnect */
    DMABROKER_EVENT_IMAGE_REPLACED = 3, /**< somebody joined who cannot use `image`; all can use its successor: see
                                             dmabroker_image_open_successor. `image` stays as it is */
    DMABROKER_EVENT_COMPLETED = 4       /**< `operation` has ended, with `result` */
};
typedef struct dmabroker_event {
    size_t struct_size;
    int type; /**< enum dmabroker_event_type */
    uint32_t reserved;
    dmabroker_image* image; /**< for IMAGE_REVOKED and IMAGE_REPLACED; for COMPLETED what the operation gave, or NULL: from
                                 now the caller's, to be closed */
    char text[256];         /**< for COMPLETED: of its error */
    uint64_t successor;     /**< for IMAGE_REPLACED: the new image's id */
    uint64_t request;       /**< for IMAGE_REPLACED: why, see dmabroker_why; for COMPLETED: the negotiation, 0: none */
    uint64_t operation;     /**< for COMPLETED, as its start returned it */
    void* user_data;        /**< for COMPLETED, as given to its start; for the image's events that of the image */
    int result;             /**< for COMPLETED: 0, or the negative errno that the blocking form would have returned */
    int code;               /**< for COMPLETED: its error's enum dmabroker_code, or a later broker's; 0: none */
    uint64_t cost_ns;       /**< for COMPLETED: of a refresh, what the copy took */
} dmabroker_event;
#define DMABROKER_EVENT_INIT {sizeof(dmabroker_event), 0, 0, NULL, {0}, 0, 0, 0, NULL, 0, 0, 0}
/** 1: `event` is filled; 0: none left. Never talks to the broker: call dmabroker_dispatch first. Events come in the
 *  order in which they arrived: none names an image before the call or the completion that gave it, and none
 *  one whose close has returned.
 *  Errors: negative for NULL and a wrong struct_size. Waits: no. Threads: turns. */
DMABROKER_API int dmabroker_next_event(dmabroker_client* client, dmabroker_event* event);

/** JSON: clients, images and exports (devices, formats) it may see; `id` 0: everything. The caller
 *  frees it with dmabroker_free.
 *  Errors: the broker's; NOT_FOUND. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_inspect(dmabroker_client* client, uint64_t id, char** json, dmabroker_error* error);
/** Ends a token and those minted by whoever opened the image with it. Needs a hold with MANAGE on the
 *  image, or a manager connection.
 *  Errors: the broker's; NOT_FOUND, also where the right is missing. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_revoke_token(dmabroker_client* client, const char* token, dmabroker_error* error);
/** Ends all tokens and the lease of an image and tells its holders. Rights as above.
 *  Errors: the broker's; NOT_FOUND, also where the right is missing. Waits: answer. Threads: turns. */
DMABROKER_API int dmabroker_revoke_image(dmabroker_client* client, uint64_t id, dmabroker_error* error);

#ifdef __cplusplus
}
#endif
#endif
