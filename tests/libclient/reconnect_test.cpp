// SPDX-License-Identifier: MIT
// The library after its broker went away, against fake brokers that know it again or do not: what is asked once
// more, under which number, and what becomes of images and operations.
#include "tests/libclient/client_fixture.hpp"

#include <future>
#include <sys/socket.h>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Direction;
using dmabroker::Event;
using dmabroker::Image;
using dmabroker::Operation;
using dmabroker::Rights;
using namespace std::chrono_literals;

class ReconnectTest : public ClientTest {
protected:
    /// Until the end is seen. Its event is left.
    static void lose(Client& client)
    {
        do EXPECT_TRUE(readable(client, 10'000));
        while (code_of([&] { client.dispatch(); }) != DMABROKER_DISCONNECTED);
    }
    static ResumeKey key(std::uint8_t byte)
    {
        ResumeKey out;
        out.fill(byte);
        return out;
    }
};

// ---- known again -----------------------------------------------------------------------------------------

TEST_F(ReconnectTest, a_client_that_is_known_again_goes_on_with_its_images_and_its_descriptor)
{
    std::uint64_t last = 0;
    FakeBroker broker({[&](Peer& peer) {
                           EXPECT_EQ(peer.greet_with_key(1), key(0)) << "a new client has none";
                           last = serial_of<wire::Open>(peer);
                           give(peer, last, 3);
                       },
                       [&](Peer& peer) {
                           EXPECT_EQ(peer.greet_with_key(2, true, last), key(1));
                           EXPECT_GT(serial_of<wire::SetLease>(peer), last) << "a number was used twice";
                           peer.reply(wire::Done{});
                           peer.event(wire::ImageRevoked{HandleId{3}});
                       },
                       [&](Peer& peer) { EXPECT_EQ(peer.greet_with_key(3, true, last), key(2)) << "each key once"; }});
    Client client = broker.connect();
    const int fd = client.fd();
    Image image = client.open(some_token);
    lose(client);
    EXPECT_EQ(client.next_event()->type, DMABROKER_EVENT_DISCONNECTED);
    EXPECT_EQ(code_of([&] { image.set_lease(1s); }), DMABROKER_DISCONNECTED);
    EXPECT_TRUE(client.reconnect());
    EXPECT_EQ(client.fd(), fd);
    EXPECT_EQ(code_of([&] { image.set_lease(1s); }), 0);
    EXPECT_EQ(wait_event(client).image, image.native()) << "the descriptor reports the new socket";
    lose(client);
    EXPECT_TRUE(client.reconnect());
    broker.join();
}

TEST_F(ReconnectTest, what_was_outstanding_is_asked_again_under_its_number_and_completes_once)
{
    std::uint64_t first = 0, second = 0;
    FakeBroker broker({[&](Peer& peer) {
                           peer.greet_with_key(1);
                           first = serial_of<wire::Allocate>(peer);
                           second = serial_of<wire::Join>(peer);
                       },
                       [&](Peer& peer) {
                           peer.greet_with_key(2, true, first);
                           EXPECT_EQ(serial_of<wire::Allocate>(peer), first);
                           EXPECT_EQ(serial_of<wire::Join>(peer), second);
                           peer.reply(wire::ErrorReply{Errc::interrupted, "ask again", {}});
                           give(peer, first, 1);
                           peer.drain();
                       }});
    Client client = broker.connect();
    const Operation allocation = client.allocate_start(small_image);
    const Operation join = client.join_start(some_token, Rights::read, {});
    lose(client);
    EXPECT_EQ(wait_event(client).type, DMABROKER_EVENT_DISCONNECTED) << "operations wait for the reconnect";
    EXPECT_FALSE(client.next_event());
    EXPECT_TRUE(client.reconnect());
    const Event interrupted = wait_event(client);
    EXPECT_EQ(interrupted.operation, join.number());
    EXPECT_EQ(interrupted.code, DMABROKER_INTERRUPTED);
    const Event made = wait_event(client);
    EXPECT_EQ(made.operation, allocation.number());
    EXPECT_TRUE(made.made);
    EXPECT_FALSE(client.next_event());
}

TEST_F(ReconnectTest, a_register_is_asked_again_with_its_descriptors)
{
    FakeBroker broker({[&](Peer& peer) {
                           peer.greet_with_key(1);
                           peer.expect<wire::Register>();
                       },
                       [&](Peer& peer) {
                           peer.greet_with_key(2, true);
                           wire::ImageReply reply = image_reply(peer.expect<wire::Register>().desc);
                           EXPECT_EQ(peer.fds().size(), 1u);
                           reply.has_fds = false;
                           peer.reply(reply);
                           peer.drain();
                       }});
    Client client = broker.connect();
    const dmabroker_image_info info = small_info();
    UniqueFd memory = sealed_memfd(small_desc.memories[0].size);
    const int fd = memory.get();
    const Operation operation = client.register_start(info, &fd);
    memory.reset();
    lose(client);
    EXPECT_TRUE(client.reconnect());
    EXPECT_TRUE(wait_event(client).made);
}

TEST_F(ReconnectTest, what_a_failed_call_may_have_made_is_asked_for_and_given_back)
{
    std::uint64_t arrived = 0;
    std::promise<void> lost;
    FakeBroker broker({[&](Peer& peer) {
                           peer.greet_with_key(1);
                           arrived = serial_of<wire::Open>(peer); // served, but its answer is lost
                       },
                       [&](Peer& peer) {
                           peer.greet_with_key(2, true, arrived);
                           EXPECT_EQ(serial_of<wire::Open>(peer), arrived);
                           EXPECT_EQ(peer.expect<wire::Cancel>().request, arrived);
                           give(peer, arrived, 4);
                           deny(peer);
                           peer.expect<wire::Open>();
                           deny(peer);
                           EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{4});
                           EXPECT_TRUE(peer.wait_for_end());
                       }});
    Client client = broker.connect();
    EXPECT_EQ(code_of([&] { client.open(some_token); }), DMABROKER_DISCONNECTED);
    EXPECT_TRUE(client.reconnect());
    EXPECT_EQ(code_of([&] { client.open(some_token); }), DMABROKER_NOT_FOUND);
}

TEST_F(ReconnectTest, what_was_given_up_and_never_arrived_is_forgotten)
{
    FakeBroker broker({[&](Peer& peer) {
                           peer.greet_with_key(1);
                           peer.expect<wire::Allocate>();
                       },
                       [&](Peer& peer) {
                           peer.greet_with_key(2, true, 1);
                           peer.expect<wire::Open>();
                           deny(peer);
                           EXPECT_TRUE(peer.wait_for_end());
                       }});
    Client client = broker.connect();
    Operation operation = client.allocate_start(small_image);
    lose(client);
    operation.cancel();
    EXPECT_EQ(client.next_event()->code, DMABROKER_CANCELLED) << "also while there is no broker";
    EXPECT_TRUE(client.reconnect());
    EXPECT_EQ(code_of([&] { client.open(some_token); }), DMABROKER_NOT_FOUND);
}

TEST_F(ReconnectTest, handles_that_the_broker_did_not_get_back_are_given_back_again)
{
    std::uint64_t last = 0;
    std::promise<void> closed;
    FakeBroker broker({[&](Peer& peer) {
                           peer.greet_with_key(1);
                           for (std::uint32_t i = 1; i <= 3; ++i) give(peer, serial_of<wire::Open>(peer), i);
                           EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{1});
                           last = peer.serial();
                           closed.get_future().wait(); // the second release is never read
                       },
                       [&](Peer& peer) {
                           peer.greet_with_key(2, true, last);
                           EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{2});
                           EXPECT_EQ(peer.serial(), last + 1) << "under its old number";
                           EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{3});
                           EXPECT_GT(peer.serial(), last + 1);
                           EXPECT_TRUE(peer.wait_for_end());
                       }});
    Client client = broker.connect();
    std::vector<Image> images;
    for (int i = 0; i < 3; ++i) images.push_back(client.open(some_token));
    images.erase(images.begin(), images.begin() + 2);
    closed.set_value();
    lose(client);
    images.clear(); // while there is no broker
    EXPECT_TRUE(client.reconnect());
}

// ---- not known any more ------------------------------------------------------------------------------------

TEST_F(ReconnectTest, a_new_client_keeps_the_pixels_of_its_images_and_nothing_else)
{
    FakeBroker broker({[&](Peer& peer) {
                           peer.greet_with_key(1);
                           give(peer, serial_of<wire::Open>(peer), 1);
                           peer.expect<wire::Allocate>();
                       },
                       [&](Peer& peer) {
                           EXPECT_EQ(peer.greet_with_key(2), key(1));
                           peer.event(wire::ImageRevoked{HandleId{1}}); // not the image of before
                           peer.expect<wire::RevokeImage>();
                           peer.reply(wire::Done{});
                           EXPECT_TRUE(peer.wait_for_end()) << "nothing of before is given back";
                       }});
    Client client = broker.connect();
    std::optional<Image> image(client.open(some_token));
    const Operation operation = client.allocate_start(small_image);
    lose(client);
    EXPECT_FALSE(client.reconnect());
    const Event interrupted = wait_event(client);
    EXPECT_EQ(interrupted.operation, operation.number());
    EXPECT_EQ(interrupted.code, DMABROKER_INTERRUPTED);
    EXPECT_EQ(code_of([&] { image->set_lease(1s); }), DMABROKER_DISCONNECTED);
    client.revoke_image(1);
    EXPECT_FALSE(client.next_event());
    auto mapping = image->map(Direction::write);
    image.reset();
    auto mapped = mapping.begin(Direction::write);
    mapped.data()[0] = std::byte{1};
}

TEST_F(ReconnectTest, an_image_of_before_is_not_taken_for_the_new_one_with_its_number)
{
    FakeBroker broker({[](Peer& peer) {
                           peer.greet_with_key(1);
                           give(peer, serial_of<wire::Open>(peer), 1);
                       },
                       [](Peer& peer) {
                           peer.greet_with_key(2);
                           give(peer, serial_of<wire::Open>(peer), 1);
                           EXPECT_EQ(peer.expect<wire::SetLease>().handle, HandleId{1}) << "of the new one, still held";
                           peer.reply(wire::Done{});
                           EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{1});
                       }});
    Client client = broker.connect();
    std::optional<Image> before(client.open(some_token));
    lose(client);
    EXPECT_FALSE(client.reconnect());
    Image now = client.open(some_token);
    EXPECT_EQ(code_of([&] { before->set_lease(1s); }), DMABROKER_DISCONNECTED);
    before.reset();
    now.set_lease(1s);
}

TEST_F(ReconnectTest, a_key_that_is_answered_with_goodbye_is_dropped_for_a_new_client)
{
    FakeBroker broker({[](Peer& peer) {
                           peer.greet_with_key(1);
                           peer.expect<wire::Allocate>();
                       },
                       [](Peer& peer) {
                           EXPECT_EQ(peer.expect<wire::Hello>().resume, key(1));
                           peer.event(wire::Goodbye{Errc::not_found, "no client has this resume key"});
                       },
                       [](Peer& peer) {
                           EXPECT_EQ(peer.greet_with_key(2), key(0));
                           EXPECT_TRUE(peer.wait_for_end());
                       }});
    Client client = broker.connect();
    const Operation operation = client.allocate_start(small_image);
    lose(client);
    EXPECT_FALSE(client.reconnect());
    EXPECT_EQ(wait_event(client).code, DMABROKER_INTERRUPTED);
}

TEST_F(ReconnectTest, a_broker_without_the_feature_ends_operations_with_the_connection)
{
    FakeBroker broker({[](Peer& peer) {
                           peer.greet();
                           peer.expect<wire::Allocate>();
                       },
                       [](Peer& peer) { peer.greet(); }});
    Client client = broker.connect();
    const Operation operation = client.allocate_start(small_image);
    lose(client);
    EXPECT_EQ(client.next_event()->code, DMABROKER_DISCONNECTED);
    EXPECT_EQ(client.next_event()->type, DMABROKER_EVENT_DISCONNECTED);
    EXPECT_FALSE(client.reconnect());
    EXPECT_FALSE(client.next_event());
}

// ---- not possible -------------------------------------------------------------------------------------------

TEST_F(ReconnectTest, a_socket_that_was_handed_over_cannot_be_made_again)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet_with_key(1);
        peer.expect<wire::Allocate>();
    });
    UniqueFd socket = std::move(*wire::connect(broker.path()));
    dmabroker_client* native = nullptr;
    ASSERT_EQ(dmabroker_connect_fd(socket.release(), "x", &native, nullptr), 0);
    Client client(native);
    const Operation operation = client.allocate_start(small_image);
    lose(client);
    EXPECT_EQ(code_of([&] { client.reconnect(); }), DMABROKER_UNSUPPORTED);
    EXPECT_EQ(client.next_event()->code, DMABROKER_DISCONNECTED) << "nobody will answer the operation";
    EXPECT_EQ(client.next_event()->type, DMABROKER_EVENT_DISCONNECTED);
}

TEST_F(ReconnectTest, a_connection_that_stands_is_left_alone)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet_with_key(1);
        peer.expect<wire::Open>();
        deny(peer);
    });
    Client client = broker.connect();
    EXPECT_EQ(code_of([&] { client.reconnect(); }), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code_of([&] { client.open(some_token); }), DMABROKER_NOT_FOUND);
    EXPECT_EQ(dmabroker_reconnect(nullptr, nullptr), -EINVAL);
}

TEST_F(ReconnectTest, failed_attempts_change_nothing)
{
    FakeBroker broker({[](Peer& peer) {
                           peer.greet_with_key(1);
                           peer.expect<wire::Allocate>();
                       },
                       [](Peer& peer) {
                           peer.expect<wire::Hello>();
                           peer.event(wire::Goodbye{Errc::shutting_down, "not yet"});
                       },
                       [](Peer& peer) { peer.expect<wire::Hello>(); },
                       [](Peer& peer) {
                           EXPECT_EQ(peer.greet_with_key(2, true), key(1));
                           peer.expect<wire::Allocate>();
                           deny(peer);
                       }});
    Client client = broker.connect();
    const Operation operation = client.allocate_start(small_image);
    lose(client);
    EXPECT_EQ(client.next_event()->type, DMABROKER_EVENT_DISCONNECTED);
    EXPECT_EQ(code_of([&] { client.reconnect(); }), DMABROKER_SHUTTING_DOWN);
    EXPECT_EQ(code_of([&] { client.reconnect(); }), DMABROKER_DISCONNECTED);
    EXPECT_FALSE(client.next_event()) << "the end was told once";
    EXPECT_FALSE(readable(client)) << "a loop that waits for the next attempt would spin";
    EXPECT_TRUE(client.reconnect());
    EXPECT_EQ(wait_event(client).code, DMABROKER_NOT_FOUND);
}

TEST_F(ReconnectTest, nobody_listening_is_no_broker_and_the_end_is_dropped_by_a_reconnect)
{
    std::optional<FakeBroker> broker(std::in_place, [](Peer& peer) { peer.greet_with_key(1); });
    Client client = broker->connect();
    lose(client);
    broker.reset();
    EXPECT_EQ(code_of([&] { client.reconnect(); }), DMABROKER_NO_BROKER);
    EXPECT_EQ(client.next_event()->type, DMABROKER_EVENT_DISCONNECTED);

    broker.emplace(std::vector<FakeBroker::Script>{[](Peer& peer) { peer.greet_with_key(1); },
                                                   [](Peer& peer) {
                                                       peer.greet_with_key(2, true);
                                                       EXPECT_TRUE(peer.wait_for_end());
                                                   }});
    Client other = broker->connect();
    lose(other);
    EXPECT_TRUE(other.reconnect());
    EXPECT_FALSE(other.next_event());
    EXPECT_FALSE(readable(other));
}

} // namespace
} // namespace dmb::test
