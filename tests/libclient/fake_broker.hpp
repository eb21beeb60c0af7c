// SPDX-License-Identifier: MIT
// A broker that answers what a test's script says, well-formed or not: a listening socket and a thread.
#pragma once
#include "proto/image/image.hpp"
#include "proto/wire/channel.hpp"
#include "proto/wire/codec.hpp"

#include <dmabroker/dmabroker.hpp>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace dmb::test {

/// The fake's end of one connection.
class Peer {
public:
    explicit Peer(UniqueFd socket) : socket_(std::move(socket)) {}

    /// The next request. Throws when the client is gone or sent something malformed.
    wire::Decoded<wire::Request> next();
    /// The next request, which must be a T. Its serial is kept for reply().
    template <class T> T expect()
    {
        auto request = next();
        serial_ = request.serial;
        return std::get<T>(request.message);
    }
    /// What came with the last request.
    wire::PacketFds& fds() { return fds_; }
    std::uint64_t serial() const { return serial_; }

    template <class Message> void send(const Message& message, std::uint64_t serial, std::span<const int> with = {})
    {
        std::array<std::byte, limits::packet_bytes> packet;
        const auto size = wire::encode(message, serial, packet);
        send_bytes(std::span(packet).first(size.value()), with);
    }
    template <class Message> void reply(const Message& message, std::span<const int> with = {})
    {
        send(message, serial_, with);
    }
    template <class Message> void event(const Message& message) { send(message, 0); }
    void send_bytes(std::span<const std::byte> packet, std::span<const int> with = {});
    /// Answers the hello.
    void greet(bool manager = false);
    /// Answers the hello with a key to resume with, and returns the one that it showed.
    ResumeKey greet_with_key(std::uint8_t key, bool resumed = false, std::uint64_t last_serial = 0);
    /// Until the client closes; true when nothing more came.
    bool wait_for_end();
    /// Until the client closes, whatever it still sends.
    void drain()
    {
        while (!wait_for_end()) {}
    }
    void close() { socket_.reset(), channel_.reset(); }
    /// As when the broker's receiver process ends.
    void lose_channel(const wire::ChannelLost& why) { channel_.reset(), event(why); }
    int socket() const { return socket_.get(); }

private:
    int wait_for_packet() const;
    void open_channel();

    UniqueFd socket_;
    UniqueFd channel_; ///< for requests with descriptors; opened when the client asks for it, which no script sees
    wire::PacketFds fds_;
    std::uint64_t serial_ = 0;
};

/// Serves one connection after the other, each with its script. A script's exception fails the test.
class FakeBroker {
public:
    using Script = std::function<void(Peer&)>;
    explicit FakeBroker(Script script) : FakeBroker(std::vector<Script>{std::move(script)}) {}
    explicit FakeBroker(std::vector<Script> scripts);
    ~FakeBroker();
    /// Waits until all scripts are done.
    void join();
    const std::string& path() const { return path_; }
    dmabroker::Client connect(dmabroker::Duration timeout = std::chrono::seconds(10)) const
    {
        return dmabroker::Client::connect({.remote = path_, .name = "test", .timeout = timeout});
    }

private:
    bool serve(const Script&);
    std::string folder_;
    std::string path_;
    UniqueFd listener_;
    std::thread thread_;
};

/// A memfd as the broker makes them.
UniqueFd sealed_memfd(std::size_t size, int seals = -1);
/// The description of linear system memory.
ImageDesc linear_desc(Extent size, FourCC format, MemoryKind kind = MemoryKind::memfd);
/// A reply with all rights that fits `desc`.
wire::ImageReply image_reply(const ImageDesc& desc, std::uint32_t handle = 1);

} // namespace dmb::test
