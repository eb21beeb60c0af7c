// SPDX-License-Identifier: MIT
// The part of State that is about tokens and lineages. A lineage remains as long as a token, a hold or a child refers
// to it. Thousands of tokens may end at one moment: what cannot be done at once is noted per object and swept in
// portions (Broker::expire), and live() judges each token as if that were done. So nobody ever opens anything with a
// token that is due.
#include "daemon/core/state/state.hpp"

#include <algorithm>
#include <cassert>

namespace dmb {
namespace {

/// Ends of one request that nobody else feels.
constexpr std::size_t at_once = 1000;

} // namespace

// --- lineages --------------------------------------------------------------------------------------

bool State::is_revoked(LineageId id) const
{
    while (id != LineageId{}) {
        const LineageRecord& lineage = lineages_.at(id);
        if (lineage.revoked) return true;
        id = lineage.parent;
    }
    return false;
}

std::uint32_t State::depth(LineageId id) const { return lineages_.at(id).depth; }

void State::use(LineageId id)
{
    if (id != LineageId{}) ++lineages_.at(id).uses;
}

void State::drop(LineageId id)
{
    while (id != LineageId{}) {
        const auto found = lineages_.find(id);
        if (--found->second.uses > 0) return;
        id = found->second.parent;
        lineages_.erase(found);
    }
}

// --- tokens ----------------------------------------------------------------------------------------

Result<Token> State::add_token(TokenRecord record, LineageId parent)
{
    record.token = TRY(make_token(life_));
    TRY(accounts_->take(record.payer, {.tokens = 1}));
    record.lineage = LineageId{++last_lineage_};
    LineageRecord lineage;
    static_cast<Lineage&>(lineage) = {record.lineage, parent, parent == LineageId{} ? 0 : depth(parent) + 1, false};
    lineages_.emplace(record.lineage, lineage);
    use(parent);
    use(record.lineage);
    const Token token = record.token;
    const std::uint64_t number = record.lineage.value;
    tokens_.add(std::move(record));
    changed(Change::What::token, number);
    return token;
}

void State::end_token(Token token, TokenEnd why)
{
    const TokenRecord& record = *tokens_.find(token);
    const std::uint64_t number = record.lineage.value;
    accounts_->give_back(record.payer, {.tokens = 1});
    drop(tokens_.end(token, why));
    changed(Change::What::token, number);
}

void State::apply(const Ending& ending, Token token)
{
    if (!ending.to) return end_token(token, ending.why);
    tokens_.lead(token, *ending.to);
    changed(Change::What::token, tokens_.find(token)->lineage.value);
}

const TokenRecord* State::live(const Token& token, Instant now)
{
    const TokenRecord* record = tokens_.find(token);
    while (record && !endings_.empty()) {
        const auto ending = endings_.find(record->object);
        if (ending == endings_.end()) break;
        apply(ending->second, token);
        record = tokens_.find(token);
    }
    if (!record) return nullptr;
    const bool expired = record->expires <= now;
    if (!expired && !is_revoked(record->lineage)) return record;
    end_token(token, expired ? TokenEnd::expired : TokenEnd::revoked);
    return nullptr;
}

/// Whoever was on the way to this object goes where its own tokens go.
void State::begin_ending(const ObjectId& from, const Ending& ending)
{
    revocations_.erase(from);
    for (auto& [_, other] : endings_)
        if (other.to == from) other = ending;
    if (tokens_.of(from).empty()) return;
    endings_.try_emplace(from, ending);
    sweep_endings(at_once);
}

void State::end_tokens(const ObjectId& object, TokenEnd why) { begin_ending(object, {std::nullopt, why}); }
void State::lead_tokens(const ObjectId& object, const ObjectId& to) { begin_ending(object, {to, TokenEnd::object_gone}); }

void State::revoke(LineageId id, const ObjectId& object)
{
    lineages_.at(id).revoked = true;
    changed(Change::What::token, id.value);
    revocations_[object] = tokens_.of(object).size();
    sweep_revoked(at_once);
}

// --- portions --------------------------------------------------------------------------------------

std::size_t State::sweep(Instant now, std::size_t most)
{
    while (most > 0 && tokens_.deadline() <= now) {
        end_token(*tokens_.next_to_expire(), TokenEnd::expired);
        --most;
    }
    return sweep_revoked(sweep_endings(most));
}

std::size_t State::sweep_endings(std::size_t most)
{
    while (most > 0 && !endings_.empty()) {
        const auto first = endings_.begin();
        const std::vector<Token>& tokens = tokens_.of(first->first);
        if (!tokens.empty()) {
            apply(first->second, tokens.back());
            --most;
        }
        if (tokens_.of(first->first).empty()) endings_.erase(first);
    }
    return most;
}

/// From the back: ending a token moves the list's last one into its place, and whatever is behind `left` was looked at already.
std::size_t State::sweep_revoked(std::size_t most)
{
    while (most > 0 && !revocations_.empty()) {
        auto& [object, left] = *revocations_.begin();
        const std::vector<Token>& tokens = tokens_.of(object);
        left = std::min(left, tokens.size());
        if (left > 0) {
            const Token token = tokens[--left];
            if (is_revoked(tokens_.find(token)->lineage)) end_token(token, TokenEnd::revoked);
            --most;
        }
        if (left == 0) revocations_.erase(revocations_.begin());
    }
    return most;
}

} // namespace dmb
