// SPDX-License-Identifier: MIT
// One life of a broker: from its start to its end, however that comes.
#pragma once
#include "proto/base/bounded.hpp"
#include "proto/base/result.hpp"
#include "proto/image/types.hpp"

#include <cerrno>
#include <sys/random.h>

namespace dmb {

struct Life {
    std::uint64_t first_id = 1; ///< numbers of clients, images and decisions begin here
    std::uint64_t key = 0;
    BoundedVector<std::uint64_t, 8> earlier; ///< keys of lives before
};

/// Random bits from the kernel; there is no other generator to fall back on.
inline Result<Token> make_token(const Life&)
{
    Token token;
    ssize_t got;
    do got = ::getrandom(token.bytes.data(), token.bytes.size(), 0);
    while (got < 0 && errno == EINTR);
    if (got == static_cast<ssize_t>(token.bytes.size())) return token;
    return fail_errno(Errc::internal, "getrandom", got < 0 ? errno : EIO);
}

inline bool is_from_earlier_life(const Life&, const Token&) { return false; }

} // namespace dmb
