// SPDX-License-Identifier: MIT
// Operations that are cancelled at any moment, or end with their client, against a fake broker: exactly one completion
// each, and what came too late is given back.
#include "tests/libclient/client_fixture.hpp"

#include <future>
#include <map>
#include <random>
#include <set>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Operation;

class CancelTest : public ClientTest {
protected:
    static void expect_cancel(Peer& peer, std::uint64_t serial)
    {
        EXPECT_EQ(peer.expect<wire::Cancel>().request, serial);
        peer.reply(wire::Done{});
        peer.send(wire::ErrorReply{Errc::cancelled, "cancelled by the client", {}}, serial);
    }
};

TEST_F(CancelTest, a_cancelled_operation_completes_at_once)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const std::uint64_t serial = serial_of<wire::Allocate>(peer);
        expect_cancel(peer, serial);
        peer.expect<wire::Open>();
        peer.reply(wire::ErrorReply{Errc::not_found, "no such token", {}});
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

TEST_F(CancelTest, a_result_that_overtook_its_cancel_is_given_back)
{
    std::promise<void> cancelled, answered;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        const std::uint64_t serial = serial_of<wire::Allocate>(peer);
        cancelled.get_future().wait();
        give(peer, serial, 9);
        peer.expect<wire::Cancel>();
        peer.reply(wire::ErrorReply{Errc::not_found, "it is done", {}});
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

TEST_F(CancelTest, a_completion_that_was_not_read_yet_is_cancelled_and_its_image_given_back)
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

TEST_F(CancelTest, an_operation_is_cancelled_by_its_destructor)
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

TEST_F(CancelTest, closing_a_client_ends_its_operations_and_keeps_no_descriptor)
{
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
    const UniqueFd memory = sealed_memfd(small_desc.memories[0].size);
    const int fd = memory.get();
    const dmabroker_image_info info = small_info();
    client.register_start(info, &fd).detach();
    auto all_there = answered.get_future();
    while (all_there.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready)
        client.dispatch(); // what has descriptors waits for the channel
    client.dispatch();     // one completion is never read
}

/// Answers allocations in random order, some before and some after their cancel arrived.
class RandomBroker {
public:
    explicit RandomBroker(Peer& peer, unsigned seed)
        : peer_(peer), random_(seed), memory_(sealed_memfd(small_desc.memories[0].size))
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
        if (pending_.erase(cancel.request) == 0) return peer_.send(wire::ErrorReply{Errc::not_found, "done", {}}, serial);
        const bool before = coin();
        if (before) peer_.send(wire::Done{}, serial);
        peer_.send(wire::ErrorReply{Errc::cancelled, "cancelled", {}}, cancel.request);
        if (!before) peer_.send(wire::Done{}, serial);
    }
    void answer(std::uint64_t serial)
    {
        pending_.erase(serial);
        if (random_() % 4 == 0) return peer_.send(wire::ErrorReply{Errc::no_backend, "no", {}}, serial);
        const int fd = memory_.get();
        held.insert(++handle_);
        peer_.send(image_reply(small_desc, handle_), serial, {&fd, 1});
    }

    Peer& peer_;
    std::mt19937 random_;
    UniqueFd memory_;
    std::set<std::uint64_t> pending_;
    std::uint32_t handle_ = 0;
};

TEST_F(CancelTest, ten_thousand_operations_have_ten_thousand_completions_whenever_they_are_cancelled)
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
        struct Outstanding {
            bool may_be_cancelled, cancelled = false;
        };
        std::map<std::uint64_t, Outstanding> outstanding;
        std::uint64_t started = 0, completed = 0, cancelled = 0;
        while (completed < count) {
            if (started < count && outstanding.size() < 12 && random() % 2) {
                const int code = code_of([&] {
                    Operation operation = client.allocate_start(small_image, &started);
                    // The others are answered, however slow the broker's thread is.
                    outstanding[operation.number()] = {.may_be_cancelled = random() % 2 == 0};
                    operation.detach();
                });
                EXPECT_TRUE(code == 0 || code == DMABROKER_TOO_MANY_REQUESTS) << code; // unanswered cancels count
                started += code == 0;
            }
            if (!outstanding.empty() && random() % 3 == 0) {
                const auto one = std::next(outstanding.begin(), static_cast<std::ptrdiff_t>(random() % outstanding.size()));
                if (one->second.may_be_cancelled) {
                    ASSERT_EQ(dmabroker_cancel(client.native(), one->first, nullptr), 0);
                    one->second.cancelled = true;
                }
            }
            if (random() % 2) client.dispatch();
            if (random() % 2) continue;
            if (const auto event = client.next_event()) {
                const auto found = outstanding.find(event->operation);
                ASSERT_NE(found, outstanding.end()) << "completed twice: " << event->operation;
                EXPECT_EQ(found->second.cancelled, event->code == DMABROKER_CANCELLED);
                EXPECT_EQ(event->made.has_value(), event->code == 0);
                cancelled += found->second.cancelled;
                outstanding.erase(found);
                ++completed;
            } else if (outstanding.size() == 12) {
                EXPECT_TRUE(readable(client, 10'000)) << "none of twelve is answered";
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

} // namespace
} // namespace dmb::test
