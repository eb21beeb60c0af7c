// SPDX-License-Identifier: MIT
// What is known of pairs, and how it is found out: the steps of a trial in order, what each outcome is noted as, and
// what is never asked a second time.
#include "daemon/core/proving/trials.hpp"
#include "tests/daemon/broker_fixture.hpp"
#include "tests/daemon/fake_gpu.hpp"

#include <array>

namespace dmb::test {
namespace {

constexpr FourCC format = fourcc("AB24");

Party make_party(Capabilities table, Usage usage = UsageFlag::sample)
{
    return {.demands = {.usage = usage}, .table = std::make_shared<const Capabilities>(std::move(table)), .client = {}};
}

class ProofTable : public FdTest {
protected:
    Exporter exporter{{.node = "/dev/dri/renderD128", .driver = "fake", .version = "1.0"}, Backend::gbm, {}, {}};
    Party importer = make_party(make_table({tiled}));
    ProofKey key(Extent size = {64, 64}) const { return pair_key(exporter, importer, format, tiled, size); }
    std::string why(const Party* party, Extent size = {64, 64}) const
    {
        return std::string(disproof(proofs, exporter, party, format, tiled, size).view());
    }
    Proofs proofs;
};

TEST_F(ProofTable, sizes_fall_into_four_classes_and_each_is_tried_with_rows_that_nothing_aligned)
{
    EXPECT_EQ(size_class({1, 1}), 0);
    EXPECT_EQ(size_class({64, 64}), 0);
    EXPECT_EQ(size_class({65, 1}), 1);
    EXPECT_EQ(size_class({1, 128}), 1);
    EXPECT_EQ(size_class({129, 129}), 2);
    EXPECT_EQ(size_class({256, 257}), 3);
    EXPECT_EQ(size_class({16384, 16384}), 3);
    for (std::uint8_t c = 0; c < 4; ++c) {
        for (const char* code : {"AB24", "R8  ", "NV12", "YUYV"}) {
            const FormatInfo& known = *find_format(*parse_fourcc(code));
            const Extent tried = trial_size(known.fourcc, c);
            EXPECT_EQ(size_class(tried), c) << code;
            EXPECT_NE(row_bytes(known, 0, tried.width) % 64, 0u) << code;
            EXPECT_TRUE(check_size(tried, known.fourcc)) << code;
        }
        EXPECT_TRUE(check_size(trial_size(buffer_format, c), buffer_format));
    }
}

TEST_F(ProofTable, a_key_changes_with_all_that_could_change_the_result)
{
    const ProofKey before = key();
    EXPECT_EQ(key({32, 32}), before);
    EXPECT_NE(key({65, 65}), before);
    EXPECT_NE(pair_key(exporter, importer, format, swizzled, {64, 64}), before);
    EXPECT_NE(pair_key(exporter, importer, fourcc("XB24"), tiled, {64, 64}), before);
    EXPECT_NE(exporter_key(exporter, format, tiled, {64, 64}), before);
    Party other = importer;
    other.demands.usage = UsageFlag::render;
    EXPECT_NE(pair_key(exporter, other, format, tiled, {64, 64}), before);
    EXPECT_NE(pair_key(exporter, make_party(make_table({tiled}, Api::vulkan)), format, tiled, {64, 64}), before);
    Capabilities updated = make_table({tiled});
    updated.device.version = "2.1";
    EXPECT_NE(pair_key(exporter, make_party(updated), format, tiled, {64, 64}), before);
    exporter.version = "1.1";
    EXPECT_NE(key(), before);
    exporter.version = "1.0";
    EXPECT_EQ(key(), before);
    exporter.backend = Backend::vulkan;
    EXPECT_NE(key(), before);
}

TEST_F(ProofTable, two_devices_of_one_driver_are_told_apart)
{
    const ProofKey before = key();
    exporter.node = "/dev/dri/renderD129";
    EXPECT_NE(key(), before);
    exporter.id.device_uuid = {1};
    const ProofKey first = key();
    exporter.id.device_uuid = {2};
    EXPECT_NE(key(), first);
}

TEST_F(ProofTable, only_what_was_tried_and_failed_is_a_disproof)
{
    EXPECT_EQ(why(&importer), "");
    proofs.add({.key = key(), .result = ProofResult::works, .reason = {}});
    EXPECT_EQ(why(&importer), "");
    proofs.add({.key = key(), .result = ProofResult::impossible, .reason = "no such device"});
    EXPECT_EQ(why(&importer), "");
    proofs.add({.key = key(), .result = ProofResult::refused, .reason = "0x3003"});
    EXPECT_EQ(why(&importer), "tried: refused, 0x3003");
    proofs.add({.key = key(), .result = ProofResult::hung, .reason = {}});
    EXPECT_EQ(why(&importer), "tried: hung");
    EXPECT_EQ(why(&importer, {512, 512}), "") << "another class";
    EXPECT_EQ(why(nullptr), "") << "allocating it is another matter";
}

TEST_F(ProofTable, what_cannot_be_allocated_is_a_disproof_for_everybody)
{
    proofs.add({.key = exporter_key(exporter, format, tiled, {64, 64}), .result = ProofResult::crashed, .reason = "gone"});
    EXPECT_EQ(why(nullptr), "tried: crashed, gone");
    EXPECT_EQ(why(&importer), "tried: crashed, gone");
    const Party display = make_party(make_table({tiled}, Api::kms));
    EXPECT_FALSE(can_be_tried(display));
    EXPECT_EQ(why(&display), "tried: crashed, gone");
    EXPECT_EQ(why(&display, {100, 100}), "");
}

TEST_F(ProofTable, one_who_cannot_be_tried_is_not_judged_by_its_namesake)
{
    const Party display = make_party(make_table({tiled}, Api::kms));
    proofs.add({.key = pair_key(exporter, display, format, tiled, {64, 64}), .result = ProofResult::refused, .reason = {}});
    EXPECT_EQ(why(&display), "");
    EXPECT_FALSE(can_be_tried({}));
}

TEST_F(ProofTable, whoever_keeps_them_hears_of_each_and_of_the_end_of_all)
{
    std::vector<std::optional<ProofResult>> heard;
    proofs.on_change([&](const Proof* proof) { heard.push_back(proof ? std::optional(proof->result) : std::nullopt); });
    proofs.add({.key = key(), .result = ProofResult::works, .reason = {}});
    proofs.add({.key = key({100, 100}), .result = ProofResult::hung, .reason = {}});
    EXPECT_EQ(proofs.all().size(), 2u);
    proofs.clear();
    EXPECT_TRUE(proofs.empty());
    EXPECT_EQ(heard, (std::vector<std::optional<ProofResult>>{ProofResult::works, ProofResult::hung, std::nullopt}));
    EXPECT_EQ(proofs.find(key()), nullptr);
}

TEST_F(ProofTable, of_several_that_were_kept_the_last_counts)
{
    const Proofs kept({{.key = key(), .result = ProofResult::hung, .reason = {}},
                       {.key = key(), .result = ProofResult::works, .reason = {}}});
    ASSERT_NE(kept.find(key()), nullptr);
    EXPECT_EQ(kept.find(key())->result, ProofResult::works);
}

class ProvingTest : public FdTest {
protected:
    Trial trial(std::vector<Party> importers, Modifier modifier = tiled)
    {
        return {.allocator = &gpu,
                .device = 0,
                .format = format,
                .modifier = modifier,
                .usage = UsageFlag::sample,
                .rules = {},
                .size = {64, 64},
                .importers = std::move(importers)};
    }
    void run(std::vector<Party> importers, Modifier modifier = tiled)
    {
        proving.run({trial(std::move(importers), modifier)}, now, [this](Instant) { ++done; });
    }
    const Proof* found(const Party& importer, Modifier modifier = tiled) const
    {
        return proofs.find(pair_key(gpu.known.at(0).exporter, importer, format, modifier, {64, 64}));
    }
    const Proof* of_exporter(Modifier modifier = tiled) const
    {
        return proofs.find(exporter_key(gpu.known.at(0).exporter, format, modifier, {64, 64}));
    }

    Instant now{second};
    FakeGpu gpu;
    FakeHelper prover, system;
    Proofs proofs;
    Trials proving{proofs, {{&prover}, &system}};
    Party first = make_party(make_table({tiled})), other = make_party(make_table({tiled}, Api::vulkan));
    int done = 0;
};

TEST_F(ProvingTest, the_image_is_made_for_what_the_real_one_will_be_made_for)
{
    first.demands.usage = UsageFlag::sample | UsageFlag::storage;
    run({first});
    ASSERT_EQ(gpu.asked.size(), 1u);
    EXPECT_EQ(gpu.asked[0].usage, Usage(UsageFlag::sample))
        << "what another device does with it is not the exporter's business";
    EXPECT_EQ(prover.proven.at(0).usage, first.demands.usage);
}

TEST_F(ProvingTest, every_importer_gets_an_image_that_nobody_drew_into)
{
    run({first, other});
    EXPECT_EQ(done, 1);
    EXPECT_EQ(gpu.asked.size(), 2u);
    EXPECT_EQ(gpu.asked[0].size, trial_size(gpu.asked[0].format, 0));
    EXPECT_EQ(gpu.asked[0].modifiers[0], tiled);
    ASSERT_EQ(prover.memories.size(), 2u);
    EXPECT_NE(prover.memories[0], prover.memories[1]);
    EXPECT_EQ(prover.proven[0].api, Api::egl);
    EXPECT_EQ(prover.proven[1].api, Api::vulkan);
    EXPECT_TRUE(system.written.empty()) << "the driver filled it";
    ASSERT_NE(found(first), nullptr);
    EXPECT_EQ(found(first)->result, ProofResult::works);
    EXPECT_EQ(found(first)->pitch, 256u);
}

TEST_F(ProvingTest, it_allocates_fills_and_asks_in_this_order)
{
    gpu.fills = false;
    gpu.answers.held = system.answers.held = prover.answers.held = true;
    run({first});
    EXPECT_EQ(gpu.asked.size(), 1u);
    EXPECT_TRUE(system.written.empty());
    gpu.answers.release();
    EXPECT_EQ(system.written.size(), 1u);
    EXPECT_TRUE(prover.proven.empty());
    system.answers.release();
    EXPECT_EQ(prover.proven.size(), 1u);
    EXPECT_EQ(done, 0);
    prover.answers.release();
    EXPECT_EQ(done, 1);
}

TEST_F(ProvingTest, each_outcome_is_noted_as_what_it_was)
{
    const auto noted = [&](Result<Proven> answer) -> std::optional<ProofResult> {
        proofs.clear();
        prover.proofs.insert_or_assign(tiled.value, answer);
        run({first});
        if (const Proof* proof = found(first)) return proof->result;
        return std::nullopt;
    };
    EXPECT_EQ(noted(Proven{ProofResult::works, {}}), ProofResult::works);
    EXPECT_EQ(noted(Proven{ProofResult::refused, "0x3003"}), ProofResult::refused);
    EXPECT_EQ(noted(Proven{ProofResult::wrong_pixels, "at 3,4"}), ProofResult::wrong_pixels);
    EXPECT_EQ(noted(Proven{ProofResult::impossible, "no way"}), ProofResult::impossible);
    EXPECT_EQ(noted(fail(Errc::disconnected, "SIGSEGV")), ProofResult::crashed);
    EXPECT_EQ(noted(fail(Errc::timed_out, "no answer")), ProofResult::hung);
    EXPECT_EQ(noted(fail(Errc::backend_failed, "no")), ProofResult::refused);
    EXPECT_EQ(noted(fail(Errc::shutting_down, "ended")), std::nullopt);
    EXPECT_EQ(noted(fail(Errc::out_of_memory, "full")), std::nullopt);
    EXPECT_EQ(noted(fail(Errc::internal, "EMFILE")), std::nullopt);
    EXPECT_EQ(done, 10);
}

TEST_F(ProvingTest, one_importer_that_crashes_says_nothing_of_the_next)
{
    prover.answers.held = true;
    prover.proofs.insert_or_assign(tiled.value, fail(Errc::disconnected, "SIGSEGV"));
    run({first, other});
    prover.proofs.clear();
    prover.answers.release();
    prover.answers.release();
    ASSERT_TRUE(found(first) && found(other));
    EXPECT_EQ(found(first)->result, ProofResult::crashed);
    EXPECT_EQ(found(other)->result, ProofResult::works);
    EXPECT_EQ(done, 1);
}

TEST_F(ProvingTest, what_is_known_is_not_tried_again)
{
    run({first});
    run({first});
    EXPECT_EQ(prover.proven.size(), 1u);
    run({first, other});
    EXPECT_EQ(prover.proven.size(), 2u) << "only the one that is not known";
    EXPECT_EQ(done, 3);
    EXPECT_TRUE(proving.untried(trial({first, other})).empty());
}

TEST_F(ProvingTest, a_trial_that_waited_is_answered_by_the_one_before_it)
{
    prover.answers.held = true;
    run({first});
    run({first});
    run({other});
    EXPECT_EQ(prover.proven.size(), 1u) << "one at a time with one device";
    EXPECT_EQ(gpu.asked.size(), 1u);
    prover.answers.release();
    EXPECT_EQ(done, 2);
    EXPECT_EQ(prover.proven.size(), 2u);
    prover.answers.release();
    EXPECT_EQ(done, 3);
}

TEST_F(ProvingTest, a_crash_of_the_exporter_is_noted_for_all_importers)
{
    gpu.broken.insert_or_assign(tiled.value, Error{Errc::disconnected, "SIGSEGV"});
    run({first, other});
    EXPECT_EQ(done, 1);
    ASSERT_NE(of_exporter(), nullptr);
    EXPECT_EQ(of_exporter()->result, ProofResult::crashed);
    EXPECT_EQ(gpu.asked.size(), 1u);
    EXPECT_TRUE(prover.proven.empty());
    EXPECT_TRUE(proving.untried(trial({make_party(make_table({tiled}, Api::gbm))})).empty()) << "also for those to come";
    EXPECT_FALSE(proving.untried(trial({first}, swizzled)).empty()) << "of this layout only";
}

TEST_F(ProvingTest, a_refusal_of_the_exporter_is_noted_for_those_who_asked)
{
    gpu.broken.insert_or_assign(tiled.value, Error{Errc::backend_failed, "EINVAL"});
    run({first});
    EXPECT_EQ(of_exporter(), nullptr) << "with another usage it may go well";
    ASSERT_NE(found(first), nullptr);
    EXPECT_EQ(found(first)->result, ProofResult::refused);
    EXPECT_EQ(found(first)->reason.view(), "allocating it: EINVAL");
    EXPECT_EQ(found(other), nullptr);
}

TEST_F(ProvingTest, an_exporter_that_ended_otherwise_is_asked_again_next_time)
{
    gpu.broken.insert_or_assign(tiled.value, Error{Errc::shutting_down, "killed"});
    run({first});
    EXPECT_EQ(done, 1);
    EXPECT_TRUE(proofs.empty());
    gpu.broken.clear();
    run({first});
    EXPECT_NE(found(first), nullptr);
}

TEST_F(ProvingTest, without_a_prover_or_for_apis_it_does_not_have_nothing_is_tried)
{
    Trials alone(proofs, {{}, &system});
    EXPECT_TRUE(alone.untried(trial({first})).empty());
    alone.run({trial({first})}, now, [this](Instant) { ++done; });
    EXPECT_EQ(done, 1);
    EXPECT_TRUE(gpu.asked.empty());
    EXPECT_TRUE(proving.untried(trial({make_party(make_table({tiled}, Api::kms)), Party{}})).empty());
}

TEST_F(ProvingTest, system_memory_that_nobody_can_fill_gives_no_result)
{
    gpu.fills = false;
    Trials alone(proofs, {{&prover}, nullptr});
    alone.run({trial({first})}, now, [this](Instant) { ++done; });
    EXPECT_EQ(done, 1);
    EXPECT_TRUE(proofs.empty());
}

TEST_F(ProvingTest, an_exporter_whose_devices_are_gone_is_left_alone)
{
    prover.answers.held = true;
    run({first, other});
    gpu.known.clear();
    prover.answers.release();
    EXPECT_EQ(done, 1);
    EXPECT_EQ(gpu.asked.size(), 1u);
}

TEST_F(ProvingTest, another_device_in_the_same_place_is_not_taken_for_the_first)
{
    prover.answers.held = true;
    run({first, other});
    const Exports before = gpu.known[0];
    gpu.known[0].exporter.id.device_uuid = {9};
    prover.answers.release();
    EXPECT_EQ(done, 1);
    EXPECT_EQ(gpu.asked.size(), 1u);
    EXPECT_EQ(proofs.all().size(), 1u);
    EXPECT_NE(proofs.find(pair_key(before.exporter, first, format, tiled, {64, 64})), nullptr);
}

TEST_F(ProvingTest, a_trial_that_waited_for_another_device_is_not_run_on_its_successor)
{
    prover.answers.held = true;
    run({other});
    run({first});
    gpu.known[0].exporter.id.device_uuid = {9};
    prover.answers.release();
    EXPECT_EQ(done, 2);
    EXPECT_EQ(gpu.asked.size(), 1u);
}

/// Three GPUs and what runs on them; two provers.
class SideBySide : public FdTest {
protected:
    SideBySide()
    {
        for (std::size_t i = 0; i < gpus.size(); ++i) {
            gpus[i].known[0].exporter.id.device_uuid = {static_cast<std::uint8_t>(i + 1)};
            gpus[i].known[0].exporter.node.assign(node(i));
        }
        for (FakeHelper* prover : {&one, &two}) prover->answers.held = true;
    }
    static std::string node(std::size_t number) { return "/dev/dri/renderD" + std::to_string(128 + number); }
    static Party on(std::size_t number, Api api = Api::egl)
    {
        Capabilities table = make_table({tiled}, api, true);
        table.device.node.assign(node(number));
        return make_party(std::move(table));
    }
    static Trial trial(Allocator& exporter, std::vector<Party> importers, Modifier modifier = tiled)
    {
        return {.allocator = &exporter,
                .device = 0,
                .format = format,
                .modifier = modifier,
                .usage = UsageFlag::sample,
                .rules = {},
                .size = {64, 64},
                .importers = std::move(importers)};
    }
    Batch run(Trial wanted, Urgency urgency = Urgency::now)
    {
        return proving.run({std::move(wanted)}, now, [this, number = begun++](Instant) { done.push_back(number); }, urgency);
    }
    const Proof* found(const Allocator& exporter, const Party& importer, Modifier modifier = tiled) const
    {
        return proofs.find(pair_key(exporter.exports()[0].exporter, importer, format, modifier, {64, 64}));
    }
    std::size_t running() const { return one.answers.waiting() + two.answers.waiting(); }

    Instant now{second};
    std::array<FakeGpu, 3> gpus;
    MemfdAllocator memfd;
    FakeHelper one, two, system;
    Proofs proofs;
    Trials proving{proofs, {{&one, &two}, &system}};
    int begun = 0;
    std::vector<int> done;
};

TEST_F(SideBySide, trials_without_a_common_device_overlap)
{
    run(trial(gpus[0], {on(3)}));
    run(trial(gpus[1], {on(4)}));
    EXPECT_EQ(one.proven.size(), 1u);
    EXPECT_EQ(two.proven.size(), 1u);
    two.answers.release();
    one.answers.release();
    EXPECT_EQ(done, (std::vector{1, 0}));
}

TEST_F(SideBySide, trials_with_a_common_device_do_not)
{
    run(trial(gpus[0], {on(3)}));
    run(trial(gpus[0], {on(4)}));
    run(trial(gpus[1], {on(3, Api::vulkan)}));
    run(trial(gpus[1], {on(0)}));
    run(trial(memfd, {on(0)}, modifier_linear));
    EXPECT_EQ(running(), 1u) << "exporter, importer, importer that exports, importer of system memory";
    while (running() > 0) (one.answers.waiting() ? one : two).answers.release();
    EXPECT_EQ(done.size(), 5u);
}

TEST_F(SideBySide, two_devices_of_one_worker_are_tried_in_turn)
{
    gpus[0].known.push_back({gpus[1].known[0].exporter, {}});
    run(trial(gpus[0], {on(3)}));
    Trial second = trial(gpus[0], {on(4)});
    second.device = 1;
    run(std::move(second));
    EXPECT_EQ(gpus[0].asked.size(), 1u);
    one.answers.release();
    EXPECT_EQ(gpus[0].asked.size(), 2u);
    one.answers.release();
}

TEST_F(SideBySide, a_device_is_known_by_whatever_is_known_of_it)
{
    const auto overlap = [&](const Device& a, const Device& b) {
        Party first = on(3), second = on(4);
        Capabilities tables[] = {*first.table, *second.table};
        tables[0].device = a, tables[1].device = b;
        proofs.clear();
        run(trial(gpus[0], {make_party(tables[0])}));
        run(trial(gpus[1], {make_party(tables[1])}));
        const bool both = running() == 2;
        while (running() > 0) (one.answers.waiting() ? one : two).answers.release();
        return both;
    };
    const Device plain{.id = {}, .node = {}, .driver = "a", .version = "1", .software = false};
    const auto with = [&](const auto& change) {
        Device out = plain;
        out.driver = "b";
        change(out);
        return out;
    };
    const Device uuid = with([](Device& d) { d.id.device_uuid = {7}; }), pci = with([](Device& d) { d.id.pci = 7; }),
                 render = with([](Device& d) { d.id.render_node = 7; }), other = with([](Device& d) { d.id.pci = 8; });
    const auto in_another_driver = [](Device device) {
        device.driver = "c";
        device.id.driver_uuid = {3};
        return device;
    };
    for (const Device& device : {uuid, pci, render}) EXPECT_FALSE(overlap(device, in_another_driver(device)));
    EXPECT_TRUE(overlap(pci, other));
    EXPECT_TRUE(overlap(pci, plain));
    EXPECT_FALSE(overlap(plain, plain)) << "of one driver, and nothing else is known";
}

TEST_F(SideBySide, one_that_hangs_delays_only_those_with_its_devices)
{
    run(trial(gpus[0], {on(3)}));
    run(trial(gpus[2], {on(3)}));
    for (const std::size_t importer : {4, 5}) run(trial(gpus[1], {on(importer)}));
    run(trial(gpus[2], {on(5)}));
    for (int i = 0; i < 3; ++i) two.answers.release();
    EXPECT_EQ(done, (std::vector{2, 3, 4}));
    EXPECT_EQ(one.proven.size(), 1u);
    one.answers.release();
    EXPECT_EQ(done.back(), 0);
    EXPECT_EQ(running(), 1u) << "the one that waited for it";
}

TEST_F(SideBySide, those_that_wait_for_one_device_go_in_the_order_of_their_coming)
{
    for (const Modifier modifier : {tiled, swizzled, modifier_linear}) run(trial(gpus[0], {on(3)}, modifier));
    for (int i = 0; i < 3; ++i) one.answers.release();
    EXPECT_EQ(done, (std::vector{0, 1, 2}));
}

TEST_F(SideBySide, as_many_run_at_once_as_there_are_provers)
{
    for (std::size_t i = 0; i < 3; ++i) run(trial(gpus[i], {on(3 + i)}));
    EXPECT_EQ(running(), 2u);
    EXPECT_TRUE(gpus[2].asked.empty());
    two.answers.release();
    EXPECT_EQ(two.proven.size(), 2u);
}

TEST_F(SideBySide, a_crash_is_of_the_pair_that_its_worker_had)
{
    one.proofs.insert_or_assign(tiled.value, fail(Errc::disconnected, "SIGSEGV"));
    run(trial(gpus[0], {on(3)}));
    run(trial(gpus[1], {on(4)}));
    one.answers.release();
    two.answers.release();
    EXPECT_EQ(found(gpus[0], on(3))->result, ProofResult::crashed);
    EXPECT_EQ(found(gpus[1], on(4))->result, ProofResult::works);
    EXPECT_EQ(proofs.all().size(), 2u);
}

TEST_F(SideBySide, system_memory_is_in_nobody_s_way)
{
    run(trial(memfd, {on(3)}, modifier_linear));
    run(trial(memfd, {on(4)}, modifier_linear));
    EXPECT_EQ(running(), 2u);
}

TEST_F(SideBySide, the_same_question_is_not_asked_twice_at_once_where_no_device_keeps_it_apart)
{
    for (int i = 0; i < 2; ++i) run(trial(memfd, {on(3, Api::cpu)}, modifier_linear));
    EXPECT_EQ(running(), 1u);
    one.answers.release();
    EXPECT_EQ(done.size(), 2u);
    EXPECT_EQ(one.proven.size() + two.proven.size(), 1u);
}

TEST_F(SideBySide, the_cpu_is_in_nobody_s_way)
{
    run(trial(gpus[0], {on(3, Api::cpu)}));
    run(trial(gpus[1], {on(3, Api::cpu)}));
    EXPECT_EQ(running(), 2u);
}

TEST_F(SideBySide, a_batch_ends_once_with_the_last_of_its_trials)
{
    int ended = 0;
    proving.run({trial(gpus[0], {on(3), on(4)}), trial(gpus[1], {on(5)}), trial(gpus[1], {})}, now, [&](Instant) { ++ended; });
    two.answers.release();
    one.answers.release();
    EXPECT_EQ(ended, 0);
    one.answers.release();
    EXPECT_EQ(ended, 1);
    proving.run({trial(gpus[0], {on(3), on(4)})}, now, [&](Instant) { ++ended; });
    proving.run({}, now, [&](Instant) { ++ended; });
    EXPECT_EQ(ended, 3) << "nothing was left to find out";
    EXPECT_EQ(running(), 0u);
}

TEST_F(SideBySide, a_batch_that_was_cancelled_ends_with_what_has_begun_and_tells_nobody)
{
    const Batch batch = run(trial(gpus[0], {on(3), on(4)}), Urgency::background);
    run(trial(gpus[0], {on(5)}), Urgency::background);
    proving.cancel(batch);
    one.answers.release();
    EXPECT_NE(found(gpus[0], on(3)), nullptr) << "it is known now";
    EXPECT_EQ(running(), 1u);
    one.answers.release();
    EXPECT_EQ(found(gpus[0], on(4)), nullptr);
    EXPECT_EQ(done, (std::vector{1}));
    proving.cancel(batch);
    EXPECT_EQ(running(), 0u);
}

TEST_F(SideBySide, what_nobody_waits_for_gives_way_on_a_common_device_and_is_tried_later)
{
    run(trial(gpus[0], {on(3)}), Urgency::background);
    run(trial(gpus[1], {on(4)}), Urgency::background);
    run(trial(gpus[2], {on(3)}));
    EXPECT_EQ(one.times_abandoned, 1);
    EXPECT_EQ(two.times_abandoned, 0) << "it was in nobody's way";
    EXPECT_EQ(gpus[2].asked.size(), 1u);
    EXPECT_EQ(found(gpus[0], on(3)), nullptr);
    one.answers.release();
    EXPECT_EQ(done, (std::vector{2}));
    EXPECT_EQ(gpus[0].asked.size(), 2u);
    one.answers.release();
    two.answers.release();
    EXPECT_EQ(done, (std::vector{2, 0, 1}));
}

TEST_F(SideBySide, what_goes_wrong_where_another_just_gave_way_is_tried_once_more)
{
    one.proofs.insert_or_assign(swizzled.value, fail(Errc::timed_out, "no answer"));
    run(trial(gpus[0], {on(3)}), Urgency::background);
    run(trial(gpus[1], {on(3)}, swizzled));
    one.answers.release();
    EXPECT_EQ(found(gpus[1], on(3), swizzled), nullptr) << "the GPU may have hung before";
    one.answers.release();
    ASSERT_NE(found(gpus[1], on(3), swizzled), nullptr);
    EXPECT_EQ(found(gpus[1], on(3), swizzled)->result, ProofResult::hung);
    one.answers.release();
    EXPECT_EQ(done, (std::vector{1, 0}));
}

TEST_F(SideBySide, an_allocation_that_goes_wrong_where_another_just_gave_way_is_tried_once_more)
{
    run(trial(gpus[0], {on(1)}), Urgency::background);
    gpus[1].broken.insert_or_assign(tiled.value, Error{Errc::disconnected, "SIGSEGV"});
    gpus[1].answers.held = true;
    run(trial(gpus[1], {on(3)}));
    gpus[1].broken.clear();
    gpus[1].answers.release();
    gpus[1].answers.release();
    one.answers.release();
    ASSERT_NE(found(gpus[1], on(3)), nullptr);
    EXPECT_EQ(found(gpus[1], on(3))->result, ProofResult::works);
    one.answers.release();
    EXPECT_EQ(done, (std::vector{1, 0}));
}

TEST_F(SideBySide, what_nobody_waits_for_gives_way_where_no_prover_is_left)
{
    run(trial(gpus[0], {on(3)}), Urgency::background);
    run(trial(gpus[1], {on(4)}), Urgency::background);
    run(trial(gpus[2], {on(5)}));
    EXPECT_EQ(one.times_abandoned + two.times_abandoned, 1);
    EXPECT_EQ(gpus[2].asked.size(), 1u);
}

TEST_F(SideBySide, what_nobody_waits_for_gives_way_while_it_is_allocated)
{
    gpus[0].answers.held = true;
    run(trial(gpus[0], {on(3)}), Urgency::background);
    run(trial(gpus[1], {on(3)}));
    EXPECT_EQ(one.times_abandoned, 0);
    EXPECT_EQ(one.proven.size(), 1u);
    gpus[0].answers.release();
    EXPECT_EQ(running(), 1u) << "its importer's device is taken";
    one.answers.release();
    EXPECT_EQ(done, (std::vector{1}));
    gpus[0].answers.release();
    one.answers.release();
    EXPECT_EQ(done, (std::vector{1, 0}));
}

TEST_F(SideBySide, what_gave_way_and_was_cancelled_does_not_come_back)
{
    const Batch batch = run(trial(gpus[0], {on(3)}), Urgency::background);
    proving.cancel(batch);
    run(trial(gpus[1], {on(3)}));
    EXPECT_EQ(one.times_abandoned, 1);
    one.answers.release();
    EXPECT_EQ(running(), 0u);
    EXPECT_EQ(done, (std::vector{1}));
}

TEST_F(SideBySide, what_nobody_waits_for_does_not_take_a_device_that_a_client_waits_for)
{
    run(trial(gpus[0], {on(3)}));
    run(trial(gpus[1], {on(3)}));
    run(trial(gpus[1], {on(4)}), Urgency::background);
    EXPECT_EQ(running(), 1u);
    one.answers.release();
    EXPECT_EQ(one.proven.size() + two.proven.size(), 2u);
    (one.answers.waiting() ? one : two).answers.release();
    EXPECT_EQ(done, (std::vector{0, 1}));
}

TEST_F(SideBySide, thousands_that_are_answered_at_once_do_not_nest)
{
    for (FakeHelper* prover : {&one, &two}) prover->answers.held = false;
    std::vector<Trial> trials;
    for (std::uint64_t i = 0; i < 5000; ++i) trials.push_back(trial(gpus[0], {on(3)}, Modifier{0x0100000000001000 + i}));
    int ended = 0;
    proving.run(std::move(trials), now, [&](Instant) { ++ended; }, Urgency::background);
    EXPECT_EQ(ended, 1);
    EXPECT_EQ(proofs.all().size(), 5000u);
}

TEST_F(SideBySide, warming_up_ends_once_when_all_that_the_devices_share_is_known)
{
    Pool pool(0);
    Allocations allocations({&gpus[0], &gpus[1]}, pool, proofs, {{&one, &two}, &system});
    int ended = 0;
    allocations.warm_up(now, {on(3), on(4)}, [&](Instant) { ++ended; });
    while (running() > 0) {
        EXPECT_EQ(ended, 0);
        (one.answers.waiting() ? one : two).answers.release();
    }
    EXPECT_EQ(ended, 1);
    EXPECT_EQ(proofs.all().size(), 4u) << "one layout of two devices in two importers";
    allocations.warm_up(now, {on(3), on(4)}, [&](Instant) { ++ended; });
    EXPECT_EQ(ended, 2);
}

} // namespace
} // namespace dmb::test
