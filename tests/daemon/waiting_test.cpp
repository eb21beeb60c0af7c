// SPDX-License-Identifier: MIT
// Allocations that wait: for a worker that is still starting, and for its answer.
#include "tests/daemon/joining_fixture.hpp"

namespace dmb::test {
namespace {

/// A GPU whose answers the test gives.
struct SlowGpu : Allocator {
    std::span<const Exports> exports() const override { return known ? std::span(&all, 1) : std::span<const Exports>(); }
    BackendSet offers() const override
    {
        BackendSet set;
        set.add(Backend::gbm);
        return set;
    }
    bool starting() const override { return !known; }
    void allocate(std::uint8_t, const AllocateSpec&, const LayoutRules&, int, Instant, Completion done) override
    {
        running.push_back(std::move(done));
    }

    bool known = false;
    Exports all{{{.node = "/dev/dri/renderD128"}, Backend::gbm, {}, {}},
                {{.format = fourcc("AB24"), .modifier = modifier_linear, .usage = Usage(UsageFlag::render) | usage_cpu}}};
    std::vector<Completion> running;
};

class Waiting : public BrokerTest {
protected:
    void SetUp() override
    {
        pool.emplace(64ULL << 20);
        broker.emplace(limits, std::vector<Allocator*>{&memfd, &gpu}, *pool, proofs, Helpers{}, events);
        join(alice);
        join(bob);
    }
    void ask(ClientId id, Usage usage, BackendSet backends = {})
    {
        ImageRequest what = request();
        what.spec.usage = usage;
        what.spec.backends = backends;
        broker->allocate(next(id), what, {}, now, [this, id](const OperationAnswer& answer) {
            answers.push_back(answer.held ? Errc{} : answer.held.error().code);
            const auto decision = broker->deciding().why(id, answer.request, {}, now);
            if (!decision) return;
            for (const Candidate& c : decision->candidates) seen.push_back({c.backend, c.verdict});
        });
    }
    void greet()
    {
        gpu.known = true;
        broker->devices_changed(now);
    }

    SlowGpu gpu;
    std::vector<Errc> answers;
    std::vector<std::pair<Backend, Verdict>> seen;
};

TEST_F(Waiting, a_gpu_request_waits_for_the_devices_and_a_cpu_request_does_not)
{
    ask(alice, UsageFlag::render);
    EXPECT_TRUE(answers.empty());
    ask(bob, usage_cpu);
    EXPECT_EQ(answers, std::vector{Errc{}});
    greet();
    ASSERT_EQ(gpu.running.size(), 1u);
}

TEST_F(Waiting, asking_for_a_system_backend_waits_for_nobody)
{
    BackendSet only;
    only.add(Backend::memfd);
    ask(alice, UsageFlag::render, only);
    EXPECT_EQ(answers, std::vector{Errc{}});
}

TEST_F(Waiting, a_failure_becomes_a_candidate_and_the_next_choice_serves)
{
    greet();
    ask(alice, UsageFlag::render);
    std::exchange(gpu.running, {})[0](fail(Errc::timed_out, "hung"), now);
    EXPECT_EQ(answers, std::vector{Errc{}});
    EXPECT_EQ(seen, (std::vector<std::pair<Backend, Verdict>>{
                        {Backend::gbm, Verdict::refused}, {Backend::gbm, Verdict::failed}, {Backend::memfd, Verdict::chosen}}));
}

TEST_F(Waiting, when_every_choice_failed_the_last_reason_counts)
{
    greet();
    BackendSet only;
    only.add(Backend::gbm);
    ask(alice, UsageFlag::render, only);
    std::exchange(gpu.running, {})[0](fail(Errc::timed_out, "hung"), now);
    EXPECT_EQ(answers, std::vector{Errc::timed_out});
    EXPECT_EQ(used(alice), Amount{});
}

TEST_F(Waiting, an_image_that_was_not_asked_for_is_a_failure)
{
    greet();
    ask(alice, UsageFlag::render);
    Allocated wrong;
    wrong.desc = *linear_layout({32, 32}, fourcc("AB24"));
    wrong.desc.backend = Backend::gbm;
    std::exchange(gpu.running, {})[0](std::move(wrong), now);
    EXPECT_EQ(seen.front().second, Verdict::failed);
}

TEST_F(Waiting, a_client_that_leaves_gets_nothing_and_costs_nothing)
{
    ask(alice, UsageFlag::render);
    broker->disconnect(alice, now);
    greet();
    EXPECT_TRUE(gpu.running.empty());
    ask(bob, UsageFlag::render);
    broker->disconnect(bob, now);
    ASSERT_EQ(gpu.running.size(), 1u);
    Allocated memory;
    memory.desc = *linear_layout({64, 64}, fourcc("AB24"));
    memory.desc.backend = Backend::gbm;
    memory.fds.push_back(*create_memfd("late", 4096, 0));
    std::exchange(gpu.running, {})[0](std::move(memory), now);
    EXPECT_TRUE(answers.empty());
    EXPECT_EQ(broker->state().images().size(), 0u);
}

TEST_F(Waiting, the_charge_is_taken_before_the_memory_exists)
{
    ask(alice, UsageFlag::render);
    EXPECT_EQ(used(alice).images, 1u);
    EXPECT_GT(used(alice).bytes, 0u);
    broker->disconnect(alice, now);
}

/// Drivers that crash, with participants whose APIs nobody here can try: only the allocation itself shows it.
class Crashing : public JoiningTest {
protected:
    ImageRequest for_a_display(ClientId id)
    {
        ImageRequest what = request();
        what.spec.usage = UsageFlag::render;
        what.participants.push_back(party(state(id, make_table({tiled, swizzled}, Api::kms)), UsageFlag::scanout, "display"));
        for (Capability& row : gpu.known[0].rows) row.usage = row.usage | UsageFlag::scanout;
        broker->devices_changed(now);
        return what;
    }
};

TEST_F(Crashing, a_layout_that_crashes_the_driver_is_noted_and_the_next_one_serves)
{
    gpu.broken.insert_or_assign(tiled.value, Error{Errc::disconnected, "SIGSEGV"});
    const auto image = allocate(alice, for_a_display(alice));
    ASSERT_TRUE(image) << image.error().reason.view();
    EXPECT_EQ(image->desc.modifier, swizzled);
    const Proof* noted = proofs.find(exporter_key(gpu.known[0].exporter, fourcc("AB24"), tiled, {64, 64}));
    ASSERT_NE(noted, nullptr);
    EXPECT_EQ(noted->result, ProofResult::crashed);
    const auto decision = broker->deciding().why(alice, {}, image->image, now);
    EXPECT_EQ(decision->candidates.at(0).verdict, Verdict::failed);
    EXPECT_NE(decision->removals.at(0).reason.view().find("crashed"), std::string_view::npos);
}

TEST_F(Crashing, it_is_never_asked_for_again_until_all_is_forgotten)
{
    gpu.broken.insert_or_assign(tiled.value, Error{Errc::timed_out, "hung"});
    const ImageRequest what = for_a_display(alice);
    ASSERT_TRUE(allocate(alice, what));
    EXPECT_EQ(gpu.times_asked(tiled), 1u);
    ASSERT_TRUE(allocate(alice, what));
    EXPECT_EQ(gpu.times_asked(tiled), 1u);
    EXPECT_EQ(manage_proofs(alice, ProofAction::clear), Errc::denied);
    ASSERT_EQ(manage_proofs(manager, ProofAction::clear), Errc{});
    ASSERT_TRUE(allocate(alice, what));
    EXPECT_EQ(gpu.times_asked(tiled), 2u);
}

TEST_F(Crashing, a_driver_that_crashes_while_choosing_is_told_what_to_choose_from_then_on)
{
    gpu.broken.insert_or_assign(modifier_linear.value, Error{Errc::disconnected, "SIGSEGV"}); // its own choice
    ImageRequest what = request();
    what.spec.usage = UsageFlag::render;
    for (int i = 0; i < 2; ++i) {
        const auto image = allocate(alice, what);
        ASSERT_TRUE(image) << image.error().reason.view();
        EXPECT_EQ(image->desc.modifier, tiled);
    }
    const auto left_to_it = [](const AllocateSpec& spec) { return spec.modifiers.empty(); };
    EXPECT_EQ(std::ranges::count_if(gpu.asked, left_to_it), 1);
    EXPECT_NE(proofs.find(exporter_key(gpu.known[0].exporter, fourcc("AB24"), modifier_invalid, {64, 64})), nullptr);
}

TEST_F(Crashing, when_every_layout_crashes_the_request_fails_with_the_last_reason)
{
    for (const Modifier m : {tiled, swizzled}) gpu.broken.insert_or_assign(m.value, Error{Errc::disconnected, "SIGSEGV"});
    ImageRequest what = for_a_display(alice);
    what.participants[0].minimum_rung = Rung::tiled; // no copy
    const auto image = allocate(alice, what);
    ASSERT_FALSE(image);
    EXPECT_EQ(image.error().code, Errc::backend_failed);
    EXPECT_EQ(gpu.asked.size(), 2u);
    expect_nothing_is_held(alice);
}

TEST_F(Crashing, an_exporter_that_crashes_in_a_trial_is_noted_too)
{
    gpu.broken.insert_or_assign(tiled.value, Error{Errc::disconnected, "SIGSEGV"});
    const Got image = make_tiled(alice);
    EXPECT_EQ(image.desc.modifier, swizzled);
    EXPECT_EQ(gpu.times_asked(tiled), 1u);
}

TEST_F(Crashing, an_image_of_another_device_than_was_chosen_is_a_failure)
{
    gpu.answers.held = true;
    bool answered = false;
    ImageRequest what = for_a_display(alice);
    what.spec.backends = gpu.gbm;
    broker->allocate(next(alice), what, {}, now, [&](const OperationAnswer& answer) {
        answered = true;
        EXPECT_TRUE(answer.held);
        EXPECT_EQ(broker->deciding().why(alice, answer.request, {}, now)->candidates.at(0).verdict, Verdict::failed);
    });
    // The worker restarted with another GPU in the same place and made the image there.
    gpu.known[0].exporter.id.device_uuid = {9};
    gpu.wrong_device = true;
    broker->devices_changed(now);
    gpu.answers.release();
    EXPECT_FALSE(answered);
    gpu.wrong_device = false;
    gpu.answers.release_all();
    EXPECT_TRUE(answered);
}

TEST_F(Crashing, a_device_that_is_gone_is_not_used_for_what_was_planned_with_it)
{
    FakeGpu second_gpu;
    second_gpu.known[0].exporter.id.device_uuid = {2};
    second_gpu.known[0].exporter.node = "/dev/dri/renderD130";
    broker.emplace(limits, std::vector<Allocator*>{&gpu, &second_gpu}, *pool, proofs, Helpers{}, events);
    join(alice);
    ImageRequest what = request();
    what.spec.usage = UsageFlag::render;
    gpu.broken.insert_or_assign(modifier_linear.value, Error{Errc::shutting_down, "killed"});
    gpu.answers.held = true;
    Errc answered = Errc::internal;
    broker->allocate(next(alice), what, {}, now, [&](const OperationAnswer& answer) { answered = code(answer.held); });
    ASSERT_EQ(gpu.asked.size(), 1u);
    second_gpu.known.clear();
    broker->devices_changed(now);
    gpu.broken.clear();
    gpu.answers.release();
    if (gpu.answers.waiting() > 0) gpu.answers.release();
    EXPECT_TRUE(second_gpu.asked.empty());
    EXPECT_EQ(answered, Errc{}) << "planned anew with the devices that are there";
    broker.reset();
}

} // namespace
} // namespace dmb::test
