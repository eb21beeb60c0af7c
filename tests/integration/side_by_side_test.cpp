// SPDX-License-Identifier: MIT
// Several requests of one connection at a time: those that take long, because their worker hangs, hold up nobody, can be
// taken back, and are done once however often their number comes.
#include "tests/integration/open_times.hpp"
#include "tests/integration/worker_fault.hpp"

#include <algorithm>
#include <set>

namespace dmb::test {
namespace {

class SideBySide : public WorkerFault {
protected:
    /// An allocation that only the driver can serve, and it hangs.
    static wire::Allocate slow(std::uint32_t size)
    {
        wire::Allocate out = make_allocate({size, size}, fourcc("AB24"));
        out.spec.usage = UsageFlag::render;
        out.spec.backends = {};
        out.spec.backends.add(Backend::vulkan);
        out.spec.modifiers = {tiled};
        return out;
    }
    void hang() { orders.rule("vulkan", tiled, "hang"); }
    /// Numbers of requests that wait for their answers.
    std::vector<std::uint64_t> begin(RawClient& who, std::size_t count)
    {
        std::vector<std::uint64_t> serials;
        for (std::size_t i = 0; i < count; ++i) {
            serials.push_back(100 + i);
            EXPECT_TRUE(who.say(slow(16 + static_cast<std::uint32_t>(i)), {}, serials.back()));
        }
        return serials;
    }
    static const wire::ErrorReply* error(const std::optional<RawClient::Answer>& answer)
    {
        return answer ? std::get_if<wire::ErrorReply>(&answer->message) : nullptr;
    }
    Token shared(RawClient& who)
    {
        const auto image = who.get<wire::ImageReply>(make_allocate({64, 64}));
        who.last_fds.clear();
        return who.get<wire::TokenReply>(wire::MintToken{image.handle, Right::read}).token;
    }
};

TEST_F(SideBySide, eight_allocations_that_hang_hold_up_neither_their_client_nor_others)
{
    Undisturbed undisturbed;
    RawClient& busy = client();
    RawClient& other = client();
    const Token token = shared(other);
    hang();
    begin(busy, 8);
    undisturbed.expect_p99_below_twice_mine({{busy, token}, {other, token}});
    const bool still_hanging = !error(busy.hear(0)); // nothing was answered: all of it was beside them
    EXPECT_TRUE(still_hanging || is_instrumented());
}

TEST_F(SideBySide, one_more_than_sixteen_is_refused_and_a_cancel_still_arrives)
{
    hang();
    RawClient& busy = client();
    const auto serials = begin(busy, 16);
    ASSERT_TRUE(busy.say(slow(99), {}, 200));
    const auto refused = busy.hear(patience);
    ASSERT_TRUE(error(refused));
    EXPECT_EQ(refused->serial, 200u);
    EXPECT_EQ(error(refused)->code, Errc::too_many_requests);
    ASSERT_TRUE(busy.say(slow(99), {}, 200)) << "asked again";
    const auto again = busy.hear(patience);
    ASSERT_TRUE(error(again));
    EXPECT_EQ(error(again)->code, Errc::too_many_requests);
    ASSERT_TRUE(busy.say(wire::Cancel{serials[7]}, {}, 201));
    const auto cancelled = busy.hear(patience), done = busy.hear(patience);
    ASSERT_TRUE(error(cancelled) && done);
    EXPECT_EQ(cancelled->serial, serials[7]);
    EXPECT_EQ(error(cancelled)->code, Errc::cancelled);
    EXPECT_EQ(done->serial, 201u);
    EXPECT_TRUE(std::holds_alternative<wire::Done>(done->message));
    ASSERT_TRUE(busy.say(make_allocate({8, 8}), {}, 202)) << "there is room for another one";
    const auto made = busy.hear(patience);
    ASSERT_TRUE(made && std::holds_alternative<wire::ImageReply>(made->message));
    EXPECT_EQ(made->serial, 202u) << "it overtook those that hang";
}

TEST_F(SideBySide, every_request_that_hangs_is_answered_once)
{
    hang();
    RawClient& busy = client();
    const auto serials = begin(busy, 5);
    ASSERT_TRUE(busy.say(wire::Cancel{serials[2]}, {}, 300));
    orders.no_rules(); // the one that is being served is killed with its worker, the others are served by the next
    std::multiset<std::uint64_t> answered;
    for (int i = 0; i < 6; ++i)
        if (const auto answer = busy.hear(patience)) answered.insert(answer->serial);
    EXPECT_EQ(answered, (std::multiset<std::uint64_t>{100, 101, 102, 103, 104, 300}));
    EXPECT_FALSE(busy.hear(0.2)) << "and no more";
    EXPECT_EQ(busy.error(wire::Cancel{serials[0]}), Errc::not_found) << "what is done cannot be taken back";
    EXPECT_EQ(busy.error(wire::Cancel{4711}), Errc::not_found);
}

TEST_F(SideBySide, what_a_cancelled_request_would_have_made_is_given_back)
{
    orders.no_rules();
    RawClient& who = client();
    for (std::uint64_t i = 0; i < 50; ++i) {
        ASSERT_TRUE(who.say(slow(32), {}, 1000 + 2 * i));
        ASSERT_TRUE(who.say(wire::Cancel{1000 + 2 * i}, {}, 1001 + 2 * i));
    }
    std::size_t made = 0, cancelled = 0, too_late = 0, done = 0;
    for (int i = 0; i < 100; ++i) {
        const auto answer = who.hear(patience);
        ASSERT_TRUE(answer) << i;
        if (const auto* image = std::get_if<wire::ImageReply>(&answer->message)) ++made, who.say(wire::Release{image->handle});
        else if (const auto* failed = error(answer)) ++(failed->code == Errc::cancelled ? cancelled : too_late);
        else ++done;
    }
    EXPECT_EQ(made, too_late);
    EXPECT_EQ(cancelled, done);
    EXPECT_EQ(made + cancelled, 50u);
}

TEST_F(SideBySide, a_number_that_comes_again_gets_the_same_answer)
{
    RawClient& owner = client();
    RawClient& viewer = client();
    const auto image = owner.get<wire::ImageReply>(make_allocate({64, 64}));
    const wire::MintToken mint{.handle = image.handle, .rights = Right::read, .one_shot = true};
    ASSERT_TRUE(owner.say(mint, {}, 50));
    const auto minted = owner.hear(patience);
    ASSERT_TRUE(owner.say(mint, {}, 50));
    const auto again = owner.hear(patience);
    ASSERT_TRUE(minted && again);
    const Token token = std::get<wire::TokenReply>(minted->message).token;
    EXPECT_EQ(std::get<wire::TokenReply>(again->message).token, token);
    const wire::Open open{token, Right::read, UsageFlag::cpu_read};
    std::set<std::uint32_t> handles;
    for (int i = 0; i < 3; ++i) { // of a one-shot token!
        ASSERT_TRUE(viewer.say(open, {}, 60));
        const auto opened = viewer.hear(patience);
        ASSERT_TRUE(opened && std::holds_alternative<wire::ImageReply>(opened->message)) << i;
        EXPECT_EQ(opened->fds.size(), 1u);
        handles.insert(std::get<wire::ImageReply>(opened->message).handle.value);
    }
    EXPECT_EQ(handles.size(), 1u);
    EXPECT_EQ(viewer.error(open), Errc::token_used) << "under another number";
    ASSERT_TRUE(viewer.say(wire::Open{token, Right::read, UsageFlag::sample}, {}, 60));
    const auto other = viewer.hear(patience);
    ASSERT_TRUE(error(other));
    EXPECT_EQ(error(other)->code, Errc::invalid_argument);
}

TEST_F(SideBySide, a_repeated_release_gives_back_nothing_twice)
{
    RawClient& who = client();
    const auto image = who.get<wire::ImageReply>(make_allocate({64, 64}));
    who.last_fds.clear();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(who.say(wire::Release{image.handle}, {}, 70));
    EXPECT_EQ(who.error(wire::Cancel{1}), Errc::not_found) << "and the connection lives";
}

TEST_F(SideBySide, the_next_life_of_the_broker_repeats_no_number_and_knows_old_tokens_from_wrong_ones)
{
    RawClient& before = client();
    const auto image = before.get<wire::ImageReply>(make_allocate({64, 64}));
    const Token old = before.get<wire::TokenReply>(wire::MintToken{image.handle, Right::read}).token;
    const Snapshot first = manager->snapshot();
    stop();
    start();
    RawClient& after = client();
    EXPECT_EQ(after.error(wire::Open{old, Right::read, UsageFlag::cpu_read}), Errc::broker_restarted);
    Token wrong = old;
    wrong.bytes[3] ^= 1;
    EXPECT_EQ(after.error(wire::Open{wrong, Right::read, UsageFlag::cpu_read}), Errc::not_found);
    const auto next = after.get<wire::ImageReply>(make_allocate({64, 64}));
    EXPECT_GT(next.image.value, image.image.value);
    EXPECT_GT(next.request.value, image.request.value);
    for (const ClientInfo& info : manager->snapshot().clients)
        EXPECT_TRUE(std::ranges::none_of(first.clients, [&](const ClientInfo& c) { return c.id == info.id; }));
    EXPECT_LT(next.image.value, std::uint64_t{1} << 53);
}

TEST_F(SideBySide, a_resume_key_that_is_not_good_ends_the_connection_with_the_reason)
{
    const auto connect = [&](const ResumeKey& key) {
        RawClient& who = *clients.emplace_back(std::make_unique<RawClient>(broker->socket(), RawClient::Greeting::no));
        wire::Hello hello;
        hello.resume = key;
        hello.name = "resumer";
        EXPECT_TRUE(who.say(hello));
        const auto answer = who.hear(patience);
        const auto* reply = answer ? std::get_if<wire::HelloReply>(&answer->message) : nullptr;
        return reply ? *reply : wire::HelloReply{.features = static_cast<std::uint64_t>(who.goodbye)};
    };
    const wire::HelloReply first = connect({});
    ASSERT_NE(first.client, ClientId{});
    EXPECT_NE(first.resume, ResumeKey{});
    EXPECT_FALSE(first.resumed);
    const wire::HelloReply taken = connect(first.resume), unknown = connect({1, 2, 3});
    EXPECT_EQ(taken.client, ClientId{});
    EXPECT_EQ(static_cast<Errc>(taken.features), Errc::denied) << "its client is connected";
    EXPECT_EQ(static_cast<Errc>(unknown.features), Errc::not_found);
}

TEST_F(SideBySide, a_pool_of_images_comes_in_one_answer_all_or_none)
{
    RawClient& who = client();
    wire::Allocate request = make_allocate({64, 64});
    request.count = 60;
    const auto pool = who.get<wire::ImageReply>(request);
    EXPECT_EQ(pool.more.size(), 59u);
    EXPECT_EQ(who.last_fds.size(), 60u);
    std::set<std::uint64_t> images{pool.image.value};
    for (const wire::HeldImage& held : pool.more) {
        images.insert(held.image.value);
        EXPECT_EQ(held.desc, pool.desc);
    }
    EXPECT_EQ(images.size(), 60u);
    request.count = 61;
    EXPECT_EQ(who.error(request), Errc::invalid_argument);
    request.count = 0;
    EXPECT_EQ(who.error(request), Errc::invalid_argument);
    request.count = 60;
    request.spec.size = {16384, 16384}; // 60 GiB
    EXPECT_EQ(who.error(request), Errc::quota_exceeded);
    EXPECT_EQ(who.snapshot().images.size(), 60u);
    who.last_fds.clear();
}

} // namespace
} // namespace dmb::test
