// SPDX-License-Identifier: MIT
// Requests by their numbers: repeated, cancelled, several images at once; and coming back.
#include "tests/daemon/joining_fixture.hpp"
#include "tests/support/instrumented.hpp"

#include "daemon/core/state/saved.hpp"

#include <chrono>

namespace dmb::test {
namespace {

class Numbered : public JoiningTest {
protected:
    /// An allocation that waits for the GPU.
    OperationId waiting(ClientId id, std::uint16_t count = 1)
    {
        gpu.answers.held = true;
        ImageRequest what = request();
        what.spec.usage = UsageFlag::render;
        what.spec.backends = gpu.gbm;
        what.count = count;
        const OperationId number = next(id);
        EXPECT_EQ(broker->begin(id, number.serial, 7).begin, Begin::fresh);
        broker->allocate(number, what, {}, now, [this](const OperationAnswer& answer) { ends.push_back(code(answer.held)); });
        return number;
    }
    Result<std::vector<Got>> allocate_many(ClientId id, std::uint16_t count, Extent size = {64, 64})
    {
        Result<std::vector<Got>> out = fail(Errc::internal, "not answered");
        ImageRequest what = request(size);
        what.count = count;
        broker->allocate(next(id), what, {}, now, [&](const OperationAnswer& answer) {
            if (!answer.held) return void(out = std::unexpected(answer.held.error()));
            out.emplace();
            for (const Held& held : *answer.held) out->push_back(keep(held));
        });
        return out;
    }
    std::vector<Errc> ends;
};

TEST_F(Numbered, a_request_that_is_cancelled_ends_once_and_its_late_result_is_given_back)
{
    const OperationId number = waiting(alice);
    EXPECT_EQ(used(alice).images, 1u);
    EXPECT_TRUE(broker->cancel(alice, number.serial));
    EXPECT_EQ(ends, std::vector{Errc::cancelled});
    EXPECT_EQ(code(broker->cancel(alice, number.serial)), Errc::not_found);
    EXPECT_EQ(used(alice).images, 1u) << "the memory may exist by now";
    gpu.answers.release_all();
    EXPECT_EQ(ends.size(), 1u);
    expect_nothing_is_held(alice);
    EXPECT_TRUE(broker->state().operations().empty());
    EXPECT_EQ(broker->state().images().size(), 0u);
}

TEST_F(Numbered, a_join_and_a_refresh_are_cancelled_like_any_other)
{
    const Got image = make_tiled(alice);
    const auto bobs = come(bob, token_of(alice, image), party(state(bob, memfd_table), UsageFlag::cpu_read));
    gpu.hands.answers.held = true;
    const auto carols = come(carol, token_of(alice, image), party(state(carol, memfd_table), UsageFlag::cpu_read));
    EXPECT_TRUE(broker->cancel(carol, serial));
    EXPECT_EQ(carols->code, Errc::cancelled);
    broker->refresh(next(bob), bobs->got.handle, now, [&](const OperationAnswer& a) { ends.push_back(code(a.held)); });
    EXPECT_TRUE(broker->cancel(bob, serial));
    EXPECT_EQ(ends, std::vector{Errc::cancelled});
    gpu.hands.answers.release_all();
    EXPECT_EQ(ends.size(), 1u);
    expect_nothing_is_held(carol);
    EXPECT_TRUE(broker->state().operations().empty());
}

TEST_F(Numbered, nobody_cancels_for_another_or_what_is_done)
{
    const OperationId number = waiting(alice);
    EXPECT_EQ(code(broker->cancel(bob, number.serial)), Errc::not_found);
    gpu.answers.release_all();
    EXPECT_EQ(code(broker->cancel(alice, number.serial)), Errc::not_found);
    EXPECT_EQ(ends, std::vector{Errc{}});
}

TEST_F(Numbered, a_number_that_is_repeated_gets_the_same_answer_and_none_with_other_contents)
{
    const OperationId number = waiting(alice);
    EXPECT_EQ(broker->begin(alice, number.serial, 7).begin, Begin::pending);
    EXPECT_EQ(broker->begin(alice, number.serial, 8).error.code, Errc::invalid_argument);
    gpu.answers.release_all();
    const Begun again = broker->begin(alice, number.serial, 7);
    ASSERT_EQ(again.begin, Begin::answered);
    EXPECT_EQ(again.answer->kind, AnswerKind::holds);
    EXPECT_TRUE(broker->held(alice, again.answer->first));
    EXPECT_EQ(broker->begin(alice, number.serial, 8).begin, Begin::refused);
    EXPECT_EQ(broker->state().images().size(), 1u) << "and none is made for it";
    ASSERT_TRUE(broker->release(alice, again.answer->first, now));
    EXPECT_EQ(code(broker->held(alice, HandleId{1})), Errc::not_found);
}

TEST_F(Numbered, those_of_one_socket_may_overtake_the_other_s_but_none_is_served_twice)
{
    EXPECT_EQ(broker->begin(alice, 100, 1).begin, Begin::fresh);
    EXPECT_EQ(broker->begin(alice, 99, 1).begin, Begin::refused) << "a socket keeps its order";
    EXPECT_EQ(broker->begin(alice, 3, 1, Way::channel).begin, Begin::fresh) << "by any number";
    EXPECT_EQ(broker->begin(alice, 3, 1, Way::channel).begin, Begin::refused) << "no answer is known";
    EXPECT_EQ(broker->begin(alice, 98, 1, Way::channel).begin, Begin::fresh);
    broker->answered(alice, 98, 1, {.kind = AnswerKind::done, .reason = {}});
    EXPECT_EQ(broker->begin(alice, 98, 1, Way::channel).begin, Begin::answered);
    EXPECT_EQ(broker->begin(alice, 98, 2, Way::channel).begin, Begin::refused);
    for (std::uint64_t number = 101; number < 140; ++number) {
        EXPECT_EQ(broker->begin(alice, number, 1).begin, Begin::fresh);
        broker->answered(alice, number, 1, {.kind = AnswerKind::done, .reason = {}});
    }
    EXPECT_EQ(broker->begin(alice, 139, 1).begin, Begin::answered);
    EXPECT_EQ(broker->begin(alice, 108, 1).begin, Begin::answered) << "32 are kept";
    EXPECT_EQ(broker->begin(alice, 107, 1).begin, Begin::refused);
}

TEST_F(Numbered, a_number_whose_request_was_cancelled_is_never_served_again)
{
    const OperationId number = waiting(alice);
    ASSERT_TRUE(broker->cancel(alice, number.serial));
    const Begun again = broker->begin(alice, number.serial, 7); // a worker still has it
    ASSERT_EQ(again.begin, Begin::answered);
    EXPECT_EQ(again.answer->code, Errc::cancelled);
    gpu.answers.release_all();
    EXPECT_EQ(broker->begin(alice, number.serial, 7).begin, Begin::answered);
}

TEST_F(Numbered, what_only_read_is_no_way_to_serve_something_else_under_its_number)
{
    EXPECT_EQ(broker->begin(alice, 50, 1).begin, Begin::fresh);
    broker->answered(alice, 50, 1, {.kind = AnswerKind::again, .reason = {}});
    EXPECT_EQ(broker->begin(alice, 50, 1).begin, Begin::again);
    EXPECT_EQ(broker->begin(alice, 50, 2).begin, Begin::refused);
}

TEST_F(Numbered, several_images_come_together_and_are_charged_together)
{
    const auto pool_of = allocate_many(alice, 4);
    ASSERT_TRUE(pool_of);
    ASSERT_EQ(pool_of->size(), 4u);
    std::set<ImageId> different;
    for (const Got& got : *pool_of) {
        different.insert(got.image);
        EXPECT_EQ(got.desc, pool_of->front().desc);
    }
    EXPECT_EQ(different.size(), 4u);
    EXPECT_EQ(used(alice).images, 4u);
    EXPECT_EQ(code(allocate_many(alice, 0)), Errc::invalid_argument);
    EXPECT_EQ(code(allocate_many(alice, 61)), Errc::invalid_argument);
    for (const Got& got : *pool_of) EXPECT_NE(why(alice, {}, got.image), "not_found");
}

TEST_F(Numbered, several_images_that_wait_are_made_one_after_the_other)
{
    waiting(alice, 3);
    EXPECT_EQ(used(alice).images, 3u) << "before the first exists";
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(ends.empty());
        gpu.answers.release();
    }
    EXPECT_EQ(ends, std::vector{Errc{}});
    EXPECT_EQ(broker->state().images().size(), 3u);
}

class FewImages : public Numbered {
protected:
    void SetUp() override
    {
        limits.client.images = 3;
        limits.handles_per_client = 2;
        Numbered::SetUp();
    }
};

TEST_F(FewImages, all_or_none)
{
    EXPECT_EQ(code(allocate_many(alice, 4)), Errc::quota_exceeded) << "images";
    EXPECT_EQ(code(allocate_many(alice, 3)), Errc::quota_exceeded) << "handles";
    expect_nothing_is_held(alice);
    EXPECT_EQ(broker->state().images().size(), 0u);
    EXPECT_TRUE(allocate_many(alice, 2));
}

// --- coming back -----------------------------------------------------------------------------------

class ComesBack : public Numbered {
protected:
    /// The next life of the broker.
    void restart()
    {
        std::vector<int> numbers;
        Saved saved = broker->state().save(numbers);
        std::vector<UniqueFd> fds;
        for (const int fd : numbers) fds.push_back(UniqueFd::adopt(::fcntl(fd, F_DUPFD_CLOEXEC, 3)));
        broker.emplace(limits, std::vector<Allocator*>{&memfd, &gpu}, *pool, proofs, Helpers{{&prover}, &system}, events);
        ASSERT_TRUE(broker->state().load(std::move(saved), std::move(fds), now));
    }
    const Peer peer{.pid = 1, .uid = 1000, .unmapped = false};
};

TEST_F(ComesBack, a_client_goes_on_with_its_key_which_is_good_for_once)
{
    const Got image = *allocate(alice);
    const Token token = *mint(alice, image.handle);
    const ResumeKey key = *broker->make_resume_key(alice);
    EXPECT_EQ(code(broker->resume(key, peer, false)), Errc::denied) << "it is connected";
    restart();
    const auto resumed = broker->resume(key, peer, false);
    ASSERT_TRUE(resumed);
    EXPECT_EQ(resumed->client, alice);
    EXPECT_EQ(code(broker->resume(key, peer, false)), Errc::not_found) << "used";
    EXPECT_EQ(code(broker->resume(resumed->key, peer, false)), Errc::denied) << "it is connected";
    EXPECT_TRUE(broker->held(alice, image.handle));
    EXPECT_TRUE(open(alice, token));
    EXPECT_EQ(used(alice).images, 1u);
    restart();
    EXPECT_TRUE(broker->resume(resumed->key, peer, false));
}

TEST_F(ComesBack, a_key_of_somebody_else_is_refused_and_stays_good_for_its_owner)
{
    const ResumeKey key = *broker->make_resume_key(alice), managers = *broker->make_resume_key(manager);
    restart();
    EXPECT_EQ(code(broker->resume(key, {.pid = 1, .uid = 1001}, false)), Errc::denied);
    EXPECT_EQ(code(broker->resume(key, {.pid = 1, .uid = 1000, .unmapped = true}, false)), Errc::denied);
    EXPECT_EQ(code(broker->resume(key, peer, true)), Errc::denied) << "through the manager socket";
    EXPECT_EQ(code(broker->resume(managers, peer, false)), Errc::denied);
    EXPECT_EQ(code(broker->resume(ResumeKey{1, 2, 3}, peer, false)), Errc::not_found);
    EXPECT_EQ(code(broker->resume(ResumeKey{}, peer, false)), Errc::not_found) << "of one that never had a key";
    EXPECT_TRUE(broker->resume(key, peer, false));
    EXPECT_TRUE(broker->resume(managers, peer, true));
}

TEST_F(ComesBack, who_does_not_come_back_in_time_is_gone_with_what_it_held)
{
    Got image = *allocate(alice);
    const ResumeKey key = *broker->make_resume_key(alice), bobs = *broker->make_resume_key(bob);
    restart();
    ASSERT_TRUE(broker->resume(bobs, peer, false));
    pass(30 * second - 1);
    EXPECT_EQ(broker->state().images().size(), 1u);
    pass(1);
    while (broker->deadline() <= now) broker->expire(now);
    EXPECT_EQ(broker->state().images().size(), 0u);
    EXPECT_EQ(broker->state().clients().size(), 1u);
    EXPECT_EQ(code(broker->resume(key, peer, false)), Errc::not_found);
}

TEST_F(ComesBack, what_was_pending_is_told_to_be_repeated)
{
    const OperationId number = waiting(alice);
    const ResumeKey key = *broker->make_resume_key(alice);
    restart();
    ASSERT_TRUE(broker->resume(key, peer, false));
    const Begun begun = broker->begin(alice, number.serial, 7);
    ASSERT_EQ(begun.begin, Begin::answered);
    EXPECT_EQ(begun.answer->code, Errc::interrupted);
    EXPECT_EQ(used(alice).images, 0u);
}

// --- thousands that end together -------------------------------------------------------------------

class Thousands : public BrokerTest {
protected:
    Thousands()
        : BrokerTest({.client = {.bytes = 1ULL << 40, .images = 200'000, .fds = 1'000'000, .tokens = 200'000},
                      .uid = {.bytes = 1ULL << 40, .images = 200'000, .fds = 1'000'000, .tokens = 200'000}})
    {
    }
    /// How much of State one call may touch: bounded by what it ends, whatever the machine's speed.
    void expire_all()
    {
        while (broker->deadline() <= now) {
            const std::size_t before = broker->state().tokens().size();
            broker->expire(now);
            EXPECT_LE(before - broker->state().tokens().size(), 1000u);
            ++calls;
        }
    }
    std::size_t calls = 0;
};

TEST_F(Thousands, a_hundred_thousand_tokens_that_expire_together_end_in_portions)
{
    const auto made = allocate(alice);
    const auto many = static_cast<std::size_t>(rounds(100'000));
    Token last;
    for (std::size_t i = 0; i < many; ++i) last = *mint(alice, made->handle, Right::read, false, second);
    const auto other = mint(alice, made->handle);
    now = after(now, second);
    broker->expire(now);
    EXPECT_GT(broker->state().tokens().size(), many - 1000);
    EXPECT_EQ(code(open(bob, last)), Errc::token_expired) << "also before its turn";
    const auto began = std::chrono::steady_clock::now();
    expire_all();
    EXPECT_GE(calls, many / 1000 - 1);
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10)) << "24 s when each end searched a list";
    EXPECT_TRUE(open(bob, *other));
}

TEST_F(Thousands, tokens_of_an_image_that_ends_or_is_revoked_are_dead_before_they_are_swept)
{
    auto first = allocate(alice), second_image = allocate(alice);
    std::vector<Token> gone, revoked;
    for (int i = 0; i < 20'000; ++i) gone.push_back(*mint(alice, first->handle));
    for (int i = 0; i < 20'000; ++i) revoked.push_back(*mint(alice, second_image->handle));
    EXPECT_EQ(release(alice, *first), Errc{});
    ASSERT_TRUE(broker->revoke(alice, second_image->image, now));
    EXPECT_GT(broker->state().tokens().size(), 30'000u) << "not at once";
    for (const Token& token : {gone.front(), gone.back(), gone[7]}) EXPECT_EQ(code(open(bob, token)), Errc::not_found);
    for (const Token& token : {revoked.front(), revoked.back(), revoked[7]})
        EXPECT_EQ(code(open(bob, token)), Errc::token_revoked);
    expire_all();
    EXPECT_EQ(broker->state().tokens().size(), 0u);
    EXPECT_EQ(broker->deadline(), pool->deadline()) << "nothing else is due";
}

TEST_F(Thousands, what_was_passed_on_through_a_revoked_token_is_dead_before_it_is_swept)
{
    const auto made = allocate(alice);
    const auto to_bob = mint(alice, made->handle);
    const auto at_bob = open(bob, *to_bob);
    std::vector<Token> passed_on;
    for (int i = 0; i < 20'000; ++i) passed_on.push_back(*mint(bob, at_bob->handle));
    const auto other = mint(alice, made->handle);
    ASSERT_TRUE(broker->revoke(alice, *to_bob));
    for (const std::size_t i : {0u, 10'000u, 19'999u}) EXPECT_EQ(code(open(alice, passed_on[i])), Errc::token_revoked);
    expire_all();
    EXPECT_EQ(broker->state().tokens().size(), 1u);
    EXPECT_TRUE(open(bob, *other));
}

TEST_F(Thousands, leases_that_end_together_end_in_portions_and_keep_nothing)
{
    pool.emplace(0);
    broker.emplace(limits, std::vector<Allocator*>{&memfd}, *pool, proofs, Helpers{}, events);
    join(alice);
    join(bob);
    std::vector<Token> tokens;
    for (int i = 0; i < 300; ++i) {
        const auto made = allocate(alice, request({16, 16}, second));
        ASSERT_TRUE(made);
        tokens.push_back(*mint(alice, made->handle));
    }
    broker->disconnect(alice, now);
    now = after(now, second);
    broker->expire(now);
    EXPECT_GT(broker->state().images().size(), 200u);
    EXPECT_EQ(code(open(bob, tokens.back())), Errc::not_found) << "also before its turn";
    const ClientId boss{9};
    join(boss, true);
    EXPECT_TRUE(broker->inspect(boss, {}, now)->images.empty());
    expire_all();
    EXPECT_EQ(broker->state().images().size(), 0u);
}

} // namespace
} // namespace dmb::test
