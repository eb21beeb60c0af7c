// SPDX-License-Identifier: MIT
// A client without the library: says whatever bytes and descriptors a test wants, in or out of order.
#pragma once
#include "proto/wire/channel.hpp"
#include "tests/support/instrumented.hpp"

#include <algorithm>
#include <string>

namespace dmb::test {

using Fds = std::vector<int>;

/// A memfd sealed as the broker wants it, or with other seals.
UniqueFd make_memfd(std::size_t size, int seals = -1);
/// Rows without padding, planes one after the other in one memory.
ImageDesc make_desc(Extent size, FourCC format = fourcc("XR24"));
/// A table in one part.
wire::DefineCapabilities make_definition(const Capabilities&, const Digest&);
/// memfd only, CPU usage.
wire::Allocate make_allocate(Extent size, FourCC format = fourcc("XR24"));

class RawClient {
public:
    struct Answer {
        std::uint64_t serial = 0;
        wire::Reply message;
        wire::PacketFds fds;
    };

    /// Connects, and says hello unless told otherwise. Throws when nobody listens.
    enum class Greeting : bool { no, yes };
    explicit RawClient(const std::string& socket, Greeting = Greeting::yes, std::string_view name = "raw");

    /// Takes over a connection that somebody else made and greeted.
    explicit RawClient(UniqueFd connection) : socket_(std::move(connection)), serial_(1000) {}

    int fd() const { return socket_.get(); }
    void close() { socket_.reset(); }

    template <class Message> bool say(const Message& message, const Fds& fds = {}, std::uint64_t serial = 0)
    {
        std::vector<std::byte> bytes(limits::packet_bytes);
        if (!fds.empty() && serial_ != 0) channel(); // which is a request too
        if (serial == 0) serial = ++serial_;
        serial_ = std::max(serial_, serial); // numbers never repeat
        bytes.resize(wire::encode(message, serial, bytes).value());
        return say_bytes(bytes, fds);
    }
    /// As many descriptors as the kernel takes, on the channel for those with: opened when first needed. Before hello there
    /// is none, and they go to the ordinary socket. False: it is gone, or takes none.
    bool say_bytes(std::span<const std::byte> bytes, const Fds& fds = {}, bool wait = true)
    {
        return say_on(fds.empty() || serial_ == 0 ? fd() : channel(), bytes, fds, wait);
    }
    /// On whatever socket, whether it belongs there or not.
    static bool say_on(int socket, std::span<const std::byte> bytes, const Fds& fds = {}, bool wait = true);
    /// -1 when the broker gives none.
    int channel();
    /// Waits for the event that says that the channel is gone, and for why.
    Errc next_channel_loss();

    /// The next packet; empty when the connection ended or nothing came for `seconds`.
    std::optional<Answer> hear(double seconds = under_valgrind() ? 30 : 5);
    /// Sends and waits for the answer with its serial; events before it are dropped.
    template <class Message> std::optional<Answer> ask(const Message& message, const Fds& fds = {})
    {
        if (!say(message, fds)) return std::nullopt;
        return hear_serial(serial_);
    }
    /// As ask: the expected message, or a default one with a test failure.
    template <class Wanted, class Message> Wanted get(const Message& message, const Fds& fds = {})
    {
        std::optional<Answer> answer = ask(message, fds);
        if (answer) last_fds = std::move(answer->fds);
        const Wanted* wanted = answer ? std::get_if<Wanted>(&answer->message) : nullptr;
        if (!wanted) report(answer);
        return wanted ? *wanted : Wanted{};
    }
    /// The code of the error reply; Errc{} for any other answer, Errc::disconnected when there is none.
    template <class Message> Errc error(const Message& message, const Fds& fds = {})
    {
        const std::optional<Answer> answer = ask(message, fds);
        if (!answer) return Errc::disconnected;
        const auto* reply = std::get_if<wire::ErrorReply>(&answer->message);
        return reply ? reply->code : Errc{};
    }
    /// All that this connection may see.
    Snapshot snapshot();
    /// Reads until the broker closes; false when it does not within `seconds`.
    bool ends(double seconds = 3);
    /// The code of the goodbye that ended the connection; Errc{} without one.
    Errc goodbye = Errc{};

    wire::PacketFds last_fds; ///< that came with the last get()

private:
    std::optional<Answer> hear_serial(std::uint64_t serial);
    static void report(const std::optional<Answer>&);

    UniqueFd socket_, channel_;
    std::uint64_t serial_ = 0;
    bool ended_ = false;
    std::vector<std::byte> buffer_ = std::vector<std::byte>(limits::packet_bytes);
};

} // namespace dmb::test
