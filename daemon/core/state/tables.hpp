// SPDX-License-Identifier: MIT
// The capability tables that clients stated. One copy per content: a second client with the same driver states
// its digest and is known. A table lives as long as somebody who stated it, or an image or a decision that was
// negotiated with it; whoever stated it first pays until then.
#pragma once
#include "daemon/core/deciding/party.hpp"
#include "daemon/policy/quota.hpp"

#include <span>
#include <unordered_map>
#include <vector>

namespace dmb {

struct DigestHash {
    std::size_t operator()(const Digest&) const;
};

Amount cost_of_table(std::size_t rows);

class Tables {
public:
    /// `accounts`: null where nobody pays.
    explicit Tables(std::shared_ptr<Accounts> accounts = {}) : accounts_(std::move(accounts)) {}

    /// Null when nobody has stated it, or those who did are gone.
    TablePointer find(const Digest&) const;
    /// Who pays for a table that is there.
    Payer payer(const Digest&) const;
    /// `digest` is the table's. It must not be there yet, and what it costs be taken.
    TablePointer add(const Digest& digest, Capabilities table, const Payer&);
    std::vector<Digest> all() const;

private:
    struct Kept {
        Kept(Capabilities whole, const Payer& who, std::shared_ptr<Accounts> where)
            : table(std::move(whole)), payer(who), accounts(std::move(where))
        {
        }
        Kept(const Kept&) = delete;
        Kept& operator=(const Kept&) = delete;
        ~Kept();
        Capabilities table;
        Payer payer;
        std::shared_ptr<Accounts> accounts;
    };
    std::shared_ptr<Accounts> accounts_;
    std::unordered_map<Digest, std::weak_ptr<const Kept>, DigestHash> tables_;
    std::size_t purge_at_ = 64;
};

/// Of a table as bytes. Parts follow each other; that at 0 begins anew.
struct TablePart {
    Digest digest{};
    std::uint32_t size = 0; ///< bytes of the whole table, at most limits::table_bytes
    std::uint32_t offset = 0;
    std::span<const std::byte> bytes;
};

/// A table that a client is stating, as far as it has come.
struct PartialTable {
    Digest digest{};
    std::uint32_t size = 0; ///< bytes of the whole; 0: none is being stated
    std::vector<std::byte> bytes;
};

/// Adds a part. Fails when it does not follow the one before; then the whole table must be sent again.
Result<> add_part(PartialTable&, const TablePart&);

} // namespace dmb
