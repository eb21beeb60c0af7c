// SPDX-License-Identifier: MIT
// The closed list of things that can go wrong, as they travel on the wire and through the C ABI.
// Values never change meaning; new ones are appended. System errors have no codes
// of their own: they become the domain error that they caused, or `internal`, with their text in its reason.
#pragma once
#include <cstdint>
#include <string_view>

namespace dmb {

enum class Errc : std::uint16_t {
    protocol_violation = 1, ///< malformed bytes, wrong number of descriptors: the connection ends
    unsupported_version = 2,
    unsupported = 3,      ///< unknown request or feature; the connection stays
    invalid_argument = 4, ///< a field has a value that no request may have
    bad_size = 5,         ///< width or height is 0 or beyond the limit
    unknown_format = 6,   ///< the fourcc is not in the format table
    unknown_modifier = 7, ///< no device of this machine knows the modifier
    bad_layout = 8,       ///< planes, strides or offsets contradict the format or the memory's real size
    bad_descriptor = 9,   ///< not a dma-buf or sealed memfd, or opened without the needed access
    not_found = 10,       ///< no such token, handle or image (as far as this client may know)
    token_expired = 11,
    token_revoked = 12,
    token_used = 13, ///< a one-shot token was opened before
    denied = 14,     ///< the right is missing
    quota_exceeded = 15,
    no_backend = 16,     ///< nothing on this machine can serve the request; `why` says what was in the way
    backend_failed = 17, ///< a driver refused, crashed or answered nonsense
    timed_out = 18,
    out_of_memory = 19,
    too_many_requests = 20,  ///< this client guesses tokens, does not read its replies, or has 16 requests waiting
    already_registered = 21, ///< the memory belongs to an image of somebody else
    no_broker = 22,          ///< client side: nobody listens on the socket
    disconnected = 23,       ///< client side: the broker went away or cut the connection
    import_refused = 24,     ///< client side: importing this would crash or mislead the driver
    import_failed = 25,      ///< client side: the driver said no
    internal = 26,
    shutting_down = 27,
    cancelled = 28,        ///< whoever asked took it back
    broker_restarted = 29, ///< the token is of an earlier life of the broker; ask for a new one
    interrupted = 30,      ///< the broker restarted while it served this, or what read its descriptors ended; ask again
};

constexpr bool is_valid(Errc e) { return e >= Errc::protocol_violation && e <= Errc::interrupted; }

/// The word used in logs, JSON and the documentation, e.g. "quota_exceeded".
std::string_view name(Errc);
/// The negative errno under which the C ABI reports it, e.g. -EDQUOT.
int negative_errno(Errc);

} // namespace dmb
