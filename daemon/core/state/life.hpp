// SPDX-License-Identifier: MIT
// One run of the broker, from its start to its end, among the others: its numbers repeat none of theirs, and a token says
// whether it is of this life. Who keeps what lives must know of each other is net/life_file.
#pragma once
#include "proto/base/bounded.hpp"
#include "proto/base/result.hpp"
#include "proto/image/types.hpp"

namespace dmb {

struct Life {
    std::uint64_t first_id = 1; ///< clients, images and decisions are numbered from here
    std::uint64_t key = 0;      ///< marks its tokens; secret
    BoundedVector<std::uint64_t, 8> earlier;
};

/// 64 random bits from the kernel.
Result<std::uint64_t> make_key();
/// Unguessable, and random bytes to whoever does not know the key.
Result<Token> make_token(const Life&);
/// A token that one of the earlier lives made. One in 8,192 of those that nobody made passes for such a one.
bool is_from_earlier_life(const Life&, const Token&);

} // namespace dmb
