// SPDX-License-Identifier: MIT
// TokenTable, a member of State: lookup, by object, by time. The hash is keyed with random bits and mixes all bytes, so
// that how long a wrong guess takes says nothing about how much of it was right. Ended tokens are remembered in a ring,
// for an honest error to those who still have them. Payments, lineages and what is due are for State (tokens.cpp).
#include "daemon/core/state/token_table.hpp"

#include "daemon/core/state/life.hpp"

#include <cassert>
#include <cstring>

namespace dmb {
namespace {

constexpr std::size_t most_ended = 1024;
__extension__ using Wide = unsigned __int128;

} // namespace

Error describe(TokenEnd why)
{
    switch (why) {
    case TokenEnd::expired: return {Errc::token_expired, "the token has expired; ask whoever gave it for a new one"};
    case TokenEnd::revoked:
        return {Errc::token_revoked, "the token was revoked by somebody with the right to manage the image"};
    case TokenEnd::used: return {Errc::token_used, "the token was for one use and has been used; ask for a new one"};
    case TokenEnd::object_gone:
        return {Errc::not_found, "the image of this token is gone: its last holder left and no lease kept it"};
    }
    return {};
}

// Before the first client; a machine without entropy waits here, as getrandom(2) does.
TokenTable::Hash TokenTable::Hash::with_random_key()
{
    Hash hash{};
    for (std::uint64_t& part : hash.key) {
        const Result<std::uint64_t> random = make_key();
        assert(random);
        part = *random;
    }
    return hash;
}

std::size_t TokenTable::Hash::operator()(const Token& token) const
{
    std::uint64_t half[2];
    std::memcpy(half, token.bytes.data(), sizeof half);
    const auto product = static_cast<Wide>(half[0] ^ key[0]) * ((half[1] ^ key[1]) | 1);
    return static_cast<std::size_t>(product >> 64) ^ static_cast<std::size_t>(product);
}

void TokenTable::link(Entry& entry)
{
    std::vector<Token>& tokens = by_object_[entry.record.object];
    entry.position = tokens.size();
    tokens.push_back(entry.record.token);
}

void TokenTable::unlink(const Entry& entry)
{
    const auto found = by_object_.find(entry.record.object);
    std::vector<Token>& tokens = found->second;
    if (entry.position + 1 != tokens.size()) {
        tokens[entry.position] = tokens.back();
        tokens_.at(tokens.back()).position = entry.position;
    }
    tokens.pop_back();
    if (tokens.empty()) by_object_.erase(found);
}

void TokenTable::add(TokenRecord record)
{
    const Token token = record.token;
    if (record.expires != never) expiries_.insert({record.expires, token});
    const auto [added, is_new] = tokens_.try_emplace(token, std::move(record), 0);
    assert(is_new);
    link(added->second);
}

const TokenRecord* TokenTable::find(const Token& token) const
{
    const auto found = tokens_.find(token);
    return found == tokens_.end() ? nullptr : &found->second.record;
}

const EndedToken* TokenTable::find_ended(const Token& token) const
{
    const auto found = ended_.find(token);
    return found == ended_.end() ? nullptr : &found->second;
}

void TokenTable::lead(Token token, const ObjectId& object)
{
    Entry& entry = tokens_.at(token);
    unlink(entry);
    entry.record.object = object;
    link(entry);
}

LineageId TokenTable::end(Token token, TokenEnd why)
{
    const auto found = tokens_.find(token);
    const TokenRecord& record = found->second.record;
    if (record.expires != never) expiries_.erase({record.expires, token});
    unlink(found->second);
    restore({token, record.lineage, record.object, why});
    tokens_.erase(found);
    if (ended_order_.size() <= most_ended) return {};
    const auto oldest = ended_.find(ended_order_.front());
    const LineageId forgotten = oldest->second.lineage;
    ended_.erase(oldest);
    ended_order_.pop_front();
    return forgotten;
}

void TokenTable::restore(const EndedToken& ended)
{
    ended_.insert_or_assign(ended.token, ended);
    ended_order_.push_back(ended.token);
}

const std::vector<Token>& TokenTable::of(const ObjectId& object) const
{
    static const std::vector<Token> none;
    const auto found = by_object_.find(object);
    return found == by_object_.end() ? none : found->second;
}

std::vector<TokenRecord> TokenTable::all() const
{
    std::vector<TokenRecord> out;
    for (const auto& [_, entry] : tokens_) out.push_back(entry.record);
    return out;
}

std::vector<EndedToken> TokenTable::all_ended() const
{
    std::vector<EndedToken> out;
    for (const Token& token : ended_order_) out.push_back(ended_.at(token));
    return out;
}

} // namespace dmb
