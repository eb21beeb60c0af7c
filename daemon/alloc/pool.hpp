// SPDX-License-Identifier: MIT
// Freed memory waiting for the next image of the same shape. Only memory that nobody holds any more is
// kept, for a short while. It changes hands only where nobody who had it can still reach it, and is cleared first.
#pragma once
#include "daemon/alloc/allocated.hpp"
#include "proto/base/instant.hpp"
#include "proto/inspect/snapshot.hpp"
#include "proto/request/request.hpp"

#include <list>
#include <optional>
#include <unordered_map>

namespace dmb {

class Pool {
public:
    /// Who had the memory of an image that has ended.
    struct Past {
        ClientId owner;          ///< 0: gone
        bool was_shared = false; ///< others had it, too
        bool may_reopen = true;  ///< one of them may open its memfd anew (Peer::may_reopen)
    };

    explicit Pool(std::uint64_t limit_bytes) : limit_(limit_bytes) {}

    /// Memory for `spec` on that device and backend, or nothing. Pixels are undefined when it was this
    /// client's own and nobody else ever had it, else zero.
    std::optional<Allocated> take(ClientId, const Exporter&, const AllocateSpec&);
    /// Keeps the memory if it may serve somebody again and the kernel proves it unshared, else drops it.
    void put(const Past&, Allocated, Instant now);
    /// The client is gone: nobody can claim its memory uncleared, and what may not change hands goes.
    void forget(ClientId);
    bool empty() const { return entries_.empty(); }
    PoolInfo info() const;
    Instant deadline() const;
    void trim(Instant now);

private:
    struct Entry {
        Allocated memory;
        ClientId owner;          ///< who may have it uncleared; 0: nobody
        bool for_others = false; ///< who get it cleared
        Instant since;
        std::size_t shape;
    };
    using Entries = std::list<Entry>; ///< oldest first
    using Shapes = std::unordered_multimap<std::size_t, Entries::iterator>;

    Shapes::iterator find(ClientId, std::size_t shape, const Exporter&, const AllocateSpec&);
    Allocated remove(Shapes::iterator);
    Allocated remove(Entries::iterator);

    std::uint64_t limit_;
    std::uint64_t bytes_ = 0;
    Entries entries_;
    Shapes shapes_;
};

} // namespace dmb
