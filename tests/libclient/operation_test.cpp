// SPDX-License-Identifier: MIT
// Slow requests that are only started, against a fake broker: answers in any order, beside blocking calls, and how many
// fit.
#include "tests/libclient/client_fixture.hpp"

#include <future>
#include <map>
#include <time.h>
#include <unistd.h>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Event;
using dmabroker::Image;
using dmabroker::Operation;
using dmabroker::Rights;

class OperationTest : public ClientTest {};

// ---- completions ---------------------------------------------------------------------------------------

TEST_F(OperationTest, answers_in_another_order_reach_their_operations)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        std::vector<std::uint64_t> serials;
        for (int i = 0; i < 3; ++i) serials.push_back(serial_of<wire::Allocate>(peer));
        for (std::uint32_t i = 3; i-- > 0;) give(peer, serials[i], i + 1);
        peer.drain();
    });
    Client client = broker.connect();
    int mine[3];
    std::vector<Operation> operations;
    for (int& pointer : mine) operations.push_back(client.allocate_start(small_image, &pointer));
    for (std::uint64_t i = 3; i-- > 0;) {
        const Event event = wait_event(client);
        EXPECT_EQ(event.type, DMABROKER_EVENT_COMPLETED);
        EXPECT_EQ(event.user_data, &mine[i]);
        EXPECT_EQ(event.operation, operations[i].number());
        EXPECT_NO_THROW(event.check());
        ASSERT_TRUE(event.made);
        EXPECT_EQ(event.made->info().id, 41 + i);
    }
}

TEST_F(OperationTest, a_blocking_call_serves_while_operations_are_outstanding)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const std::uint64_t started = serial_of<wire::Allocate>(peer);
        const std::uint64_t blocking = serial_of<wire::Open>(peer);
        give(peer, started, 1);
        peer.event(wire::ImageRevoked{HandleId{1}});
        give(peer, blocking, 2);
    });
    Client client = broker.connect();
    const Operation operation = client.allocate_start(small_image);
    const Image opened = client.open(some_token);
    EXPECT_EQ(opened.info().id, 42u);
    EXPECT_TRUE(readable(client)) << "events wait inside, nothing in the socket";
    const auto completed = client.next_event();
    ASSERT_TRUE(completed && completed->made) << "the completion comes before what happened to its image";
    const auto revoked = client.next_event();
    ASSERT_TRUE(revoked);
    EXPECT_EQ(revoked->type, DMABROKER_EVENT_IMAGE_REVOKED);
    EXPECT_EQ(revoked->image, completed->made->native());
    broker.join();
}

TEST_F(OperationTest, joining_registering_refreshing_and_warming_can_be_started)
{
    FakeBroker broker([&](Peer& peer) {
        peer.greet(true);
        peer.expect<wire::Join>();
        const UniqueFd memory = sealed_memfd(small_desc.memories[0].size);
        const int fd = memory.get();
        wire::ImageReply copy = image_reply(small_desc, 1);
        copy.source = ImageId{7};
        copy.request = RequestId{12};
        peer.reply(copy, {&fd, 1});
        const auto request = peer.expect<wire::Register>();
        wire::ImageReply registered = image_reply(request.desc, 2);
        registered.has_fds = false;
        peer.reply(registered);
        EXPECT_EQ(peer.expect<wire::Refresh>().handle, HandleId{1});
        peer.reply(wire::Refreshed{1234});
        EXPECT_EQ(peer.expect<wire::ManageProofs>().action, ProofAction::warm);
        peer.reply(wire::ErrorReply{Errc::denied, "use the manager socket", {}});
    });
    Client client = broker.connect();
    Operation join = client.join_start(some_token, Rights::read, {});
    const Event joined = wait_event(client);
    ASSERT_TRUE(joined.made);
    EXPECT_EQ(joined.request, 12u);
    EXPECT_EQ(client.last_request(), 12u);

    dmabroker_image_info info = joined.made->info();
    info.source = info.request = 0;
    const Operation registration = [&] {
        const UniqueFd memory = sealed_memfd(small_desc.memories[0].size);
        const int fd = memory.get();
        return client.register_start(info, &fd);
    }();
    const Event registered = wait_event(client);
    EXPECT_TRUE(registered.made) << "the caller's descriptor was closed at once";

    const Operation refresh = client.refresh_start(*joined.made);
    const Event refreshed = wait_event(client);
    EXPECT_EQ(refreshed.cost.count(), 1234);
    EXPECT_FALSE(refreshed.made);

    const Operation warm = client.manage_proofs_start(DMABROKER_PROOFS_WARM);
    const Event denied = wait_event(client);
    EXPECT_EQ(denied.code, DMABROKER_DENIED);
    EXPECT_EQ(denied.text, "use the manager socket");
    EXPECT_THROW(denied.check(), dmabroker::Error);
    broker.join();
}

TEST_F(OperationTest, the_last_request_is_that_of_the_completion_that_was_read_last)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const std::uint64_t first = serial_of<wire::Allocate>(peer), second = serial_of<wire::Allocate>(peer);
        wire::ErrorReply error{Errc::no_backend, "nothing serves it", RequestId{3}};
        peer.send(error, second);
        error.request = RequestId{2};
        peer.send(error, first);
    });
    Client client = broker.connect();
    const Operation first = client.allocate_start(small_image), second = client.allocate_start(small_image);
    EXPECT_EQ(wait_event(client).request, 3u);
    EXPECT_EQ(client.last_request(), 3u);
    EXPECT_EQ(wait_event(client).operation, first.number());
    EXPECT_EQ(client.last_request(), 2u);
}

TEST_F(OperationTest, initial_contents_are_copied_by_the_start_and_written_when_the_broker_did_not)
{
    const UniqueFd memory = sealed_memfd(small_desc.memories[0].size);
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        EXPECT_TRUE(peer.expect<wire::Allocate>().has_contents);
        const int fd = memory.get();
        peer.reply(image_reply(small_desc), {&fd, 1});
    });
    Client client = broker.connect();
    std::vector<std::uint32_t> pixels(16 * 16, 0x11223344);
    dmabroker::Allocation allocation = small_image;
    allocation.contents = dmabroker_pixels{{pixels.data()}, {}};
    const Operation operation = client.allocate_start(allocation);
    pixels.assign(pixels.size(), 0);
    EXPECT_TRUE(wait_event(client).made);
    std::uint32_t seen = 0;
    ASSERT_EQ(::pread(memory.get(), &seen, sizeof seen, static_cast<off_t>(small_desc.planes[0].stride)), 4);
    EXPECT_EQ(seen, 0x11223344u);
}

TEST_F(OperationTest, what_cannot_be_started_has_no_completion)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client client = broker.connect();
    EXPECT_EQ(code_of([&] { client.allocate_start({.size = {4, 4}, .format = small_image.format, .minimum_rung = 9}); }),
              DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code_of([&] { client.join_start("no token", Rights::read, {}); }), DMABROKER_INVALID_ARGUMENT);
    dmabroker_error error{};
    EXPECT_EQ(dmabroker_manage_proofs_start(client.native(), 9, nullptr, nullptr, &error), -EINVAL);
    EXPECT_EQ(dmabroker_register_start(client.native(), nullptr, nullptr, nullptr, 0, nullptr, nullptr, &error), -EINVAL);
    EXPECT_EQ(dmabroker_allocate_start(nullptr, nullptr, nullptr, nullptr, &error), -EINVAL);
    EXPECT_EQ(dmabroker_image_refresh_start(nullptr, nullptr, nullptr, &error), -EINVAL);
    EXPECT_EQ(dmabroker_cancel(nullptr, 1, &error), -EINVAL);
    EXPECT_FALSE(client.next_event());
    EXPECT_FALSE(readable(client));
}

TEST_F(OperationTest, a_lost_channel_ends_all_that_was_sent_there_at_once)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        for (int i = 0; i < 3; ++i) peer.expect<wire::Register>();
        peer.lose_channel({Errc::interrupted, "the receiver ended", {}});
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client client = broker.connect();
    const UniqueFd memory = sealed_memfd(small_desc.memories[0].size);
    const int fd = memory.get();
    const Operation first = client.register_start(small_info(), &fd), second = client.register_start(small_info(), &fd);
    EXPECT_EQ(code_of([&] { client.register_image(small_info(), &fd); }), DMABROKER_INTERRUPTED) << "third in the row";
    EXPECT_EQ(wait_event(client).code, DMABROKER_INTERRUPTED);
    EXPECT_EQ(wait_event(client).code, DMABROKER_INTERRUPTED);
}

TEST_F(OperationTest, what_a_lost_channel_ended_can_be_read_without_anything_in_the_socket)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        for (int i = 0; i < 3; ++i) peer.expect<wire::Register>();
        peer.lose_channel({Errc::interrupted, "the receiver ended", {}});
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client client = broker.connect();
    const UniqueFd memory = sealed_memfd(small_desc.memories[0].size);
    const int fd = memory.get();
    Operation cancelled = client.register_start(small_info(), &fd);
    cancelled.cancel();
    EXPECT_EQ(wait_event(client).code, DMABROKER_CANCELLED);
    std::vector<Operation> operations;
    for (int i = 0; i < 3; ++i) operations.push_back(client.register_start(small_info(), &fd));
    for (int i = 0; i < 3; ++i) EXPECT_EQ(wait_event(client).code, DMABROKER_INTERRUPTED);
}

// ---- limits ------------------------------------------------------------------------------------------------

TEST_F(OperationTest, the_seventeenth_request_is_refused_without_asking_the_broker)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        std::uint64_t first = 0;
        for (int i = 0; i < 16; ++i) {
            const std::uint64_t serial = serial_of<wire::Allocate>(peer);
            if (i == 0) first = serial;
        }
        peer.send(wire::ErrorReply{Errc::no_backend, "no", {}}, first);
        EXPECT_EQ(serial_of<wire::Open>(peer), first + 16) << "something was sent in between";
        peer.reply(wire::ErrorReply{Errc::not_found, "no such token", {}});
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client client = broker.connect();
    for (int i = 0; i < 16; ++i) client.allocate_start(small_image).detach();
    EXPECT_EQ(code_of([&] { client.allocate_start(small_image); }), DMABROKER_TOO_MANY_REQUESTS);
    EXPECT_EQ(code_of([&] { client.open(some_token); }), DMABROKER_TOO_MANY_REQUESTS);
    EXPECT_EQ(wait_event(client).code, DMABROKER_NO_BACKEND);
    EXPECT_EQ(code_of([&] { client.open(some_token); }), DMABROKER_NOT_FOUND);
}

TEST_F(OperationTest, a_broker_that_reads_nothing_holds_no_start_up)
{
    std::promise<void> done;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        done.get_future().wait();
    });
    Client client = broker.connect();
    std::vector<std::uint64_t> modifiers(64, 1);
    dmabroker::Allocation large{.size = {16, 16}, .format = small_image.format};
    large.participants.assign(16, {.modifiers = modifiers});
    int code = 0;
    for (int i = 0; i < 200 && code == 0; ++i) {
        code = code_of([&] { client.allocate_start(large); }); // each is cancelled at once
        if (code == DMABROKER_TOO_MANY_REQUESTS) break;
    }
    EXPECT_TRUE(code == DMABROKER_TOO_MANY_REQUESTS || code == DMABROKER_TIMED_OUT) << code;
    done.set_value();
}

// ---- many ------------------------------------------------------------------------------------------------

std::uint64_t cpu_ns()
{
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

TEST_F(OperationTest, fifty_thousand_waiting_events_cost_no_more_each_than_a_thousand)
{
    constexpr int few = 1'000, many = 50'000;
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        give(peer, serial_of<wire::Open>(peer), 1);
        for (const int count : {few, many}) {
            peer.expect<wire::SetLease>();
            for (int i = 0; i < count; ++i) peer.event(wire::ImageReplaced{HandleId{1}, ImageId{50}, RequestId{8}});
            peer.reply(wire::Done{});
        }
        peer.drain();
    });
    Client client = broker.connect(std::chrono::seconds(60));
    Image image = client.open(some_token);
    const auto cost = [&](int count) {
        const std::uint64_t before = cpu_ns();
        image.set_lease(dmabroker::forever); // all come before its answer
        for (int i = 0; i < count; ++i) EXPECT_TRUE(client.next_event());
        EXPECT_FALSE(client.next_event());
        return (cpu_ns() - before) / static_cast<unsigned>(count);
    };
    const std::uint64_t cost_few = cost(few);
    EXPECT_LT(cost(many), cost_few * 10) << "nanoseconds each; a thousand: " << cost_few;
}

TEST_F(OperationTest, events_find_their_image_among_many)
{
    std::promise<void> sent;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        for (std::uint32_t i = 1; i <= 200; ++i) give(peer, serial_of<wire::Open>(peer), i);
        for (std::uint32_t i = 1; i <= 200; ++i) peer.event(wire::ImageRevoked{HandleId{i}});
        sent.set_value();
        peer.drain();
    });
    Client client = broker.connect();
    std::map<dmabroker_image*, Image> images;
    for (int i = 0; i < 200; ++i) {
        Image image = client.open(some_token);
        images.emplace(image.native(), std::move(image));
    }
    sent.get_future().wait();
    while (images.size() > 100) EXPECT_EQ(images.erase(wait_event(client).image), 1u);
    images.clear();
    client.dispatch();
    EXPECT_FALSE(client.next_event()) << "an event of an image that was closed";
}

} // namespace
} // namespace dmb::test
