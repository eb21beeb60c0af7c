// SPDX-License-Identifier: MIT
// The name of a capability table. Cryptographic, because tables of one client serve others: nobody must be
// able to make another table with the same name.
#pragma once
#include "proto/base/result.hpp"
#include "proto/image/capabilities.hpp"

#include <span>

namespace dmb::wire {

/// SHA-256 of a table as it travels: whoever receives it does not need to understand all of it.
Digest digest_of(std::span<const std::byte> encoded_table);
/// Of a table that this side states; it must be canonical.
Result<Digest> digest_of(const Capabilities&);

} // namespace dmb::wire
