// SPDX-License-Identifier: MIT
// A saved State as bytes: what a broker leaves to the next one.
#pragma once
#include "daemon/core/state/saved.hpp"

#include <span>

namespace dmb {

Result<std::vector<std::byte>> encode_state(Saved);
/// Of bytes that nobody vouches for. Whether the values fit together is for State::load.
Result<Saved> decode_state(std::span<const std::byte>);

} // namespace dmb
