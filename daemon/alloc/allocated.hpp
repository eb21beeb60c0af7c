// SPDX-License-Identifier: MIT
// Memory as a backend hands it to the broker: described, with descriptors, and with what is needed
// later to prove that nobody holds it any more.
#pragma once
#include "proto/image/image.hpp"

#include <cstddef>

namespace dmb {

/// Names one memory object in the kernel, whatever descriptor leads to it.
struct MemoryKey {
    std::uint64_t mount = 0;
    std::uint64_t inode = 0;
    friend bool operator==(const MemoryKey&, const MemoryKey&) = default;
};
using MemoryKeys = BoundedVector<MemoryKey, max_planes>;

struct Allocated {
    ImageDesc desc;
    ImageFds fds;                     ///< what clients get duplicates of, one per memory
    UniqueFd keeper;                  ///< memfd only: an open file that never leaves the broker
    MemoryKeys keys;                  ///< one per memory; empty for opaque memory, which has no identity
    std::uint64_t unshared_count = 0; ///< dma-buf: references while only the broker had it; 0: unknown
    bool contents_written = false;

    std::uint32_t fd_count() const { return static_cast<std::uint32_t>(fds.size()) + (keeper ? 1u : 0u); }
};

} // namespace dmb

template <> struct std::hash<dmb::MemoryKey> {
    std::size_t operator()(const dmb::MemoryKey& key) const { return key.inode * 0x9e3779b97f4a7c15 ^ key.mount; }
};
