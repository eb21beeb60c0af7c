// SPDX-License-Identifier: MIT
// The sending side of one connection, with an account of what the peer has not read yet. Unread packets
// wait in the kernel; their descriptors count against the broker's user there, so they are bounded here.
#pragma once
#include "proto/base/result.hpp"
#include "proto/wire/limits.hpp"

#include <array>
#include <cstdint>
#include <span>

namespace dmb {

/// Descriptors in flight to all clients.
struct InFlight {
    std::uint64_t fds = 0;
    std::uint64_t limit = 0; ///< stays below the kernel's RLIMIT_NOFILE for the user
};

class Outbox {
public:
    explicit Outbox(InFlight& all) : all_(all) {}
    Outbox(const Outbox&) = delete;
    Outbox& operator=(const Outbox&) = delete;
    ~Outbox() { all_.fds -= fds_; }

    enum class Sent { yes, too_much_unread, too_many_in_flight, gone };
    /// Borrows the descriptors. Sends all or nothing and never waits.
    Sent send(int socket, std::span<const std::byte> packet, std::span<const int> fds);
    /// Asks the kernel what is still unread.
    void measure(int socket);

private:
    bool has_room(std::size_t bytes, std::size_t fds) const;
    void record(std::size_t bytes, std::size_t fds);
    void set(std::uint32_t fds, std::uint32_t bytes);

    struct Sizes {
        std::uint32_t bytes;
        std::uint8_t fds;
    };
    InFlight& all_;
    std::uint32_t fds_ = 0;     ///< sent and, as far as we know, not read
    std::uint32_t bytes_ = 0;   ///< likewise
    std::uint32_t packets_ = 0; ///< ever sent
    std::array<Sizes, 64> recent_{};
};

} // namespace dmb
