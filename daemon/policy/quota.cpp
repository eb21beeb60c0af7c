// SPDX-License-Identifier: MIT
// An Account knows a limit and what is used of it; only Charge changes it. Both tiers are checked before
// either is changed, so a refusal leaves no trace. A balance that does not come out even is a bug of
// ours and asserted when the account ends.
#include "daemon/policy/quota.hpp"

#include <cassert>
#include <utility>

namespace dmb {
namespace {

template <class T> Result<> check_one(std::string_view whose, std::string_view what, T used, T more, T limit)
{
    if (more <= limit && used <= limit - more) return {};
    return fail(Errc::quota_exceeded, "{} holds {} of {} {} and asked for {} more; release some first", whose, used, limit,
                what, more);
}

} // namespace

Account::~Account() { assert(used_ == Amount{}); }

Result<> Account::check(const Amount& more) const
{
    TRY(check_one(whose_, "bytes", used_.bytes, more.bytes, limit_.bytes));
    TRY(check_one(whose_, "images", used_.images, more.images, limit_.images));
    TRY(check_one(whose_, "descriptors", used_.fds, more.fds, limit_.fds));
    return check_one(whose_, "tokens", used_.tokens, more.tokens, limit_.tokens);
}

void Account::add(const Amount& a)
{
    used_.bytes += a.bytes;
    used_.images += a.images;
    used_.fds += a.fds;
    used_.tokens += a.tokens;
}

void Account::subtract(const Amount& a)
{
    assert(used_.bytes >= a.bytes && used_.images >= a.images && used_.fds >= a.fds && used_.tokens >= a.tokens);
    used_.bytes -= a.bytes;
    used_.images -= a.images;
    used_.fds -= a.fds;
    used_.tokens -= a.tokens;
}

Result<Charge> Charge::take(std::shared_ptr<Account> client, std::shared_ptr<Account> uid, const Amount& amount)
{
    TRY(client->check(amount));
    TRY(uid->check(amount));
    client->add(amount);
    uid->add(amount);
    Charge charge;
    charge.client_ = std::move(client);
    charge.uid_ = std::move(uid);
    charge.amount_ = amount;
    return charge;
}

Charge::Charge(Charge&& other) noexcept
    : client_(std::move(other.client_)), uid_(std::move(other.uid_)), amount_(std::exchange(other.amount_, {}))
{
}

Charge& Charge::operator=(Charge&& other) noexcept
{
    release();
    client_ = std::move(other.client_);
    uid_ = std::move(other.uid_);
    amount_ = std::exchange(other.amount_, {});
    return *this;
}

Result<> Charge::resize(const Amount& amount)
{
    client_->subtract(amount_);
    uid_->subtract(amount_);
    Result<> fits = client_->check(amount);
    if (fits) fits = uid_->check(amount);
    if (fits) amount_ = amount;
    client_->add(amount_);
    uid_->add(amount_);
    return fits;
}

void Charge::release()
{
    if (client_) client_->subtract(amount_);
    if (uid_) uid_->subtract(amount_);
    client_.reset();
    uid_.reset();
    amount_ = {};
}

std::shared_ptr<Account> UserAccounts::of(std::uint64_t key)
{
    std::weak_ptr<Account>& slot = accounts_[key];
    std::shared_ptr<Account> account = slot.lock();
    if (!account) slot = account = std::make_shared<Account>("this user", limit_);
    if (accounts_.size() >= sweep_at_) {
        std::erase_if(accounts_, [](const auto& entry) { return entry.second.expired(); });
        sweep_at_ = 2 * accounts_.size() + 64;
    }
    return account;
}

} // namespace dmb
