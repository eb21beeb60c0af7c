// SPDX-License-Identifier: MIT
// Tokens are 128 random bits from the kernel; there is no fallback generator. The hash is keyed and mixes
// all bytes, so that how long a wrong guess takes says nothing about how much of it was right. Ended
// tokens are remembered in a ring, for an honest error to those who still have them.
#include "daemon/core/state/token_table.hpp"

#include <cassert>
#include <cerrno>
#include <cstring>
#include <sys/random.h>

namespace dmb {
namespace {

constexpr std::size_t most_ended = 1024;
__extension__ using Wide = unsigned __int128;

Result<> fill_random(void* bytes, std::size_t size)
{
    ssize_t got;
    do got = ::getrandom(bytes, size, 0);
    while (got < 0 && errno == EINTR);
    if (got == static_cast<ssize_t>(size)) return {};
    return fail_errno(Errc::internal, "getrandom", got < 0 ? errno : EIO);
}

Error describe(TokenEnd why)
{
    switch (why) {
    case TokenEnd::expired: return {Errc::token_expired, "the token has expired; ask whoever gave it for a new one"};
    case TokenEnd::revoked:
        return {Errc::token_revoked, "the token was revoked by somebody with the right to manage the image"};
    case TokenEnd::used: return {Errc::token_used, "the token was for one use and has been used; ask for a new one"};
    case TokenEnd::image_gone:
        return {Errc::not_found, "the image of this token is gone: its last holder left and no lease kept it"};
    }
    return {};
}

} // namespace

bool is_revoked(const Lineage* lineage)
{
    for (; lineage; lineage = lineage->parent.get())
        if (lineage->revoked) return true;
    return false;
}

TokenTable::TokenTable() : tokens_(0, hash_), ended_(0, hash_)
{
    // Before the first client; a machine without entropy waits here, as getrandom(2) does.
    const Result<> seeded = fill_random(&hash_, sizeof hash_);
    assert(seeded);
    tokens_ = decltype(tokens_)(64, hash_);
    ended_ = decltype(ended_)(64, hash_);
}

std::size_t TokenTable::Hash::operator()(const Token& token) const
{
    std::uint64_t half[2];
    std::memcpy(half, token.bytes.data(), sizeof half);
    const auto product = static_cast<Wide>(half[0] ^ key[0]) * ((half[1] ^ key[1]) | 1);
    return static_cast<std::size_t>(product >> 64) ^ static_cast<std::size_t>(product);
}

Result<Token> TokenTable::add(TokenRecord record)
{
    Token token;
    TRY(fill_random(token.bytes.data(), token.bytes.size()));
    if (record.expires != never) expiries_.insert({record.expires, token.bytes});
    [[maybe_unused]] const bool added = tokens_.emplace(token, std::move(record)).second;
    assert(added);
    return token;
}

const TokenRecord* TokenTable::find(const Token& token) const
{
    const auto found = tokens_.find(token);
    return found == tokens_.end() ? nullptr : &found->second;
}

Error TokenTable::explain(const Token& token, bool& existed) const
{
    const auto found = ended_.find(token);
    existed = found != ended_.end();
    if (existed) return describe(found->second.why);
    return {Errc::not_found, "no image has this token; check that it was copied whole"};
}

LineagePointer TokenTable::lineage_of(const Token& token) const
{
    if (const TokenRecord* record = find(token)) return record->lineage;
    const auto found = ended_.find(token);
    return found == ended_.end() ? nullptr : found->second.lineage;
}

ImageId TokenTable::image_of(const Token& token) const
{
    if (const TokenRecord* record = find(token)) return record->image;
    const auto found = ended_.find(token);
    return found == ended_.end() ? ImageId{} : found->second.image;
}

void TokenTable::lead(const Token& token, ImageId image) { tokens_.at(token).image = image; }

void TokenTable::end(const Token& token, TokenEnd why)
{
    const auto found = tokens_.find(token);
    if (found == tokens_.end()) return;
    const TokenRecord& record = found->second;
    if (record.expires != never) expiries_.erase({record.expires, token.bytes});
    ended_.insert_or_assign(token, Ended{record.lineage, record.image, why});
    ended_order_.push_back(token);
    tokens_.erase(found);
    if (ended_order_.size() <= most_ended) return;
    ended_.erase(ended_order_.front());
    ended_order_.pop_front();
}

std::vector<std::pair<ImageId, Token>> TokenTable::expire(Instant now)
{
    std::vector<std::pair<ImageId, Token>> out;
    while (!expiries_.empty() && expiries_.begin()->first <= now) {
        const Token token{expiries_.begin()->second};
        out.emplace_back(tokens_.at(token).image, token);
        end(token, TokenEnd::expired);
    }
    return out;
}

} // namespace dmb
