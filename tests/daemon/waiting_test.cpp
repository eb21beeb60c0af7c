// SPDX-License-Identifier: MIT
// Allocations that wait: for a worker that is still starting, and for its answer.
#include "tests/daemon/broker_fixture.hpp"

namespace dmb::test {
namespace {

/// A GPU whose answers the test gives.
struct SlowGpu : Allocator {
    std::span<const DeviceInfo> devices() const override
    {
        return known ? std::span(&device, 1) : std::span<const DeviceInfo>();
    }
    std::span<const FormatSupport> formats() const override { return {&format, 1}; }
    BackendSet offers() const override
    {
        BackendSet set;
        set.add(Backend::gbm);
        return set;
    }
    bool starting() const override { return !known; }
    void allocate(std::uint8_t, const wire::AllocateSpec&, const LayoutRules&, int, Instant, Completion done) override
    {
        running.push_back(std::move(done));
    }

    bool known = false;
    DeviceInfo device{.backend = Backend::gbm, .node = "/dev/dri/renderD128"};
    FormatSupport format{0, fourcc("AB24"), modifier_linear, 1, Usage(UsageFlag::render) | usage_cpu};
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
        wire::Allocate what = request();
        what.spec.usage = usage;
        what.spec.backends = backends;
        broker->allocate(id, what, {}, now, [this](const AllocationAnswer& answer) {
            answers.push_back(answer.held ? Errc{} : answer.held.error().code);
            for (const wire::Candidate& c : answer.candidates) seen.push_back({c.backend, c.verdict});
        });
    }
    void greet()
    {
        gpu.known = true;
        broker->devices_changed(now);
    }

    SlowGpu gpu;
    std::vector<Errc> answers;
    std::vector<std::pair<Backend, wire::Verdict>> seen;
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
    EXPECT_EQ(seen, (std::vector<std::pair<Backend, wire::Verdict>>{{Backend::gbm, wire::Verdict::failed},
                                                                    {Backend::memfd, wire::Verdict::chosen}}));
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
    EXPECT_EQ(seen.front().second, wire::Verdict::failed);
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
    EXPECT_EQ(broker->image_count(), 0u);
}

TEST_F(Waiting, the_charge_is_taken_before_the_memory_exists)
{
    ask(alice, UsageFlag::render);
    EXPECT_EQ(used(alice).images, 1u);
    EXPECT_GT(used(alice).bytes, 0u);
    broker->disconnect(alice, now);
}

} // namespace
} // namespace dmb::test
