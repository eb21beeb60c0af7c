// SPDX-License-Identifier: MIT
// Participants that come later: what they get, who is told, and what remains when anything ends on the way.
#include "tests/daemon/joining_fixture.hpp"

namespace dmb::test {
namespace {

class Joins : public JoiningTest {
protected:
    using JoiningTest::JoiningTest;
    /// Bob gets a copy in system memory, because the GPU's layouts are not for him.
    std::shared_ptr<Joined> copy_for_bob(const Got& image)
    {
        return come(bob, token_of(alice, image), party(state(bob, memfd_table), UsageFlag::cpu_read));
    }
};

// --- as it is --------------------------------------------------------------------------------------

TEST_F(Joins, who_can_import_the_image_gets_it_as_it_is)
{
    const Got image = make_tiled(alice);
    EXPECT_EQ(image.desc.modifier, tiled);
    const auto bobs = come(bob, token_of(alice, image), party(state(bob, make_table({tiled}, Api::vulkan))));
    ASSERT_TRUE(bobs->answered);
    EXPECT_EQ(bobs->reason, "");
    EXPECT_EQ(bobs->got.image, image.image);
    EXPECT_EQ(bobs->source, ImageId{});
    EXPECT_TRUE(events.replaced.empty());
}

TEST_F(Joins, the_pair_is_tried_first_and_once)
{
    const Got image = make_tiled(alice);
    prover.proven.clear();
    prover.answers.held = true;
    const Token token = token_of(alice, image);
    const Digest table = state(bob, make_table({tiled}, Api::vulkan));
    const auto first = come(bob, token, party(table));
    EXPECT_FALSE(first->answered);
    EXPECT_EQ(prover.proven.size(), 1u);
    prover.answers.release();
    EXPECT_EQ(first->got.image, image.image);
    EXPECT_EQ(come(bob, token, party(table))->got.image, image.image);
    EXPECT_EQ(prover.proven.size(), 1u);
}

TEST_F(Joins, a_trial_that_fails_leads_to_another_image)
{
    const Got image = make_tiled(alice);
    prover.proofs.insert_or_assign(tiled.value, fail(Errc::disconnected, "SIGSEGV"));
    const auto bobs = come(bob, token_of(alice, image), party(state(bob, make_table({tiled, swizzled}, Api::vulkan))));
    ASSERT_TRUE(bobs->answered);
    EXPECT_EQ(bobs->reason, "");
    EXPECT_EQ(bobs->got.desc.modifier, swizzled);
    EXPECT_NE(why(bob, {}, bobs->got.image).find("crashed"), std::string::npos) << why(bob, {}, bobs->got.image);
}

TEST_F(Joins, a_table_that_is_not_known_is_refused_by_the_name_of_its_participant)
{
    const Got image = make_tiled(alice);
    const auto bobs = come(bob, token_of(alice, image), party({1, 2, 3}, UsageFlag::sample, "viewer"));
    EXPECT_EQ(bobs->code, Errc::invalid_argument);
    EXPECT_NE(bobs->reason.find("viewer"), std::string::npos);
}

// --- one for everybody -----------------------------------------------------------------------------

TEST_F(Joins, one_who_cannot_import_it_moves_everybody_to_one_that_all_can)
{
    const Got image = make_tiled(alice);
    const auto bobs = come(bob, token_of(alice, image), party(state(bob, linear_table)));
    ASSERT_TRUE(bobs->answered);
    ASSERT_EQ(bobs->reason, "");
    EXPECT_EQ(bobs->source, ImageId{}) << "no copy";
    EXPECT_NE(bobs->got.image, image.image);
    EXPECT_EQ(bobs->got.desc.modifier, modifier_linear);
    ASSERT_EQ(events.replaced.size(), 1u);
    EXPECT_EQ(events.replaced[0].client, alice);
    EXPECT_EQ(events.replaced[0].handle, image.handle);
    EXPECT_EQ(events.replaced[0].successor, bobs->got.image);
    const auto moved = move(alice, image.handle);
    ASSERT_TRUE(moved);
    EXPECT_EQ(moved->image, bobs->got.image);
    EXPECT_EQ(moved->rights, image.rights);
    EXPECT_TRUE(mint(alice, image.handle)) << "the old one stays valid";
    EXPECT_EQ(gpu.hands.blits, 1) << "with the same pixels";
}

TEST_F(Joins, whoever_joins_the_replaced_image_gets_the_successor)
{
    const Got image = make_tiled(alice);
    const Token token = token_of(alice, image);
    const auto bobs = come(bob, token, party(state(bob, linear_table)));
    const auto carols = come(carol, token, party(state(carol, linear_table)));
    EXPECT_EQ(carols->got.image, bobs->got.image);
    EXPECT_EQ(events.replaced.size(), 1u);
}

TEST_F(Joins, a_second_replacement_takes_everybody_to_the_last_one)
{
    const Got image = make_tiled(alice);
    const Token token = token_of(alice, image);
    const auto bobs = come(bob, token, party(state(bob, make_table({swizzled, modifier_linear}, Api::gbm))));
    ASSERT_EQ(bobs->got.desc.modifier, swizzled);
    const auto carols = come(carol, token, party(state(carol, linear_table)));
    ASSERT_EQ(carols->reason, "");
    EXPECT_EQ(carols->got.desc.modifier, modifier_linear);
    ASSERT_EQ(events.replaced.size(), 2u);
    EXPECT_EQ(events.replaced[1].client, bob);
    EXPECT_EQ(move(alice, image.handle)->image, carols->got.image);
    EXPECT_EQ(move(bob, bobs->got.handle)->image, carols->got.image);
    EXPECT_EQ(code(move(carol, carols->got.handle)), Errc::not_found);
}

TEST_F(Joins, the_way_to_the_last_one_survives_the_end_of_the_one_between)
{
    const Got image = make_tiled(alice);
    const Token token = token_of(alice, image);
    const auto bobs = come(bob, token, party(state(bob, make_table({swizzled, modifier_linear}, Api::gbm))));
    const auto carols = come(carol, token, party(state(carol, linear_table)));
    ASSERT_EQ(carols->reason, "");
    EXPECT_EQ(release(bob, bobs->got), Errc{});
    EXPECT_EQ(move(alice, image.handle)->image, carols->got.image);
    EXPECT_EQ(come(bob, token, party(state(bob, linear_table)))->got.image, carols->got.image);
}

TEST_F(Joins, tokens_of_a_replaced_image_that_nobody_holds_any_more_lead_to_its_successor)
{
    Got image = make_tiled(alice);
    const Token token = token_of(alice, image);
    const auto bobs = come(bob, token, party(state(bob, linear_table)));
    Got moved = *move(alice, image.handle);
    EXPECT_EQ(release(alice, image), Errc{});
    EXPECT_EQ(open(carol, token)->image, bobs->got.image);
    EXPECT_EQ(come(carol, token, party(state(carol, linear_table)))->got.image, bobs->got.image);
    EXPECT_TRUE(broker->revoke(alice, token));
    EXPECT_EQ(code(open(carol, token)), Errc::token_revoked);
}

TEST_F(Joins, a_successor_that_nobody_took_leaves_the_image_as_good_as_ever)
{
    const Got image = make_tiled(alice);
    const auto bobs = come(bob, token_of(alice, image), party(state(bob, linear_table)));
    EXPECT_EQ(release(bob, bobs->got), Errc{});
    EXPECT_EQ(code(move(alice, image.handle)), Errc::not_found);
    EXPECT_EQ(come(bob, token_of(alice, image), party(state(bob, make_table({tiled}, Api::vulkan))))->got.image, image.image);
}

TEST_F(Joins, a_successor_whose_lease_is_over_is_gone_also_before_it_is_swept)
{
    const Got image = make_tiled(alice);
    const Token token = token_of(alice, image, Right::read | Right::manage);
    const auto bobs = come(bob, token, party(state(bob, linear_table)), Right::read | Right::manage);
    ASSERT_TRUE(broker->set_lease(bob, bobs->got.handle, second, now));
    EXPECT_EQ(release(bob, bobs->got), Errc{});
    EXPECT_TRUE(move(alice, image.handle));
    ASSERT_TRUE(broker->release(alice, HandleId{image.handle.value + 1}, now));
    now = after(now, second);
    EXPECT_EQ(code(move(alice, image.handle)), Errc::not_found);
}

TEST_F(Joins, a_holder_who_said_nothing_of_itself_is_never_asked_to_move)
{
    const Got image = make_tiled(alice);
    ASSERT_TRUE(open(carol, token_of(alice, image)));
    const auto bobs = come(bob, token_of(alice, image), party(state(bob, linear_table)));
    ASSERT_EQ(bobs->reason, "");
    EXPECT_EQ(bobs->source, image.image) << "a copy";
    EXPECT_TRUE(events.replaced.empty());
}

TEST_F(Joins, a_replacement_keeps_the_format)
{
    for (Capability row : std::vector(gpu.known[0].rows)) {
        row.format = fourcc("XB24");
        gpu.known[0].rows.push_back(row);
    }
    broker->devices_changed(now);
    ImageRequest what = request();
    what.spec.usage = UsageFlag::render;
    what.alternatives.push_back(fourcc("XB24"));
    const auto both = [](std::vector<Modifier> ab, std::vector<Modifier> xb) {
        Capabilities out = make_table(std::move(ab), Api::vulkan);
        for (const Modifier m : xb) out.rows.push_back({.format = fourcc("XB24"), .modifier = m, .plane_count = 1});
        make_canonical(out);
        return out;
    };
    what.participants.push_back(party(state(alice, both({}, {tiled, modifier_linear})), UsageFlag::render));
    const auto image = allocate(alice, what);
    ASSERT_TRUE(image);
    ASSERT_EQ(image->desc.format, fourcc("XB24")) << "the better layout";
    const auto bobs = come(bob, token_of(alice, *image), party(state(bob, both({modifier_linear}, {modifier_linear}))));
    ASSERT_EQ(bobs->reason, "");
    EXPECT_EQ(bobs->got.desc.format, fourcc("XB24"));
}

TEST_F(Joins, a_participant_that_was_named_before_is_counted_once)
{
    const Digest bobs_table = state(bob, make_table({tiled, modifier_linear}, Api::vulkan));
    const Got image = make_tiled(alice, {party(bobs_table, UsageFlag::sample, "viewer")});
    const Token token = token_of(alice, image);
    ASSERT_EQ(come(bob, token, party(bobs_table, UsageFlag::sample, "viewer"))->got.image, image.image);
    const auto carols = come(carol, token, party(state(carol, linear_table), UsageFlag::sample, "late"));
    ASSERT_EQ(carols->reason, "");
    const auto decision = broker->deciding().why(carol, {}, carols->got.image, now);
    ASSERT_TRUE(decision);
    EXPECT_EQ(decision->participants.size(), 3u) << "producer, viewer and late";
}

TEST_F(Joins, a_plan_that_trials_turn_into_copies_for_others_is_no_replacement)
{
    const Got image = make_tiled(alice);
    // Linear would do for both, until bob's trial says otherwise: then nothing serves both.
    prover.proofs.insert_or_assign(modifier_linear.value, Proven{ProofResult::refused, "no"});
    Capabilities table = make_table({modifier_linear}, Api::vulkan, true);
    const auto bobs = come(bob, token_of(alice, image), party(state(bob, table)));
    ASSERT_TRUE(bobs->answered);
    EXPECT_EQ(bobs->reason, "");
    EXPECT_EQ(bobs->source, image.image);
    EXPECT_EQ(bobs->got.desc.backend, Backend::memfd) << name(bobs->got.desc.backend);
    EXPECT_TRUE(events.replaced.empty());
}

TEST_F(Joins, a_reader_stays_a_reader_when_it_moves)
{
    ImageRequest what = request();
    what.spec.usage = UsageFlag::render;
    what.participants.push_back(party(state(alice, make_table({tiled}, Api::egl, true)), UsageFlag::render, "producer"));
    const auto image = allocate(alice, what);
    ASSERT_TRUE(image);
    const Token enforced = *mint(alice, image->handle, Right::read, false, 0, true);
    EXPECT_EQ(code(open(bob, enforced, Right::read, UsageFlag::cpu_read)), Errc::denied) << "not for a GPU's memory";
    const auto carols = come(carol, token_of(alice, *image), party(state(carol, memfd_table), UsageFlag::cpu_read));
    ASSERT_EQ(carols->reason, "");
    ASSERT_EQ(carols->source, ImageId{});
    ASSERT_EQ(carols->got.desc.backend, Backend::memfd);
    EXPECT_EQ(carols->got.protection, Protection::read_only_descriptor);
    // Bob came in as a reader of the old one and goes on as a reader of the new one.
    const Got bobs = *open(bob, token_of(alice, *image), Right::read, UsageFlag::cpu_read);
    const auto moved = move(bob, bobs.handle);
    ASSERT_TRUE(moved);
    EXPECT_EQ(moved->protection, Protection::read_only_descriptor);
    EXPECT_EQ(::fcntl(moved->fd.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
    EXPECT_EQ(::fcntl(move(alice, image->handle)->fd.get(), F_GETFL) & O_ACCMODE, O_RDWR);
}

TEST_F(Joins, revoking_the_image_or_its_token_ends_the_way_to_the_successor)
{
    const Got image = make_tiled(alice);
    const Token token = token_of(alice, image), other = token_of(alice, image);
    const Got carols = *open(carol, other);
    ASSERT_EQ(release(carol, const_cast<Got&>(carols)), Errc{});
    const auto bobs = come(bob, token, party(state(bob, linear_table)));
    ASSERT_EQ(bobs->source, ImageId{});
    const Got late = *open(carol, other);
    EXPECT_TRUE(broker->revoke(alice, other));
    EXPECT_EQ(code(move(carol, late.handle)), Errc::token_revoked);
    EXPECT_TRUE(broker->revoke(alice, image.image, now));
    EXPECT_EQ(code(move(alice, image.handle)), Errc::token_revoked);
}

TEST_F(Joins, nobody_is_led_to_a_successor_that_was_revoked)
{
    const Got image = make_tiled(alice);
    const Token token = token_of(alice, image);
    const auto bobs = come(bob, token, party(state(bob, linear_table)));
    EXPECT_TRUE(broker->revoke(manager, bobs->got.image, now));
    EXPECT_EQ(code(move(alice, image.handle)), Errc::token_revoked);
    EXPECT_EQ(come(carol, token, party(state(carol, linear_table)))->code, Errc::token_revoked);
}

// --- a copy ----------------------------------------------------------------------------------------

TEST_F(Joins, where_nothing_serves_everybody_the_late_one_gets_a_copy)
{
    const Got image = make_tiled(alice);
    gpu.hands.blit_error = {Errc::backend_failed, "not this driver"};
    const auto bobs = copy_for_bob(image);
    ASSERT_TRUE(bobs->answered);
    ASSERT_EQ(bobs->reason, "");
    EXPECT_EQ(bobs->source, image.image);
    EXPECT_EQ(bobs->got.desc.backend, Backend::memfd);
    EXPECT_EQ(bobs->got.desc.rung, Rung::copy);
    EXPECT_EQ(gpu.hands.reads, 1);
    EXPECT_EQ(system.written.size(), 2u) << "the trial's image and the copy";
    EXPECT_EQ(info(bobs->got.image).copying.count, 1u);
    EXPECT_EQ(info(bobs->got.image).copying.last_ns, 7u);
    EXPECT_TRUE(events.replaced.empty());
}

TEST_F(Joins, a_refresh_copies_once_more_and_adds_up_what_it_costs)
{
    const Got image = make_tiled(alice);
    gpu.hands.blit_error = {Errc::backend_failed, "not this driver"};
    const auto bobs = copy_for_bob(image);
    EXPECT_EQ(*refresh(bob, bobs->got.handle), 7u);
    EXPECT_EQ(info(bobs->got.image).copying.count, 2u);
    EXPECT_EQ(info(bobs->got.image).copying.total_ns, 14u);
    EXPECT_EQ(gpu.hands.blits, 1) << "what failed is not tried again";
    EXPECT_EQ(gpu.hands.reads, 2);
}

TEST_F(Joins, a_blit_is_a_rung_of_its_own_until_it_fails)
{
    const Got image = make_tiled(alice);
    const auto bobs = copy_for_bob(image);
    EXPECT_EQ(bobs->got.desc.rung, Rung::blit);
    EXPECT_EQ(gpu.hands.reads, 0);
    EXPECT_EQ(*refresh(bob, bobs->got.handle), 2u);
    EXPECT_EQ(gpu.hands.blits, 2);
    gpu.hands.blit_error = {Errc::disconnected, "SIGSEGV"};
    EXPECT_EQ(*refresh(bob, bobs->got.handle), 7u);
    EXPECT_EQ(info(bobs->got.image).desc.rung, Rung::copy);
    EXPECT_EQ(*refresh(bob, bobs->got.handle), 7u);
    EXPECT_EQ(gpu.hands.blits, 3);
    EXPECT_EQ(info(bobs->got.image).copying.count, 4u);
}

TEST_F(Joins, memory_of_a_copy_is_reused_as_good_as_new)
{
    const Got image = make_tiled(alice);
    const auto bobs = copy_for_bob(image);
    ImageRequest same = request();
    same.spec.usage = bobs->got.desc.usage;
    same.spec.backends.add(Backend::memfd);
    EXPECT_EQ(release(bob, bobs->got), Errc{});
    EXPECT_EQ(pool->info().images, 1u);
    const auto again = allocate(bob, same);
    ASSERT_TRUE(again);
    EXPECT_EQ(pool->info().images, 0u);
    EXPECT_EQ(again->desc.rung, Rung::system_dma_buf);
}

TEST_F(Joins, a_demand_for_a_better_rung_refuses_the_copy_with_the_reason)
{
    const Got image = make_tiled(alice);
    Participant picky = party(state(bob, memfd_table), UsageFlag::cpu_read, "encoder");
    picky.minimum_rung = Rung::system_dma_buf;
    const auto bobs = come(bob, token_of(alice, image), picky);
    EXPECT_EQ(bobs->code, Errc::no_backend);
    EXPECT_NE(bobs->reason.find("rung"), std::string::npos) << bobs->reason;
    EXPECT_NE(bobs->request, RequestId{});
    EXPECT_EQ(why(bob, bobs->request), bobs->reason);
    expect_nothing_is_held(bob);
}

TEST_F(Joins, a_demand_for_a_blit_refuses_a_copy_through_the_cpu)
{
    const Got image = make_tiled(alice);
    gpu.hands.blit_error = {Errc::backend_failed, "not this driver"};
    Participant picky = party(state(bob, memfd_table), UsageFlag::cpu_read, "encoder");
    picky.minimum_rung = Rung::blit;
    const auto bobs = come(bob, token_of(alice, image), picky);
    EXPECT_EQ(bobs->code, Errc::no_backend);
    EXPECT_NE(bobs->reason.find("blit"), std::string::npos) << bobs->reason;
    expect_nothing_is_held(bob);
    EXPECT_EQ(broker->state().images().size(), 1u);
}

TEST_F(Joins, what_is_written_into_a_copy_would_reach_nobody_so_the_right_is_refused)
{
    const Got image = make_tiled(alice);
    const auto bobs = come(bob, token_of(alice, image, Right::read | Right::write),
                           party(state(bob, memfd_table), UsageFlag::cpu_read), Right::read | Right::write);
    EXPECT_EQ(bobs->code, Errc::no_backend);
    EXPECT_NE(bobs->reason.find("reach nobody"), std::string::npos) << bobs->reason;
    expect_nothing_is_held(bob);
}

TEST_F(Joins, a_copy_that_nobody_can_make_is_refused_with_both_reasons)
{
    const Got image = make_tiled(alice);
    gpu.hands.blit_error = {Errc::backend_failed, "no blit"};
    gpu.hands.read_error = {Errc::timed_out, "the GPU sleeps"};
    const auto bobs = copy_for_bob(image);
    EXPECT_EQ(bobs->code, Errc::backend_failed);
    EXPECT_NE(bobs->reason.find("the GPU sleeps"), std::string::npos) << bobs->reason;
    expect_nothing_is_held(bob);
}

TEST_F(Joins, only_a_copy_can_be_refreshed)
{
    const Got image = make_tiled(alice);
    EXPECT_EQ(code(refresh(alice, image.handle)), Errc::invalid_argument);
    EXPECT_EQ(code(refresh(alice, HandleId{99})), Errc::not_found);
}

TEST_F(Joins, a_copy_whose_source_is_gone_or_revoked_stays_as_it_is)
{
    Got image = make_tiled(alice);
    const auto bobs = copy_for_bob(image);
    EXPECT_TRUE(broker->revoke(alice, image.image, now));
    EXPECT_EQ(code(refresh(bob, bobs->got.handle)), Errc::token_revoked);
    EXPECT_EQ(release(alice, image), Errc{});
    EXPECT_EQ(code(refresh(bob, bobs->got.handle)), Errc::not_found);
    EXPECT_EQ(info(bobs->got.image).copying.count, 1u);
    EXPECT_TRUE(mint(bob, bobs->got.handle));
}

TEST_F(Joins, a_revoked_token_gives_no_more_pixels)
{
    const Got image = make_tiled(alice);
    const Token token = token_of(alice, image);
    const auto bobs = come(bob, token, party(state(bob, memfd_table), UsageFlag::cpu_read));
    EXPECT_TRUE(refresh(bob, bobs->got.handle));
    EXPECT_TRUE(broker->revoke(alice, token));
    EXPECT_EQ(code(refresh(bob, bobs->got.handle)), Errc::token_revoked);
}

TEST_F(Joins, a_copy_follows_its_source_to_the_successor)
{
    Got image = make_tiled(alice);
    const auto bobs = copy_for_bob(image);
    ASSERT_EQ(bobs->source, image.image);
    const auto carols = come(carol, token_of(alice, image), party(state(carol, linear_table)));
    ASSERT_EQ(carols->source, ImageId{});
    ASSERT_TRUE(move(alice, image.handle));
    EXPECT_EQ(release(alice, image), Errc{});
    EXPECT_TRUE(refresh(bob, bobs->got.handle));
}

// --- what ends on the way --------------------------------------------------------------------------

class EndsOnTheWay : public Joins {
protected:
    /// Bob's join waits for the pixels of his copy.
    std::shared_ptr<Joined> waiting_copy(const Token& token)
    {
        gpu.hands.answers.held = true;
        auto bobs = come(bob, token, party(state(bob, memfd_table), UsageFlag::cpu_read));
        EXPECT_FALSE(bobs->answered);
        EXPECT_EQ(used(bob).images, 1u) << "charged before it exists";
        return bobs;
    }
    void go_on() { gpu.hands.answers.release_all(); }
};

TEST_F(EndsOnTheWay, a_client_that_leaves_during_its_trial_gets_nothing)
{
    const Got image = make_tiled(alice);
    prover.answers.held = true;
    const auto bobs = come(bob, token_of(alice, image), party(state(bob, make_table({tiled}, Api::vulkan))));
    broker->disconnect(bob, now);
    prover.answers.release_all();
    EXPECT_FALSE(bobs->answered);
    EXPECT_EQ(broker->state().images().size(), 1u);
}

TEST_F(EndsOnTheWay, a_client_that_leaves_while_its_copy_is_made_leaves_nothing)
{
    const Got image = make_tiled(alice);
    const auto bobs = waiting_copy(token_of(alice, image));
    broker->disconnect(bob, now);
    go_on();
    EXPECT_FALSE(bobs->answered);
    EXPECT_EQ(broker->state().images().size(), 1u);
    EXPECT_TRUE(broker->state().operations().empty()) << "nor its charge";
}

TEST_F(EndsOnTheWay, a_client_that_leaves_while_its_image_is_allocated_leaves_nothing)
{
    const Got image = make_tiled(alice);
    proofs.add({.key = pair_key(gpu.known[0].exporter,
                                {.demands = {.usage = UsageFlag::sample},
                                 .table = std::make_shared<const Capabilities>(linear_table),
                                 .client = {}},
                                fourcc("AB24"), modifier_linear, {64, 64}),
                .result = ProofResult::works,
                .reason = {}});
    const Token token = token_of(alice, image);
    gpu.answers.held = true;
    const auto bobs = come(bob, token, party(state(bob, linear_table)));
    EXPECT_FALSE(bobs->answered);
    broker->disconnect(bob, now);
    gpu.answers.release_all();
    EXPECT_FALSE(bobs->answered);
    EXPECT_EQ(broker->state().images().size(), 1u);
    EXPECT_TRUE(events.replaced.empty());
}

TEST_F(EndsOnTheWay, an_image_that_goes_while_its_copy_is_made_is_not_copied)
{
    Got image = make_tiled(alice);
    const auto bobs = waiting_copy(token_of(alice, image));
    EXPECT_EQ(release(alice, image), Errc{});
    go_on();
    EXPECT_EQ(bobs->code, Errc::not_found);
    EXPECT_EQ(broker->state().images().size(), 0u);
    expect_nothing_is_held(bob);
}

TEST_F(EndsOnTheWay, a_token_revoked_while_the_copy_is_made_opens_nothing)
{
    const Got image = make_tiled(alice);
    const Token token = token_of(alice, image);
    const auto bobs = waiting_copy(token);
    EXPECT_TRUE(broker->revoke(alice, token));
    go_on();
    EXPECT_EQ(bobs->code, Errc::token_revoked);
    EXPECT_EQ(broker->state().images().size(), 1u);
    expect_nothing_is_held(bob);
}

TEST_F(EndsOnTheWay, a_token_that_expires_while_the_copy_is_made_opens_nothing)
{
    const Got image = make_tiled(alice);
    const auto bobs = waiting_copy(*mint(alice, image.handle, Right::read, false, second));
    pass(2 * second);
    go_on();
    EXPECT_EQ(bobs->code, Errc::token_expired);
    EXPECT_EQ(broker->state().images().size(), 1u);
}

TEST_F(EndsOnTheWay, of_two_who_join_with_a_one_shot_token_exactly_one_gets_in)
{
    const Got image = make_tiled(alice);
    const Token token = token_of(alice, image, Right::read, true);
    const auto bobs = waiting_copy(token);
    const auto carols = come(carol, token, party(state(carol, memfd_table), UsageFlag::cpu_read));
    EXPECT_FALSE(carols->answered);
    go_on();
    ASSERT_TRUE(bobs->answered && carols->answered);
    EXPECT_EQ(bobs->code, Errc{});
    EXPECT_EQ(carols->code, Errc::token_used);
    EXPECT_EQ(broker->state().images().size(), 2u);
    expect_nothing_is_held(carol);
}

TEST_F(EndsOnTheWay, two_who_join_at_once_share_one_successor_or_have_one_each)
{
    const Got image = make_tiled(alice);
    const Token token = token_of(alice, image);
    gpu.hands.answers.held = true;
    const auto bobs = come(bob, token, party(state(bob, linear_table)));
    const auto carols = come(carol, token, party(state(carol, linear_table)));
    go_on();
    ASSERT_EQ(bobs->reason + carols->reason, "");
    EXPECT_EQ(move(alice, image.handle)->image, carols->got.image);
    EXPECT_EQ(carols->got.image, bobs->got.image) << "or they would not see each other's pixels";
}

TEST_F(EndsOnTheWay, a_copy_freed_while_it_is_refreshed_is_no_harm)
{
    const Got image = make_tiled(alice);
    const auto bobs = come(bob, token_of(alice, image), party(state(bob, memfd_table), UsageFlag::cpu_read));
    gpu.hands.answers.held = true;
    bool answered = false;
    broker->refresh(next(bob), bobs->got.handle, now, [&](const OperationAnswer&) { answered = true; });
    EXPECT_EQ(release(bob, bobs->got), Errc{});
    go_on();
    EXPECT_TRUE(answered);
    broker->disconnect(bob, now);
    EXPECT_EQ(broker->state().images().size(), 1u);
}

class FewDescriptors : public Joins {
protected:
    FewDescriptors() : Joins({.client = {.bytes = 1 << 20, .images = 8, .fds = 2, .tokens = 8}}) {}
};

TEST_F(FewDescriptors, an_enforced_token_gives_no_writable_descriptor_when_there_is_none_for_readers)
{
    ImageRequest what = request();
    what.spec.backends.add(Backend::memfd);
    const auto image = allocate(alice, what);
    ASSERT_TRUE(image);
    const Token enforced = *mint(alice, image->handle, Right::read, false, 0, true);
    EXPECT_EQ(code(open(bob, enforced, Right::read, UsageFlag::cpu_read)), Errc::out_of_memory);
    const auto bobs = come(bob, enforced, party({}, UsageFlag::cpu_read));
    EXPECT_EQ(bobs->code, Errc::out_of_memory);
    expect_nothing_is_held(bob);
}

TEST_F(Joins, a_copy_is_charged_to_the_one_who_needs_it)
{
    const Got image = make_tiled(alice);
    const Amount before = used(alice);
    const auto bobs = copy_for_bob(image);
    EXPECT_EQ(used(alice), before);
    EXPECT_EQ(used(bob).images, 1u);
    EXPECT_EQ(release(bob, bobs->got), Errc{});
    EXPECT_EQ(used(bob).images, 0u);
}

} // namespace
} // namespace dmb::test
