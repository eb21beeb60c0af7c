// SPDX-License-Identifier: MIT
// Accounts, owned by State and shared with its tables. Two sums per charge: the client's and its user's. Both are
// checked before either is changed, so a refusal leaves no trace. More given back than was taken is a bug of ours and
// asserted. Users without anything are forgotten; what a client left is its user's.
#include "daemon/policy/quota.hpp"

#include <cassert>

namespace dmb {
namespace {

template <class T> Result<> check_one(std::string_view whose, std::string_view what, T used, T more, T limit)
{
    if (more <= limit && used <= limit - more) return {};
    return fail(Errc::quota_exceeded, "{} holds {} of {} {} and asked for {} more; release some first", whose, used, limit,
                what, more);
}

Result<> check_all(std::string_view whose, const Amount& used, const Amount& more, const Amount& limit)
{
    TRY(check_one(whose, "bytes", used.bytes, more.bytes, limit.bytes));
    TRY(check_one(whose, "images", used.images, more.images, limit.images));
    TRY(check_one(whose, "descriptors", used.fds, more.fds, limit.fds));
    return check_one(whose, "tokens", used.tokens, more.tokens, limit.tokens);
}

void add(Amount& sum, const Amount& a)
{
    sum.bytes += a.bytes;
    sum.images += a.images;
    sum.fds += a.fds;
    sum.tokens += a.tokens;
}

void subtract(Amount& sum, const Amount& a)
{
    assert(sum.bytes >= a.bytes && sum.images >= a.images && sum.fds >= a.fds && sum.tokens >= a.tokens);
    sum.bytes -= a.bytes;
    sum.images -= a.images;
    sum.fds -= a.fds;
    sum.tokens -= a.tokens;
}

} // namespace

Amount* Accounts::of(ClientId client)
{
    const auto found = clients_.find(client);
    return found == clients_.end() ? nullptr : &found->second;
}

Amount Accounts::used(ClientId client) const
{
    const auto found = clients_.find(client);
    return found == clients_.end() ? Amount{} : found->second;
}

Result<> Accounts::check(const Payer& payer, const Amount& more)
{
    if (const Amount* own = of(payer.client)) TRY(check_all("this client", *own, more, limits_.client));
    const auto user = users_.find(payer.user);
    return check_all("this user", user == users_.end() ? Amount{} : user->second, more, limits_.uid);
}

Result<> Accounts::take(const Payer& payer, const Amount& amount)
{
    TRY(check(payer, amount));
    restore(payer, amount);
    return {};
}

Result<> Accounts::change(const Payer& payer, const Amount& from, const Amount& to)
{
    give_back(payer, from);
    Result<> fits = check(payer, to);
    restore(payer, fits ? to : from);
    return fits;
}

void Accounts::restore(const Payer& payer, const Amount& amount)
{
    if (Amount* own = of(payer.client)) add(*own, amount);
    if (amount != Amount{}) add(users_[payer.user], amount);
}

void Accounts::give_back(const Payer& payer, const Amount& amount)
{
    if (Amount* own = of(payer.client)) subtract(*own, amount);
    if (amount == Amount{}) return;
    const auto user = users_.find(payer.user);
    assert(user != users_.end());
    subtract(user->second, amount);
    if (user->second == Amount{}) users_.erase(user);
}

} // namespace dmb
