// SPDX-License-Identifier: MIT
// MemoryIndex knows memory by its identity in the kernel (mount, inode), not by descriptor: a duplicate,
// a reopened or a re-exported descriptor is the same memory.
#include "daemon/core/state/registry.hpp"

#include <cassert>

namespace dmb {

bool MemoryIndex::may_register(const MemoryKeys& keys, ClientId client) const
{
    for (const MemoryKey& key : keys)
        if (const auto found = entries_.find(key); found != entries_.end() && found->second.client != client) return false;
    return true;
}

void MemoryIndex::add(const MemoryKeys& keys, ClientId client)
{
    for (const MemoryKey& key : keys) {
        Entry& entry = entries_[key];
        entry.client = client;
        ++entry.images;
    }
}

void MemoryIndex::remove(const MemoryKeys& keys)
{
    for (const MemoryKey& key : keys) {
        const auto found = entries_.find(key);
        assert(found != entries_.end());
        if (--found->second.images == 0) entries_.erase(found);
    }
}

} // namespace dmb
