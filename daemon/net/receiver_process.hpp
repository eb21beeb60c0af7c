// SPDX-License-Identifier: MIT
// One user's dmabroker-receiver: its process, its socket, and the channels it serves.
#pragma once
#include "daemon/net/asio.hpp"
#include "daemon/net/child_process.hpp"
#include "daemon/net/server.hpp"
#include "proto/wire/parcel.hpp"

namespace dmb {

/// A client's channel as the broker has it. Of what clients send there it holds nothing.
struct ChannelEnds {
    UniqueFd client_end; ///< for the client
    UniqueFd life;       ///< the channel ends when this is closed
};

class ReceiverProcess {
public:
    /// `nearest`: of the deadlines of all these processes, or earlier.
    ReceiverProcess(asio::io_context& io, Server& server, const std::string& program, std::size_t most_channels,
                    Instant& nearest)
        : server_(server), arguments_{program}, most_channels_(most_channels), nearest_(nearest), child_(io, server, [this] {
              readable();
          })
    {
    }

    /// Starts the process if there is none.
    Result<ChannelEnds> open(ClientId, Instant now);
    /// To be called at SIGCHLD, which does not say whose child it was.
    void child_changed(Instant now);
    /// Nothing would be lost if this were forgotten.
    bool is_idle(Instant now) const { return !child_.has_socket() && child_.dying() == 0 && not_before_ <= now; }

    Instant deadline() const { return deadline_; }
    void expire(Instant now);

private:
    Result<> check_room(Instant now) const;
    Result<> start(Instant now);
    void readable();
    void received(const wire::Parcel&, std::span<const std::byte> packet, wire::PacketFds&, Instant now);
    void opened(Instant now);
    void ended(ClientId, Instant now);
    void lost(std::string_view why, Instant now);
    void end();
    void set_deadline(Instant);

    Server& server_;
    std::vector<std::string> arguments_;
    std::size_t most_channels_;
    Instant& nearest_;
    ChildProcess child_;
    std::vector<ClientId> channels_; ///< an entry for each that the process has not reported as ended
    std::size_t unconfirmed_ = 0;    ///< of these, not reported as opened either
    Instant deadline_ = never;       ///< of a confirmation, or of a process that has nothing to do
    Instant started_;
    Instant not_before_; ///< the next start
    std::uint64_t backoff_ns_ = 0;
    std::vector<std::byte> in_ = std::vector<std::byte>(wire::parcel_bytes);
};

} // namespace dmb
