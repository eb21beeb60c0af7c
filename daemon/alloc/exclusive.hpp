// SPDX-License-Identifier: MIT
// Does anybody but the broker still hold this memory? Asked before memory may serve another image.
#pragma once
#include "daemon/alloc/allocated.hpp"

namespace dmb {

/// Takes the memory back from circulation: true when the kernel proves that no descriptor, mapping,
/// import or unread packet of it exists outside the broker. On true it is ready to be handed out again. O_PATH
/// descriptors and pinned pages are not seen: pool.cpp says what follows.
bool reclaim(Allocated&);

/// Zeroes a memfd of the broker. Its pages are given back and new ones appear: a peer that kept page references
/// past its descriptors (a udmabuf of its own, a pipe filled by splice(2)) sees nothing of the next owner.
bool clear(const Allocated&);

} // namespace dmb
