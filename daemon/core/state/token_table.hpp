// SPDX-License-Identifier: MIT
// All tokens that open something now, and the last ones that no longer do, with the reason.
#pragma once
#include "daemon/policy/quota.hpp"
#include "proto/base/instant.hpp"
#include "proto/base/strong.hpp"
#include "proto/image/types.hpp"

#include <deque>
#include <set>
#include <unordered_map>
#include <vector>

namespace dmb {

/// Where a token came from: what remains of it for those who opened or were given something through
/// it, also when it has ended. Revoking a token reaches all its descendants.
struct Lineage {
    std::shared_ptr<const Lineage> parent; ///< null: minted by whoever made the image
    std::uint32_t depth = 0;
    mutable bool revoked = false;
};
using LineagePointer = std::shared_ptr<const Lineage>;
/// How often rights may be passed on from one to the next.
inline constexpr std::uint32_t most_depth = 64;

bool is_revoked(const Lineage*);

enum class TokenEnd : std::uint8_t { expired, revoked, used, image_gone };

struct TokenRecord {
    LineagePointer lineage;
    ImageId image;
    Rights rights;
    bool one_shot = false;
    bool enforced = false;
    Instant expires = never;
    Charge charge;
};

class TokenTable {
public:
    TokenTable();

    Result<Token> add(TokenRecord record);
    /// Null when it opens nothing (any more). Valid until the table changes.
    const TokenRecord* find(const Token&) const;
    /// Why a token that find() does not know opens nothing: the error for its holder. Errc::not_found
    /// also for tokens that never were; `existed` tells.
    Error explain(const Token&, bool& existed) const;
    /// Of a token, alive or ended lately; null when unknown.
    LineagePointer lineage_of(const Token&) const;
    /// The image of a token, alive or ended lately; 0 when unknown.
    ImageId image_of(const Token&) const;
    void end(const Token&, TokenEnd);
    /// From now on it opens that image; it must be alive.
    void lead(const Token&, ImageId);

    std::size_t size() const { return tokens_.size(); }
    Instant deadline() const { return expiries_.empty() ? never : expiries_.begin()->first; }
    /// Ends and returns those whose time has come, with their images.
    std::vector<std::pair<ImageId, Token>> expire(Instant now);

private:
    struct Hash {
        std::uint64_t key[2];
        std::size_t operator()(const Token&) const;
    };
    struct Ended {
        LineagePointer lineage;
        ImageId image;
        TokenEnd why;
    };
    using Expiry = std::pair<Instant, std::array<std::uint8_t, 16>>;

    Hash hash_;
    std::unordered_map<Token, TokenRecord, Hash> tokens_;
    std::unordered_map<Token, Ended, Hash> ended_;
    std::deque<Token> ended_order_;
    std::set<Expiry> expiries_;
};

} // namespace dmb
