// SPDX-License-Identifier: MIT
// One client in several threads: calls take turns, what closes does not wait for one, and every handle goes back once.
#include "tests/libclient/client_fixture.hpp"

#include <atomic>
#include <cstring>
#include <future>
#include <set>
#include <thread>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Direction;
using dmabroker::Image;
using dmabroker::Rights;

class ThreadsTest : public ClientTest {};

/// Gives an image for every open and a token for every hold; counts what is given back.
struct Generous {
    std::atomic<unsigned> given = 0;
    std::set<std::uint32_t> held;

    void operator()(Peer& peer)
    {
        peer.greet();
        const UniqueFd memory = sealed_memfd(small_desc.memories[0].size);
        try {
            for (;;) answer(peer, peer.next(), memory.get());
        } catch (const std::exception&) {
            // the client is gone
        }
    }

private:
    void answer(Peer& peer, const wire::Decoded<wire::Request>& request, int fd)
    {
        if (const auto* release = std::get_if<wire::Release>(&request.message)) {
            EXPECT_EQ(held.erase(release->handle.value), 1u) << "given back twice";
        } else if (std::holds_alternative<wire::Open>(request.message)) {
            held.insert(++given);
            peer.send(image_reply(small_desc, given), request.serial, {&fd, 1});
        } else if (std::holds_alternative<wire::MintToken>(request.message)) {
            peer.send(wire::TokenReply{}, request.serial);
        } else {
            peer.send(wire::Done{}, request.serial);
        }
    }
};

void use_images(Client& client, unsigned count)
{
    for (unsigned i = 0; i < count; ++i) {
        Image image = client.open(some_token, Rights::all);
        auto mapping = image.map(Direction::write);
        auto bytes = mapping.begin(Direction::write);
        std::memset(bytes.data(), static_cast<int>(i), 16);
        bytes.end();
        image.set_user_data(&image);
        image.token(Rights::read);
        Image last(std::move(image));
        std::thread([&last] { Image ends_here(std::move(last)); }).join();
    }
}

TEST_F(ThreadsTest, images_of_one_client_are_used_and_closed_by_many_threads)
{
    Generous generous;
    FakeBroker broker(std::ref(generous));
    {
        Client client = broker.connect();
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i) threads.emplace_back([&] { use_images(client, 50); });
        for (std::thread& thread : threads) thread.join();
        client.open(some_token); // what ended goes back before the next request at the latest
    }
    broker.join();
    EXPECT_EQ(generous.given, 201u);
    EXPECT_LE(generous.held.size(), 1u) << "the last one ended with its client";
}

TEST_F(ThreadsTest, an_image_closes_while_another_thread_waits_for_the_broker)
{
    std::promise<void> asked, closed;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        give(peer, peer.serial(), 1);
        peer.expect<wire::Inspect>();
        asked.set_value();
        closed.get_future().wait();
        peer.reply(wire::ErrorReply{Errc::not_found, "nothing to show", {}});
        EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{1}) << "when the call had ended";
    });
    Client client = broker.connect();
    std::optional<Image> image = client.open(some_token);
    std::thread waiting([&] { EXPECT_EQ(code_of([&] { client.inspect(); }), DMABROKER_NOT_FOUND); });
    asked.get_future().wait();
    image.reset();
    closed.set_value();
    waiting.join();
    broker.join();
}

TEST_F(ThreadsTest, images_close_while_their_client_does)
{
    for (int round = 0; round < 20; ++round) {
        Generous generous;
        FakeBroker broker(std::ref(generous));
        std::optional<Client> client = broker.connect();
        std::vector<Image> images;
        for (int i = 0; i < 8; ++i) images.push_back(client->open(some_token));
        std::thread closing([&] { images.clear(); });
        client.reset();
        closing.join();
    }
}

TEST_F(ThreadsTest, an_event_brings_the_callers_pointer_of_its_image)
{
    std::promise<void> pointer_set;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        give(peer, peer.serial(), 1);
        pointer_set.get_future().wait();
        peer.event(wire::ImageRevoked{HandleId{1}});
        peer.drain();
    });
    Client client = broker.connect();
    Image image = client.open(some_token);
    EXPECT_EQ(image.user_data(), nullptr);
    int mine = 0;
    image.set_user_data(&mine);
    pointer_set.set_value();
    const dmabroker::Event event = wait_event(client);
    EXPECT_EQ(event.type, DMABROKER_EVENT_IMAGE_REVOKED);
    EXPECT_EQ(event.image, image.native());
    EXPECT_EQ(event.user_data, &mine);
}

TEST_F(ThreadsTest, an_event_that_came_during_another_call_makes_the_descriptor_readable)
{
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        give(peer, peer.serial(), 1);
        peer.expect<wire::MintToken>();
        peer.event(wire::ImageRevoked{HandleId{1}});
        peer.reply(wire::TokenReply{});
        peer.drain();
    });
    Client client = broker.connect();
    Image image = client.open(some_token);
    EXPECT_FALSE(readable(client));
    image.token(Rights::read);
    EXPECT_TRUE(readable(client)) << "the socket is empty, but there is an event";
    EXPECT_TRUE(client.next_event());
    EXPECT_FALSE(client.next_event());
    EXPECT_FALSE(readable(client));
}

} // namespace
} // namespace dmb::test
