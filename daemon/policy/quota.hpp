// SPDX-License-Identifier: MIT
// Who pays for what. An Account counts what one client or one user holds in the broker; a Charge is one
// entry in two accounts, taken before the resource exists and returned by its destructor.
#pragma once
#include "proto/base/result.hpp"

#include <memory>
#include <string_view>
#include <unordered_map>

namespace dmb {

struct Amount {
    std::uint64_t bytes = 0;
    std::uint32_t images = 0;
    std::uint32_t fds = 0; ///< open in the broker
    std::uint32_t tokens = 0;
    friend bool operator==(const Amount&, const Amount&) = default;
};

struct Limits {
    Amount client{.bytes = 2ULL << 30, .images = 1024, .fds = 4096, .tokens = 16384};
    Amount uid{.bytes = 8ULL << 30, .images = 8192, .fds = 32768, .tokens = 131072};
    std::uint32_t handles_per_client = 65536;
    std::uint32_t clients_per_uid = 1024;
};

class Account {
public:
    Account(std::string_view whose, Amount limit) : whose_(whose), limit_(limit) {}
    Account(const Account&) = delete;
    Account& operator=(const Account&) = delete;
    ~Account();

    const Amount& used() const { return used_; }
    Result<> check(const Amount& more) const;
    void add(const Amount&);
    void subtract(const Amount&);

private:
    std::string_view whose_; ///< for error texts: "this client", "this user"
    Amount limit_;
    Amount used_;
};

/// Move-only. It keeps its accounts alive: the owner may be gone before the resource.
class Charge {
public:
    Charge() = default;
    static Result<Charge> take(std::shared_ptr<Account> client, std::shared_ptr<Account> uid, const Amount&);
    Charge(Charge&&) noexcept;
    Charge& operator=(Charge&&) noexcept;
    ~Charge() { release(); }

    const Amount& amount() const { return amount_; }
    /// To another amount; unchanged on failure.
    Result<> resize(const Amount&);

private:
    void release();
    std::shared_ptr<Account> client_;
    std::shared_ptr<Account> uid_;
    Amount amount_;
};

/// The accounts of users, created when first seen and forgotten when nothing is charged to them.
class UserAccounts {
public:
    explicit UserAccounts(Amount limit) : limit_(limit) {}
    /// `key` is the uid, or something unique where uids cannot be told apart (policy/peer.hpp).
    std::shared_ptr<Account> of(std::uint64_t key);

private:
    Amount limit_;
    std::unordered_map<std::uint64_t, std::weak_ptr<Account>> accounts_;
    std::size_t sweep_at_ = 64;
};

} // namespace dmb
