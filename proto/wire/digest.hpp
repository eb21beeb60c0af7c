// SPDX-License-Identifier: MIT
// The name of a capability table. Cryptographic, because tables of one client serve others: nobody must be
// able to make another table with the same name.
#pragma once
#include "proto/base/result.hpp"
#include "proto/image/capabilities.hpp"

namespace dmb::wire {

/// SHA-256 over the table as encoded on the wire. The table must be canonical.
Result<Digest> digest_of(const Capabilities&);

} // namespace dmb::wire
