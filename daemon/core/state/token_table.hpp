// SPDX-License-Identifier: MIT
// All tokens that open something now, by object and by the time they end, and the last ones that no longer do, with
// the reason. Every end of one token takes the same time, however many there are.
#pragma once
#include "daemon/core/state/records.hpp"

#include <deque>
#include <set>

namespace dmb {

class TokenTable {
public:
    /// Its token must be new.
    void add(TokenRecord record);
    /// Null when it opens nothing (any more). Valid until the table changes.
    const TokenRecord* find(const Token&) const;
    /// Null when unknown, or forgotten.
    const EndedToken* find_ended(const Token&) const;
    /// Returns the lineage of the ended one that is forgotten for it; 0: none.
    LineageId end(Token, TokenEnd);
    /// From now on it opens that object; it must be alive.
    void lead(Token, const ObjectId&);
    /// Of an earlier life.
    void restore(const EndedToken&);

    std::size_t size() const { return tokens_.size(); }
    /// In no particular order.
    const std::vector<Token>& of(const ObjectId&) const;
    /// The next that ends by time; null: none does.
    const Token* next_to_expire() const { return expiries_.empty() ? nullptr : &expiries_.begin()->second; }
    Instant deadline() const { return expiries_.empty() ? never : expiries_.begin()->first; }
    /// All, alive and ended, these oldest first.
    std::vector<TokenRecord> all() const;
    std::vector<EndedToken> all_ended() const;

private:
    struct Hash {
        static Hash with_random_key();
        std::uint64_t key[2];
        std::size_t operator()(const Token&) const;
    };
    struct Entry {
        TokenRecord record;
        std::size_t position; ///< in by_object_
    };
    struct Earlier {
        bool operator()(const std::pair<Instant, Token>& a, const std::pair<Instant, Token>& b) const
        {
            return a.first != b.first ? a.first < b.first : a.second.bytes < b.second.bytes;
        }
    };
    void link(Entry&);
    void unlink(const Entry&);

    std::unordered_map<Token, Entry, Hash> tokens_{64, Hash::with_random_key()};
    std::unordered_map<ObjectId, std::vector<Token>> by_object_;
    std::set<std::pair<Instant, Token>, Earlier> expiries_;
    std::unordered_map<Token, EndedToken, Hash> ended_{64, Hash::with_random_key()};
    std::deque<Token> ended_order_;
};

/// The error for whoever still has an ended token.
Error describe(TokenEnd);

} // namespace dmb
