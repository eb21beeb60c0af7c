// SPDX-License-Identifier: MIT
// The capability tables that clients stated. One copy per content: a second client with the same driver states
// its digest and is known. A table lives as long as somebody who stated it, or an image or a decision that was
// negotiated with it; whoever stated it first pays until then.
#pragma once
#include "daemon/core/deciding/party.hpp"
#include "daemon/policy/quota.hpp"

#include <unordered_map>
#include <vector>

namespace dmb {

struct DigestHash {
    std::size_t operator()(const Digest&) const;
};

class Tables {
public:
    /// Null when nobody has stated it, or those who did are gone.
    TablePointer find(const Digest&) const;
    /// `digest` is the table's, `charge` what it costs (cost_of_table). It must not be there yet.
    TablePointer add(const Digest& digest, Capabilities table, Charge charge);

private:
    std::unordered_map<Digest, std::weak_ptr<const Capabilities>, DigestHash> tables_;
    std::size_t purge_at_ = 64;
};

Amount cost_of_table(std::size_t rows);

/// What one client stated, and what it has sent of the table that it is stating.
struct StatedTables {
    struct Entry {
        TablePointer table;
        Charge charge; ///< empty for whoever pays for the table itself
    };
    std::vector<Entry> tables;
    Digest digest{};                ///< of the one that is being stated
    std::uint32_t size = 0;         ///< bytes of that; 0: none
    std::vector<std::byte> partial; ///< what came of them
    Charge partial_charge;          ///< for all that are expected
};

/// Adds a part. Fails when it does not follow the one before; then the whole table must be sent again.
Result<> add_part(StatedTables&, const wire::DefineCapabilities&);

} // namespace dmb
