// SPDX-License-Identifier: MIT
// One table: the word and the errno of every domain error, in the order of the enum, which the compiler checks. The
// errno is for C callers who switch on it; where several errors share one, dmabroker_code_name() tells them apart. A
// code of a newer peer is "unknown" and EIO.
#include "proto/base/errc.hpp"

#include <array>
#include <cerrno>

namespace dmb {
namespace {

struct Row {
    Errc code;
    std::string_view name;
    int error_number;
};

constexpr std::array rows{
    Row{Errc::protocol_violation, "protocol_violation", EPROTO},
    Row{Errc::unsupported_version, "unsupported_version", EPROTONOSUPPORT},
    Row{Errc::unsupported, "unsupported", EOPNOTSUPP},
    Row{Errc::invalid_argument, "invalid_argument", EINVAL},
    Row{Errc::bad_size, "bad_size", ERANGE},
    Row{Errc::unknown_format, "unknown_format", EINVAL},
    Row{Errc::unknown_modifier, "unknown_modifier", EINVAL},
    Row{Errc::bad_layout, "bad_layout", EINVAL},
    Row{Errc::bad_descriptor, "bad_descriptor", EBADF},
    Row{Errc::not_found, "not_found", ENOENT},
    Row{Errc::token_expired, "token_expired", ENOENT},
    Row{Errc::token_revoked, "token_revoked", ENOENT},
    Row{Errc::token_used, "token_used", ENOENT},
    Row{Errc::denied, "denied", EACCES},
    Row{Errc::quota_exceeded, "quota_exceeded", EDQUOT},
    Row{Errc::no_backend, "no_backend", ENODEV},
    Row{Errc::backend_failed, "backend_failed", EIO},
    Row{Errc::timed_out, "timed_out", ETIMEDOUT},
    Row{Errc::out_of_memory, "out_of_memory", ENOMEM},
    Row{Errc::too_many_requests, "too_many_requests", EBUSY},
    Row{Errc::already_registered, "already_registered", EEXIST},
    Row{Errc::no_broker, "no_broker", ECONNREFUSED},
    Row{Errc::disconnected, "disconnected", ECONNRESET},
    Row{Errc::import_refused, "import_refused", ENOTSUP},
    Row{Errc::import_failed, "import_failed", EIO},
    Row{Errc::internal, "internal", EIO},
    Row{Errc::shutting_down, "shutting_down", ESHUTDOWN},
    Row{Errc::cancelled, "cancelled", ECANCELED},
    Row{Errc::broker_restarted, "broker_restarted", ESTALE},
    Row{Errc::interrupted, "interrupted", EAGAIN},
};

/// Of a newer peer.
constexpr Row unknown{Errc{}, "unknown", EIO};
constexpr const Row& row(Errc code) { return is_valid(code) ? rows[static_cast<std::size_t>(code) - 1] : unknown; }

constexpr bool in_order()
{
    for (std::size_t i = 0; i < rows.size(); ++i)
        if (static_cast<std::size_t>(rows[i].code) != i + 1) return false;
    return true;
}
static_assert(in_order());
static_assert(!is_valid(static_cast<Errc>(rows.size() + 1)));

} // namespace

std::string_view name(Errc code) { return row(code).name; }
int negative_errno(Errc code) { return -row(code).error_number; }

} // namespace dmb
