// SPDX-License-Identifier: MIT
// What is known of pairs, and how it is found out: the steps of a trial in order, what each outcome is noted as, and
// what is never asked a second time.
#include "daemon/core/proving/proving.hpp"
#include "tests/daemon/broker_fixture.hpp"
#include "tests/daemon/fake_gpu.hpp"

namespace dmb::test {
namespace {

constexpr FourCC format = fourcc("AB24");

Party make_party(Capabilities table, Usage usage = UsageFlag::sample)
{
    return {.demands = {.usage = usage}, .table = std::make_shared<const Capabilities>(std::move(table)), .client = {}};
}

class ProofTable : public FdTest {
protected:
    DeviceInfo exporter{.backend = Backend::gbm, .node = "/dev/dri/renderD128", .driver = "fake", .version = "1.0"};
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
        proving.run(trial(std::move(importers), modifier), now, [this](Instant) { ++done; });
    }
    const Proof* found(const Party& importer, Modifier modifier = tiled) const
    {
        return proofs.find(pair_key(gpu.known.at(0), importer, format, modifier, {64, 64}));
    }
    const Proof* of_exporter(Modifier modifier = tiled) const
    {
        return proofs.find(exporter_key(gpu.known.at(0), format, modifier, {64, 64}));
    }

    Instant now{second};
    FakeGpu gpu;
    FakeHelper prover, system;
    Proofs proofs;
    Proving proving{proofs, {&prover, &system}};
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
    const auto noted = [&](Result<wire::WorkerProof> answer) -> std::optional<ProofResult> {
        proofs.clear();
        prover.proofs.insert_or_assign(tiled.value, answer);
        run({first});
        if (const Proof* proof = found(first)) return proof->result;
        return std::nullopt;
    };
    EXPECT_EQ(noted(wire::WorkerProof{ProofResult::works, {}}), ProofResult::works);
    EXPECT_EQ(noted(wire::WorkerProof{ProofResult::refused, "0x3003"}), ProofResult::refused);
    EXPECT_EQ(noted(wire::WorkerProof{ProofResult::wrong_pixels, "at 3,4"}), ProofResult::wrong_pixels);
    EXPECT_EQ(noted(wire::WorkerProof{ProofResult::impossible, "no way"}), ProofResult::impossible);
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
    EXPECT_EQ(prover.proven.size(), 1u) << "one at a time";
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
    Proving alone(proofs, {nullptr, &system});
    EXPECT_TRUE(alone.untried(trial({first})).empty());
    alone.run(trial({first}), now, [this](Instant) { ++done; });
    EXPECT_EQ(done, 1);
    EXPECT_TRUE(gpu.asked.empty());
    EXPECT_TRUE(proving.untried(trial({make_party(make_table({tiled}, Api::kms)), Party{}})).empty());
}

TEST_F(ProvingTest, system_memory_that_nobody_can_fill_gives_no_result)
{
    gpu.fills = false;
    Proving alone(proofs, {&prover, nullptr});
    alone.run(trial({first}), now, [this](Instant) { ++done; });
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
    const DeviceInfo before = gpu.known[0];
    gpu.known[0].id.device_uuid = {9};
    prover.answers.release();
    EXPECT_EQ(done, 1);
    EXPECT_EQ(gpu.asked.size(), 1u);
    EXPECT_EQ(proofs.all().size(), 1u);
    EXPECT_NE(proofs.find(pair_key(before, first, format, tiled, {64, 64})), nullptr);
}

TEST_F(ProvingTest, a_trial_that_waited_for_another_device_is_not_run_on_its_successor)
{
    prover.answers.held = true;
    run({other});
    run({first});
    gpu.known[0].id.device_uuid = {9};
    prover.answers.release();
    EXPECT_EQ(done, 2);
    EXPECT_EQ(gpu.asked.size(), 1u);
}

TEST_F(ProvingTest, what_warms_up_lets_those_who_wait_go_first)
{
    prover.answers.held = true;
    std::vector<int> order;
    const auto note = [&](int which) { return [&order, which](Instant) { order.push_back(which); }; };
    proving.run(trial({first}, tiled), now, note(0), Urgency::background);
    proving.run(trial({first}, swizzled), now, note(1), Urgency::background);
    proving.run(trial({first}, modifier_linear), now, note(2));
    for (int i = 0; i < 3; ++i) prover.answers.release();
    EXPECT_EQ(order, (std::vector{0, 2, 1}));
}

} // namespace
} // namespace dmb::test
