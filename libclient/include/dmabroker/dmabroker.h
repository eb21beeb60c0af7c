/* SPDX-License-Identifier: MIT */
/** @file
 * libdmabroker: share GPU and system-memory images between processes.
 *
 * One process allocates an image from the broker (or registers one it made) and hands a token to another, by whatever
 * means; the other opens the token and imports the image with EGL (dmabroker/egl.h), OpenGL memory objects
 * (dmabroker/gl.h), Vulkan (dmabroker/vulkan.h), CUDA (dmabroker/cuda.h) or the CPU (dmabroker/cpu.h). The library links
 * no GPU library: importers take your loader functions.
 *
 * This header has what most programs need: connect.h (connection, events), image.h (images, tokens), negotiate.h
 * (allocating, joining, and why), start.h (the same without waiting), cpu.h (mapping), and what these share, base.h and
 * colour.h. What programs can import is stated with dmabroker/capabilities.h.
 *
 * Units: pixels, bytes, nanoseconds. Text is UTF-8.
 *
 * Results: 0 or a positive number on success, a negative errno on failure. Where a function takes a `dmabroker_error *`,
 * it may be NULL; on failure it is filled with the error's code and one sentence that says what to do.
 *
 * Descriptors: a function borrows the descriptors passed to it unless it says otherwise; descriptors it returns stay the
 * library's unless it says otherwise. All are close-on-exec.
 *
 * Structures that may grow begin with `struct_size`: set it to sizeof the structure (the DMABROKER_*_INIT macros do).
 * A program that was built with a smaller one goes on as it was: what is behind its end is the default when it is read,
 * and is not written. A larger one than the library knows is read if what is behind is 0 (DMABROKER_UNSUPPORTED
 * otherwise), and filled as far as it is known. A size below that of the structure's first version is
 * DMABROKER_INVALID_ARGUMENT. Structures without it are final. Members called `reserved` must be 0
 * (DMABROKER_UNSUPPORTED otherwise).
 *
 * The library starts no thread and has no global state. A child made by fork must not use, nor close, what its parent got
 * from here, mappings excepted: it connects for itself.
 *
 * What every function's comment says last:
 *
 * Errors: the codes of enum dmabroker_code, without their prefix, beyond those that any function with an `error` has:
 * INVALID_ARGUMENT, UNSUPPORTED (a flag or member that this release does not know), OUT_OF_MEMORY and INTERNAL. "The
 * broker's" are DISCONNECTED once the connection has ended (see dmabroker_reconnect), TIMED_OUT, TOO_MANY_REQUESTS (also
 * without asking the broker, while 16 requests are unanswered, those that timed out or were cancelled included),
 * SHUTTING_DOWN, INTERRUPTED, and codes of a later broker that have no name here.
 *
 * Waits: "no"; "answer": it sends its packets and waits for each answer, at most `timeout_ns` of the connection
 * (TIMED_OUT; the request is cancelled, what it would have given is given back), while what else arrives is queued as
 * events; "driver": as long as the GPU driver that it calls.
 *
 * Threads: "any": every thread, whatever others do; "turns": every thread, but calls on one client, and those of its images
 * that ask the broker, take turns, so that one may also wait until another thread's has ended; "one": every thread, the
 * same object in one at a time; "context": the thread in which the API's context is current. Different clients, images,
 * mappings and imports may always be used by different threads. What closes may be called from every thread and does not
 * wait, but it must be the last use of what it closes.
 */
#ifndef DMABROKER_H
#define DMABROKER_H

#include <dmabroker/base.h>
#include <dmabroker/colour.h>
#include <dmabroker/connect.h>
#include <dmabroker/cpu.h>
#include <dmabroker/image.h>
#include <dmabroker/negotiate.h>
#include <dmabroker/start.h>

#endif
