// SPDX-License-Identifier: MIT
// A worker without a process: deadlines, crashes, restarts and what becomes of the requests meanwhile.
#include "daemon/alloc/memfd.hpp"
#include "daemon/alloc/worker_client.hpp"
#include "tests/daemon/broker_fixture.hpp"

namespace dmb::test {
namespace {

struct FakeLink : WorkerLink {
    Result<> start() override
    {
        ++started;
        if (missing) return fail(Errc::backend_failed, "no such program");
        return {};
    }
    Result<> send(const wire::WorkerRequest& request, std::uint64_t request_serial, std::span<const int>) override
    {
        sent.push_back(request);
        serial = request_serial;
        if (broken) return fail(Errc::backend_failed, "does not read");
        return {};
    }
    void kill() override { ++killed; }

    bool missing = false, broken = false;
    int started = 0, killed = 0;
    std::uint64_t serial = 0;
    std::vector<wire::WorkerRequest> sent;
};

class Worker : public FdTest {
protected:
    void SetUp() override
    {
        BackendSet offers;
        offers.add(Backend::gbm);
        client.emplace("gbm", Exporter{{.node = "/dev/dri/card7"}, Backend::gbm, {}, {}}, offers, link,
                       WorkerTiming{.request_ns = 10 * second, .hello_ns = 30 * second}, [this](Instant) { ++changes; });
        client->start(now);
        spec = {.size = {64, 64}, .format = fourcc("XR24"), .modifiers = {}, .usage = UsageFlag::render};
    }
    void greet()
    {
        wire::WorkerHello hello;
        const Capability row{.format = fourcc("XR24"), .modifier = modifier_linear, .usage = UsageFlag::render};
        hello.exports.push_back({{{.node = "/dev/dri/card7"}, Backend::gbm, {}, {}}, {row}});
        say(hello, 0);
    }
    template <class Message> void say(const Message& message, std::uint64_t serial, wire::PacketFds fds = {})
    {
        wire::Decoded<wire::WorkerReply> packet{.serial = serial, .message = message};
        client->received(packet, fds, now);
    }
    void answer(std::uint64_t serial)
    {
        wire::WorkerImage image;
        image.desc = *linear_layout(spec.size, spec.format);
        image.desc.kind = MemoryKind::memfd;
        wire::PacketFds fds;
        fds.push_back(*create_memfd("test", image.desc.memories[0].size, F_SEAL_SHRINK | F_SEAL_GROW));
        say(image, serial, std::move(fds));
    }
    void ask(std::uint8_t device = 0)
    {
        client->allocate(device, spec, {}, -1, now,
                         [this](Result<Allocated> made, Instant) { answers.push_back(made ? Errc{} : made.error().code); });
    }
    void pass(std::uint64_t ns)
    {
        now = after(now, ns);
        client->expire(now);
    }
    void revive()
    {
        pass(10 * second);
        greet();
    }

    Instant now{second};
    FakeLink link;
    std::optional<WorkerClient> client;
    AllocateSpec spec;
    std::vector<Errc> answers;
    int changes = 0;
};

TEST_F(Worker, its_devices_are_known_after_its_hello)
{
    EXPECT_TRUE(client->starting());
    EXPECT_FALSE(client->exports()[0].exporter.problem.empty());
    greet();
    EXPECT_FALSE(client->starting());
    EXPECT_TRUE(client->exports()[0].exporter.problem.empty());
    EXPECT_EQ(changes, 1);
    EXPECT_EQ(client->deadline(), never);
}

TEST_F(Worker, one_whose_driver_has_no_device_here_ends_and_is_not_listed)
{
    ask();
    say(wire::WorkerHello{}, 0);
    EXPECT_TRUE(client->exports().empty());
    EXPECT_FALSE(client->starting());
    EXPECT_EQ(changes, 1);
    EXPECT_EQ(link.killed, 1);
    EXPECT_EQ(answers, std::vector{Errc::shutting_down});
    pass(1000 * second);
    EXPECT_EQ(link.started, 1) << "it stays so";
}

TEST_F(Worker, it_serves_one_request_at_a_time_in_order)
{
    greet();
    ask();
    ask();
    EXPECT_EQ(link.sent.size(), 1u);
    answer(link.serial);
    EXPECT_EQ(link.sent.size(), 2u);
    answer(link.serial);
    EXPECT_EQ(answers, (std::vector{Errc{}, Errc{}}));
}

TEST_F(Worker, a_refusal_is_passed_on)
{
    greet();
    ask();
    say(wire::ErrorReply{.code = Errc::out_of_memory, .reason = "VRAM is full"}, link.serial);
    EXPECT_EQ(answers, std::vector{Errc::out_of_memory});
    EXPECT_EQ(link.killed, 0);
}

TEST_F(Worker, one_that_hangs_is_killed_at_its_deadline_and_started_again)
{
    greet();
    ask();
    pass(10 * second - 1);
    EXPECT_EQ(link.killed, 0);
    pass(1);
    EXPECT_EQ(link.killed, 1);
    EXPECT_EQ(answers, std::vector{Errc::timed_out});
    EXPECT_TRUE(client->starting());
    pass(second / 10);
    EXPECT_EQ(link.started, 2);
}

TEST_F(Worker, a_crash_costs_the_request_it_served_and_no_other)
{
    greet();
    ask();
    ask();
    client->lost("the peer closed the connection", WorkerEnd::killed, now);
    EXPECT_EQ(answers, std::vector{Errc::shutting_down});
    revive();
    answer(link.serial);
    EXPECT_EQ(answers, (std::vector{Errc::shutting_down, Errc{}}));
}

TEST_F(Worker, restarts_back_off)
{
    greet();
    std::vector<std::uint64_t> waits;
    for (int i = 0; i < 8; ++i) {
        client->lost("crash", WorkerEnd::killed, now);
        waits.push_back(time_left(now, client->deadline()));
        pass(waits.back());
        greet();
    }
    EXPECT_EQ(waits.front(), second / 10);
    EXPECT_EQ(waits[1], second / 5);
    EXPECT_EQ(waits.back(), 5 * second);
}

TEST_F(Worker, one_that_failed_to_start_is_not_waited_for_and_can_still_come)
{
    EXPECT_TRUE(client->starting());
    pass(30 * second);
    EXPECT_FALSE(client->starting());
    EXPECT_EQ(changes, 1) << "whoever waited is told";
    EXPECT_NE(client->exports()[0].exporter.problem.view().find("in time"), std::string_view::npos);
    revive();
    EXPECT_TRUE(client->exports()[0].exporter.problem.empty());
    client->lost("a later crash", WorkerEnd::killed, now);
    EXPECT_TRUE(client->starting());
}

TEST_F(Worker, one_that_never_says_hello_is_given_up)
{
    ask();
    for (int i = 0; i < 4; ++i) {
        pass(30 * second);
        pass(10 * second);
    }
    EXPECT_EQ(link.killed, 4);
    EXPECT_FALSE(client->starting());
    EXPECT_EQ(client->deadline(), never) << "an idle broker sleeps";
    EXPECT_EQ(answers, std::vector{Errc::shutting_down}) << "the request never got there";
    ask();
    EXPECT_EQ(answers.back(), Errc::shutting_down);
    EXPECT_FALSE(client->exports()[0].exporter.problem.empty());
}

TEST_F(Worker, a_missing_program_is_not_tried_again)
{
    link.missing = true;
    pass(30 * second);
    pass(second);
    EXPECT_FALSE(client->starting());
    EXPECT_NE(client->exports()[0].exporter.problem.view().find("no such program"), std::string_view::npos);
}

TEST_F(Worker, nonsense_is_answered_with_a_restart)
{
    greet();
    greet();
    EXPECT_EQ(link.killed, 1) << "a second hello";
    revive();
    answer(0);
    EXPECT_EQ(link.killed, 2) << "an answer to nothing";
    revive();
    ask();
    answer(link.serial + 1);
    EXPECT_EQ(link.killed, 3) << "an answer to another request";
    EXPECT_EQ(answers, std::vector{Errc::disconnected});
}

TEST_F(Worker, an_image_that_does_not_hold_its_pixels_is_refused)
{
    greet();
    ask();
    wire::WorkerImage image;
    image.desc = *linear_layout(spec.size, spec.format);
    image.desc.kind = MemoryKind::memfd;
    wire::PacketFds fds;
    fds.push_back(*create_memfd("short", 4096, F_SEAL_SHRINK | F_SEAL_GROW));
    say(image, link.serial, std::move(fds));
    EXPECT_EQ(answers, std::vector{Errc::bad_layout});
}

TEST_F(Worker, names_that_would_harm_a_terminal_are_replaced)
{
    wire::WorkerHello hello;
    hello.exports.push_back({{{.node = "/dev/dri/card7", .driver = "\x1b[2J"}, Backend::gbm, "\xff", {}}, {}});
    say(hello, 0);
    EXPECT_TRUE(is_printable(client->exports()[0].exporter.driver));
    EXPECT_TRUE(is_printable(client->exports()[0].exporter.name));
}

TEST_F(Worker, a_worker_that_does_not_read_is_killed_and_the_request_is_not_to_blame)
{
    greet();
    link.broken = true;
    ask();
    EXPECT_TRUE(answers.empty());
    pass(0);
    EXPECT_EQ(answers, std::vector{Errc::shutting_down});
    EXPECT_EQ(link.killed, 1);
}

TEST_F(Worker, a_crash_before_the_request_was_sent_is_not_blamed_on_it)
{
    greet();
    for (int i = 0; i < 3; ++i) {
        link.broken = true;
        ask();
        client->lost("crash", WorkerEnd::crashed, now);
        EXPECT_EQ(answers.back(), Errc::shutting_down);
        link.broken = false;
        revive();
    }
}

TEST_F(Worker, a_crash_while_serving_is_told_from_any_other_end)
{
    greet();
    ask();
    client->lost("crash", WorkerEnd::crashed, now);
    EXPECT_EQ(answers.back(), Errc::disconnected);
    revive();
    ask();
    client->lost("killed", WorkerEnd::killed, now);
    EXPECT_EQ(answers.back(), Errc::shutting_down);
    revive();
    ask();
    say(wire::ErrorReply{.code = Errc::disconnected, .reason = "I crashed"}, link.serial);
    EXPECT_EQ(answers.back(), Errc::backend_failed) << "a worker that can say so did not";
}

TEST_F(Worker, what_waits_for_a_start_that_fails_is_not_to_blame)
{
    ask();
    client->lost("crash", WorkerEnd::crashed, now);
    EXPECT_EQ(answers, std::vector{Errc::shutting_down});
    link.missing = true;
    ask();
    revive();
    EXPECT_EQ(answers.back(), Errc::shutting_down);
}

class IdleWorker : public Worker {
protected:
    void SetUp() override
    {
        client.emplace("prove", Exporter{}, BackendSet{}, link,
                       WorkerTiming{.request_ns = 10 * second, .hello_ns = 30 * second, .idle_ns = 5 * second},
                       [this](Instant) { ++changes; });
        client->start(now);
        memory = *create_memfd("test", 4096, 0);
    }
    void TearDown() override { memory.reset(); }
    void prove()
    {
        const int fd = memory.get();
        client->prove({}, {}, {&fd, 1}, now,
                      [this](Result<Proven> proof, Instant) { answers.push_back(proof ? Errc{} : proof.error().code); });
    }
    void greet() { say(wire::WorkerHello{}, 0); }

    UniqueFd memory;
};

TEST_F(IdleWorker, it_starts_with_its_first_request_and_ends_after_its_last)
{
    EXPECT_EQ(link.started, 0);
    EXPECT_FALSE(client->starting()) << "nobody waits for it";
    prove();
    EXPECT_EQ(link.started, 1);
    greet();
    EXPECT_EQ(link.sent.size(), 1u);
    say(wire::WorkerProof{ProofResult::works, {}}, link.serial);
    EXPECT_EQ(answers, std::vector{Errc{}});
    pass(5 * second - 1);
    EXPECT_EQ(link.killed, 0);
    pass(1);
    EXPECT_EQ(link.killed, 1);
    EXPECT_EQ(client->deadline(), never);
    prove();
    EXPECT_EQ(link.started, 2);
}

TEST_F(IdleWorker, a_crash_is_followed_by_a_start_only_if_somebody_waits)
{
    prove();
    prove();
    greet();
    client->lost("crash", WorkerEnd::crashed, now);
    EXPECT_EQ(answers, std::vector{Errc::disconnected});
    pass(10 * second);
    EXPECT_EQ(link.started, 2);
    greet();
    client->lost("crash", WorkerEnd::crashed, now);
    EXPECT_EQ(answers, (std::vector{Errc::disconnected, Errc::disconnected}));
    EXPECT_EQ(client->deadline(), never);
}

TEST_F(IdleWorker, one_that_is_abandoned_ends_and_is_there_again_for_the_next_request)
{
    prove();
    greet();
    client->abandon(now);
    EXPECT_EQ(answers, std::vector{Errc::shutting_down});
    EXPECT_EQ(link.killed, 1);
    EXPECT_EQ(client->deadline(), never);
    prove();
    EXPECT_EQ(link.started, 2);
    greet();
    say(wire::WorkerProof{ProofResult::works, {}}, link.serial);
    EXPECT_EQ(answers, (std::vector{Errc::shutting_down, Errc{}}));
}

TEST_F(IdleWorker, one_that_is_abandoned_while_it_starts_does_so_and_ends_when_idle)
{
    prove();
    client->abandon(now);
    EXPECT_EQ(answers, std::vector{Errc::shutting_down});
    EXPECT_EQ(link.killed, 0);
    greet();
    EXPECT_TRUE(link.sent.empty());
    pass(5 * second);
    EXPECT_EQ(link.killed, 1);
    EXPECT_EQ(client->deadline(), never);
}

TEST_F(IdleWorker, an_answer_to_another_question_is_no_proof)
{
    prove();
    greet();
    say(wire::WorkerDone{3}, link.serial);
    EXPECT_EQ(answers, std::vector{Errc::backend_failed});
}

TEST_F(IdleWorker, a_missing_program_proves_nothing)
{
    link.missing = true;
    prove();
    prove();
    EXPECT_EQ(answers, (std::vector{Errc::shutting_down, Errc::shutting_down}));
    EXPECT_EQ(link.started, 1);
}

} // namespace
} // namespace dmb::test
