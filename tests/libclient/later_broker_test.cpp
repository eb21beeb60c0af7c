// SPDX-License-Identifier: MIT
// What a broker of a later version may send: events, sections and values that this library knows nothing of.
#include "tests/libclient/client_fixture.hpp"

#include <array>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Direction;
using dmabroker::Event;
using dmabroker::Image;
using dmabroker::Operation;

class LaterBrokerTest : public ClientTest {};

template <class T> void put(std::vector<std::byte>& to, T value)
{
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    to.insert(to.end(), bytes, bytes + sizeof value);
}

/// An event that this library knows nothing of.
std::vector<std::byte> invented_event(std::uint16_t fd_count)
{
    std::vector<std::byte> packet;
    put<std::uint16_t>(packet, 999);
    put<std::uint16_t>(packet, fd_count);
    put<std::uint32_t>(packet, 0);
    put<std::uint64_t>(packet, 0);
    put<std::uint32_t>(packet, 0xdeadbeef);
    return packet;
}

/// A message with a section that this library knows nothing of, and a descriptor in it.
template <class Message> std::vector<std::byte> with_invented_section(const Message& message, std::uint64_t serial)
{
    std::vector<std::byte> packet(limits::packet_bytes);
    packet.resize(wire::encode(message, serial, packet).value());
    packet[2] = static_cast<std::byte>(message.fd_count() + 1);
    put<std::uint16_t>(packet, 77);
    put<std::uint16_t>(packet, 1);
    put<std::uint32_t>(packet, 4);
    put<std::uint32_t>(packet, 0xdeadbeef);
    return packet;
}

TEST_F(LaterBrokerTest, invented_events_and_sections_are_passed_over_with_their_descriptors)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const std::uint64_t started = serial_of<wire::Allocate>(peer), blocking = serial_of<wire::Open>(peer);
        const UniqueFd memory = sealed_memfd(small_desc.memories[0].size);
        const std::array<int, 2> fds{memory.get(), memory.get()};
        peer.send_bytes(invented_event(0));
        peer.send_bytes(invented_event(2), fds);
        peer.send_bytes(with_invented_section(image_reply(small_desc, 1), started), fds);
        peer.send_bytes(with_invented_section(wire::ImageRevoked{HandleId{1}}, 0), std::span(fds).first(1));
        peer.send_bytes(with_invented_section(image_reply(small_desc, 2), blocking), fds);
        peer.drain();
    });
    Client client = broker.connect();
    const Operation operation = client.allocate_start(small_image);
    const Image opened = client.open(some_token);
    EXPECT_EQ(opened.info().id, 42u);
    const Event completed = wait_event(client);
    EXPECT_TRUE(completed.made);
    EXPECT_EQ(wait_event(client).type, DMABROKER_EVENT_IMAGE_REVOKED);
    EXPECT_FALSE(client.next_event());
}

TEST_F(LaterBrokerTest, values_that_have_no_name_yet_are_passed_on_as_numbers)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        wire::ImageReply reply = image_reply(small_desc);
        reply.desc.backend = static_cast<Backend>(27);
        reply.desc.rung = static_cast<Rung>(28);
        const UniqueFd memory = sealed_memfd(reply.desc.memories[0].size);
        const int fd = memory.get();
        peer.reply(reply, {&fd, 1});
        peer.drain();
    });
    Client client = broker.connect();
    Image image = client.open(some_token);
    EXPECT_EQ(image.info().backend, 27u);
    EXPECT_EQ(image.info().rung, 28u);
    EXPECT_NO_THROW(image.map(Direction::read));
}

TEST_F(LaterBrokerTest, an_error_code_of_a_later_broker_is_passed_on_as_a_number)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Allocate>();
        peer.reply(wire::ErrorReply{static_cast<Errc>(999), "the moon is full", {}});
        peer.expect<wire::Open>();
        peer.reply(wire::ErrorReply{static_cast<Errc>(999), "the moon is full", {}});
    });
    Client client = broker.connect();
    const Operation operation = client.allocate_start(small_image);
    const Event event = wait_event(client);
    EXPECT_EQ(event.code, 999);
    EXPECT_EQ(event.text, "the moon is full");
    EXPECT_STREQ(dmabroker_code_name(event.code), "unknown");
    dmabroker_image* image = nullptr;
    dmabroker_error error{};
    EXPECT_LT(dmabroker_open(client.native(), some_token, DMABROKER_READ, 0, &image, &error), 0);
    EXPECT_EQ(error.code, 999);
}

} // namespace
} // namespace dmb::test
