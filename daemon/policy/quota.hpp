// SPDX-License-Identifier: MIT
// Who pays for what. Accounts counts what each client and each user holds in the broker, against their limits. Whatever
// is paid for names its Payer and what it costs, so that the sums can be made anew from what there is.
#pragma once
#include "proto/base/result.hpp"
#include "proto/base/strong.hpp"

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

/// A client, and its user, who goes on paying when the client has left.
struct Payer {
    ClientId client;
    std::uint64_t user = 0; ///< policy/peer.hpp: account_key
    friend bool operator==(const Payer&, const Payer&) = default;
};

class Accounts {
public:
    explicit Accounts(const Limits& limits) : limits_(limits) {}

    /// Only clients that are known have an account of their own.
    void open(ClientId client) { clients_.try_emplace(client); }
    /// What it has not given back is its user's.
    void close(ClientId client) { clients_.erase(client); }
    /// Before the resource exists. A refusal changes nothing.
    Result<> take(const Payer&, const Amount&);
    /// Another amount instead; unchanged on failure.
    Result<> change(const Payer&, const Amount& from, const Amount& to);
    void give_back(const Payer&, const Amount&);
    /// What is there already, whatever the limits say now.
    void restore(const Payer&, const Amount&);

    Amount used(ClientId) const;

private:
    Amount* of(ClientId);
    Result<> check(const Payer&, const Amount& more);

    Limits limits_;
    std::unordered_map<ClientId, Amount> clients_;
    std::unordered_map<std::uint64_t, Amount> users_; ///< those who hold something
};

} // namespace dmb
