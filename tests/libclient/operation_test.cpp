// SPDX-License-Identifier: MIT
// Slow requests that are only started, against a fake broker: answers in any order, cancels at any moment, and
// exactly one completion for each.
#include "tests/libclient/fake_broker.hpp"
#include "tests/support/fixture.hpp"

#include <future>
#include <map>
#include <poll.h>
#include <random>
#include <set>
#include <time.h>
#include <unistd.h>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Event;
using dmabroker::Image;
using dmabroker::Operation;
using dmabroker::Rights;

constexpr const char* some_token = "00112233445566778899aabbccddeeff";
const FourCC ab24 = fourcc("AB24");
const dmabroker::Allocation small_image{.size = {16, 16}, .format = ab24.value};

class OperationTest : public FdTest {
protected:
    template <class Action> static int code_of(Action action)
    {
        try {
            action();
            return 0;
        } catch (const dmabroker::Error& error) {
            EXPECT_STRNE(error.what(), "");
            return error.code();
        }
    }
    static bool readable(const Client& client, int wait_ms = 0)
    {
        pollfd p{client.fd(), POLLIN, 0};
        return ::poll(&p, 1, wait_ms) == 1;
    }
    /// The next event, waited for. What was read before the end is told before it.
    static Event wait_event(Client& client)
    {
        for (;;) {
            if (auto event = client.next_event()) return std::move(*event);
            EXPECT_TRUE(readable(client, 10'000)) << "no event in time";
            dmabroker_dispatch(client.native(), nullptr);
        }
    }
    static void give(Peer& peer, std::uint64_t serial, std::uint32_t handle)
    {
        const ImageDesc desc = linear_desc({16, 16}, ab24);
        const UniqueFd memory = sealed_memfd(desc.memories[0].size);
        const int fd = memory.get();
        peer.send(image_reply(desc, handle), serial, {&fd, 1});
    }
    template <class T> static std::uint64_t serial_of(Peer& peer)
    {
        peer.expect<T>();
        return peer.serial();
    }
    static void expect_cancel(Peer& peer, std::uint64_t serial)
    {
        EXPECT_EQ(peer.expect<wire::Cancel>().request, serial);
        peer.reply(wire::Done{});
        peer.send(wire::ErrorReply{Errc::cancelled, "cancelled by the client", {}}, serial);
    }
};

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
    const ImageDesc desc = linear_desc({16, 16}, ab24);
    FakeBroker broker([&](Peer& peer) {
        peer.greet(true);
        peer.expect<wire::Join>();
        const UniqueFd memory = sealed_memfd(desc.memories[0].size);
        const int fd = memory.get();
        wire::ImageReply copy = image_reply(desc, 1);
        copy.source = ImageId{7};
        copy.request = RequestId{12};
        peer.reply(copy, {&fd, 1});
        const auto request = peer.expect<wire::Register>();
        wire::ImageReply registered = image_reply(request.desc, 2);
        registered.has_fds = false;
        peer.reply(registered);
        EXPECT_EQ(peer.expect<wire::Refresh>().handle, HandleId{1});
        peer.reply(wire::Refreshed{1234});
        EXPECT_EQ(peer.expect<wire::ManageProofs>().action, wire::ProofAction::warm);
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
        const UniqueFd memory = sealed_memfd(desc.memories[0].size);
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

TEST_F(OperationTest, an_explanation_is_that_of_the_completion_that_was_read_last)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const std::uint64_t first = serial_of<wire::Allocate>(peer), second = serial_of<wire::Allocate>(peer);
        wire::ErrorReply error{Errc::no_backend, "nothing serves it", RequestId{3}, {}};
        error.candidates.push_back({Backend::gbm, "the second", wire::Verdict::failed, "no"});
        peer.send(error, second);
        error.request = RequestId{2};
        error.candidates[0].device = "the first";
        peer.send(error, first);
    });
    Client client = broker.connect();
    const Operation first = client.allocate_start(small_image), second = client.allocate_start(small_image);
    EXPECT_EQ(wait_event(client).request, 3u);
    EXPECT_NE(client.explanation().find("the second"), std::string::npos);
    EXPECT_EQ(client.last_request(), 3u);
    EXPECT_EQ(wait_event(client).operation, first.number());
    EXPECT_NE(client.explanation().find("the first"), std::string::npos);
    EXPECT_EQ(client.last_request(), 2u);
}

TEST_F(OperationTest, initial_contents_are_copied_by_the_start_and_written_when_the_broker_did_not)
{
    const ImageDesc desc = linear_desc({16, 16}, ab24);
    const UniqueFd memory = sealed_memfd(desc.memories[0].size);
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        EXPECT_TRUE(peer.expect<wire::Allocate>().has_contents);
        const int fd = memory.get();
        peer.reply(image_reply(desc), {&fd, 1});
    });
    Client client = broker.connect();
    std::vector<std::uint32_t> pixels(16 * 16, 0x11223344);
    dmabroker::Allocation allocation = small_image;
    allocation.contents = dmabroker_pixels{{pixels.data()}, {}};
    const Operation operation = client.allocate_start(allocation);
    pixels.assign(pixels.size(), 0);
    EXPECT_TRUE(wait_event(client).made);
    std::uint32_t seen = 0;
    ASSERT_EQ(::pread(memory.get(), &seen, sizeof seen, static_cast<off_t>(desc.planes[0].stride)), 4);
    EXPECT_EQ(seen, 0x11223344u);
}

TEST_F(OperationTest, what_cannot_be_started_has_no_completion)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client client = broker.connect();
    EXPECT_EQ(code_of([&] { client.allocate_start({.size = {4, 4}, .format = ab24.value, .minimum_rung = 9}); }),
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
        peer.send(wire::ErrorReply{Errc::no_backend, "no", {}, {}}, first);
        EXPECT_EQ(serial_of<wire::Open>(peer), first + 16) << "something was sent in between";
        peer.reply(wire::ErrorReply{Errc::not_found, "no such token", {}, {}});
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
    dmabroker::Allocation large{.size = {16, 16}, .format = ab24.value};
    large.participants.assign(16, {.modifiers = modifiers});
    int code = 0;
    for (int i = 0; i < 200 && code == 0; ++i) {
        code = code_of([&] { client.allocate_start(large); }); // each is cancelled at once
        if (code == DMABROKER_TOO_MANY_REQUESTS) break;
    }
    EXPECT_TRUE(code == DMABROKER_TOO_MANY_REQUESTS || code == DMABROKER_TIMED_OUT) << code;
    done.set_value();
}

// ---- cancelling --------------------------------------------------------------------------------------------

TEST_F(OperationTest, a_cancelled_operation_completes_at_once)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const std::uint64_t serial = serial_of<wire::Allocate>(peer);
        expect_cancel(peer, serial);
        peer.expect<wire::Open>();
        peer.reply(wire::ErrorReply{Errc::not_found, "no such token", {}, {}});
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client client = broker.connect();
    int mine = 0;
    Operation operation = client.allocate_start(small_image, &mine);
    const std::uint64_t number = operation.number();
    EXPECT_EQ(dmabroker_cancel(client.native(), number, nullptr), 0);
    EXPECT_EQ(dmabroker_cancel(client.native(), number, nullptr), 0) << "twice is once";
    EXPECT_TRUE(readable(client));
    const auto event = client.next_event();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->code, DMABROKER_CANCELLED);
    EXPECT_EQ(event->user_data, &mine);
    EXPECT_FALSE(event->made);
    EXPECT_EQ(dmabroker_cancel(client.native(), number, nullptr), -ENOENT) << "its completion was read";
    EXPECT_EQ(code_of([&] { client.open(some_token); }), DMABROKER_NOT_FOUND);
    EXPECT_FALSE(client.next_event());
}

TEST_F(OperationTest, a_result_that_overtook_its_cancel_is_given_back)
{
    std::promise<void> cancelled, answered;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        const std::uint64_t serial = serial_of<wire::Allocate>(peer);
        cancelled.get_future().wait();
        give(peer, serial, 9);
        peer.expect<wire::Cancel>();
        peer.reply(wire::ErrorReply{Errc::not_found, "it is done", {}, {}});
        answered.set_value();
        EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{9});
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client client = broker.connect();
    client.allocate_start(small_image).cancel();
    cancelled.set_value();
    EXPECT_EQ(wait_event(client).code, DMABROKER_CANCELLED);
    answered.get_future().wait();
    client.dispatch(); // the late image
    EXPECT_FALSE(client.next_event());
}

TEST_F(OperationTest, a_completion_that_was_not_read_yet_is_cancelled_and_its_image_given_back)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        give(peer, serial_of<wire::Allocate>(peer), 5);
        EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{5});
        EXPECT_TRUE(peer.wait_for_end()) << "there is nothing left to cancel at the broker";
    });
    Client client = broker.connect();
    Operation operation = client.allocate_start(small_image);
    EXPECT_TRUE(readable(client, 10'000));
    client.dispatch();
    operation.cancel();
    const auto event = client.next_event();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->code, DMABROKER_CANCELLED);
    EXPECT_FALSE(event->made);
    EXPECT_FALSE(client.next_event());
}

TEST_F(OperationTest, an_operation_is_cancelled_by_its_destructor)
{
    std::promise<void> answered;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        expect_cancel(peer, serial_of<wire::Allocate>(peer));
        answered.set_value();
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client client = broker.connect();
    {
        const Operation operation = client.allocate_start(small_image);
    }
    EXPECT_EQ(client.next_event()->code, DMABROKER_CANCELLED);
    answered.get_future().wait();
}

TEST_F(OperationTest, closing_a_client_ends_its_operations_and_keeps_no_descriptor)
{
    const ImageDesc desc = linear_desc({16, 16}, ab24);
    std::promise<void> answered;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        const std::uint64_t first = serial_of<wire::Allocate>(peer);
        peer.expect<wire::Allocate>();
        peer.expect<wire::Register>();
        give(peer, first, 1);
        answered.set_value();
        EXPECT_TRUE(peer.wait_for_end());
    });
    Client client = broker.connect();
    std::vector<std::uint32_t> pixels(16 * 16);
    dmabroker::Allocation with_contents = small_image;
    with_contents.contents = dmabroker_pixels{{pixels.data()}, {}};
    client.allocate_start(small_image).detach();
    client.allocate_start(with_contents).detach();
    const UniqueFd memory = sealed_memfd(desc.memories[0].size);
    const int fd = memory.get();
    dmabroker_image_info info{};
    info.width = info.height = 16;
    info.format = ab24.value;
    info.kind = DMABROKER_MEMFD;
    info.plane_count = info.memory_count = 1;
    info.planes[0].stride = desc.planes[0].stride;
    info.memory_size[0] = desc.memories[0].size;
    client.register_start(info, &fd).detach();
    answered.get_future().wait();
    client.dispatch(); // one completion is never read
}

/// Answers allocations in random order, some before and some after their cancel arrived.
class RandomBroker {
public:
    explicit RandomBroker(Peer& peer, unsigned seed) : peer_(peer), random_(seed), memory_(sealed_memfd(desc_.memories[0].size))
    {
    }
    void serve()
    {
        for (;;) {
            pollfd p{peer_.socket(), POLLIN, 0};
            const bool something = ::poll(&p, 1, pending_.empty() ? 10'000 : 0) == 1;
            if (something && (pending_.size() < 2 || coin())) {
                if (!take()) return;
            } else if (!pending_.empty()) {
                answer(pick());
            }
        }
    }
    std::set<std::uint32_t> held;

private:
    bool coin() { return random_() % 2 == 0; }
    std::uint64_t pick() { return *std::next(pending_.begin(), static_cast<std::ptrdiff_t>(random_() % pending_.size())); }
    bool take()
    {
        wire::Decoded<wire::Request> request;
        try {
            request = peer_.next();
        } catch (const std::exception&) {
            return false;
        }
        if (std::holds_alternative<wire::Allocate>(request.message)) pending_.insert(request.serial);
        if (const auto* release = std::get_if<wire::Release>(&request.message)) {
            EXPECT_EQ(held.erase(release->handle.value), 1u) << "given back twice";
        }
        if (const auto* cancel = std::get_if<wire::Cancel>(&request.message)) answer(*cancel, request.serial);
        return true;
    }
    void answer(const wire::Cancel& cancel, std::uint64_t serial)
    {
        if (pending_.erase(cancel.request) == 0) return peer_.send(wire::ErrorReply{Errc::not_found, "done", {}, {}}, serial);
        const bool before = coin();
        if (before) peer_.send(wire::Done{}, serial);
        peer_.send(wire::ErrorReply{Errc::cancelled, "cancelled", {}, {}}, cancel.request);
        if (!before) peer_.send(wire::Done{}, serial);
    }
    void answer(std::uint64_t serial)
    {
        pending_.erase(serial);
        if (random_() % 4 == 0) return peer_.send(wire::ErrorReply{Errc::no_backend, "no", {}, {}}, serial);
        const int fd = memory_.get();
        held.insert(++handle_);
        peer_.send(image_reply(desc_, handle_), serial, {&fd, 1});
    }

    Peer& peer_;
    std::mt19937 random_;
    ImageDesc desc_ = linear_desc({16, 16}, ab24);
    UniqueFd memory_;
    std::set<std::uint64_t> pending_;
    std::uint32_t handle_ = 0;
};

TEST_F(OperationTest, ten_thousand_operations_have_ten_thousand_completions_whenever_they_are_cancelled)
{
    constexpr unsigned seed = 20261129;
    constexpr std::uint64_t count = 10'000;
    std::size_t kept = 1;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        RandomBroker random(peer, seed);
        random.serve();
        kept = random.held.size();
    });
    {
        Client client = broker.connect();
        std::mt19937 random(seed + 1);
        std::map<std::uint64_t, bool> outstanding; // by number: cancelled
        std::uint64_t started = 0, completed = 0, cancelled = 0;
        while (completed < count) {
            if (started < count && outstanding.size() < 12 && random() % 2) {
                const int code = code_of([&] {
                    Operation operation = client.allocate_start(small_image, &started);
                    outstanding[operation.number()] = false;
                    operation.detach();
                });
                EXPECT_TRUE(code == 0 || code == DMABROKER_TOO_MANY_REQUESTS) << code; // unanswered cancels count
                started += code == 0;
            }
            if (!outstanding.empty() && random() % 3 == 0) {
                const auto one = std::next(outstanding.begin(), static_cast<std::ptrdiff_t>(random() % outstanding.size()));
                ASSERT_EQ(dmabroker_cancel(client.native(), one->first, nullptr), 0);
                one->second = true;
            }
            if (random() % 2) client.dispatch();
            if (random() % 2) continue;
            if (const auto event = client.next_event()) {
                const auto found = outstanding.find(event->operation);
                ASSERT_NE(found, outstanding.end()) << "completed twice: " << event->operation;
                EXPECT_EQ(found->second, event->code == DMABROKER_CANCELLED);
                EXPECT_EQ(event->made.has_value(), event->code == 0);
                cancelled += found->second;
                outstanding.erase(found);
                ++completed;
            }
        }
        EXPECT_GT(cancelled, count / 20);
        EXPECT_LT(cancelled, count - count / 20);
        // Late images were given back, too: nothing is answered any more once this is.
        while (code_of([&] { client.allocate(small_image); }) == DMABROKER_TOO_MANY_REQUESTS) client.dispatch();
    }
    broker.join();
    EXPECT_EQ(kept, 0u) << "images that nobody has, seed " << seed;
}

// ---- what a later broker may send ----------------------------------------------------------------------------

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

TEST_F(OperationTest, invented_events_and_sections_are_passed_over_with_their_descriptors)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const std::uint64_t started = serial_of<wire::Allocate>(peer), blocking = serial_of<wire::Open>(peer);
        const ImageDesc desc = linear_desc({16, 16}, ab24);
        const UniqueFd memory = sealed_memfd(desc.memories[0].size);
        const std::array<int, 2> fds{memory.get(), memory.get()};
        peer.send_bytes(invented_event(0));
        peer.send_bytes(invented_event(2), fds);
        peer.send_bytes(with_invented_section(image_reply(desc, 1), started), fds);
        peer.send_bytes(with_invented_section(wire::ImageRevoked{HandleId{1}}, 0), std::span(fds).first(1));
        peer.send_bytes(with_invented_section(image_reply(desc, 2), blocking), fds);
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

TEST_F(OperationTest, values_that_have_no_name_yet_are_passed_on_as_numbers)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        wire::ImageReply reply = image_reply(linear_desc({16, 16}, ab24));
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
    EXPECT_NO_THROW(image.map(Rights::read));
}

TEST_F(OperationTest, an_error_code_of_a_later_broker_is_passed_on_as_a_number)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Allocate>();
        peer.reply(wire::ErrorReply{static_cast<Errc>(999), "the moon is full", {}, {}});
        peer.expect<wire::Open>();
        peer.reply(wire::ErrorReply{static_cast<Errc>(999), "the moon is full", {}, {}});
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
