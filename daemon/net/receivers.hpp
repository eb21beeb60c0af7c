// SPDX-License-Identifier: MIT
// The receiver processes, one for each user whose clients want channels.
#pragma once
#include "daemon/net/receiver_process.hpp"

#include <memory>
#include <unordered_map>

namespace dmb {

class Receivers : public Timed {
public:
    Receivers(asio::io_context& io, Server& server, std::string program, std::size_t most_channels)
        : io_(io), server_(server), program_(std::move(program)), most_channels_(most_channels)
    {
    }

    /// `user` as account_key() says.
    Result<ChannelEnds> open(std::uint64_t user, ClientId, Instant now);
    /// To be called at SIGCHLD.
    void child_changed(Instant now);

    Instant deadline() const override { return nearest_; }
    void expire(Instant now) override;

private:
    void forget_idle(Instant now);

    asio::io_context& io_;
    Server& server_;
    std::string program_;
    std::size_t most_channels_; ///< of one user
    Instant nearest_ = never;   ///< no deadline is earlier
    std::unordered_map<std::uint64_t, std::unique_ptr<ReceiverProcess>> processes_;
};

} // namespace dmb
