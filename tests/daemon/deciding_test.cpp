// SPDX-License-Identifier: MIT
// What clients state of themselves, and who may ask why afterwards.
#include "proto/wire/codec.hpp"
#include "tests/daemon/joining_fixture.hpp"

namespace dmb::test {
namespace {

// --- why -------------------------------------------------------------------------------------------

class Decided : public JoiningTest {
protected:
    Errc sees(ClientId id, wire::Why what) { return code(broker->deciding().why(id, what.request, what.image, now)); }
    RequestId decision_of(const Got& image) { return broker->deciding().why(manager, {}, image.image, now)->id; }
    /// That nobody can have. Its request is told with the error.
    RequestId fail_once(ClientId id, std::vector<Participant> parties = {})
    {
        ImageRequest what = request();
        what.participants = std::move(parties);
        what.spec.backends.add(Backend::vulkan);
        RequestId out;
        broker->allocate(next(id), what, {}, now, [&](const OperationAnswer& answer) {
            EXPECT_EQ(code(answer.held), Errc::no_backend);
            out = answer.request;
        });
        return out;
    }
};

TEST_F(Decided, who_asked_who_holds_and_the_manager_may_know_and_nobody_else)
{
    const Got image = make_tiled(alice);
    const wire::Why by_image{.request = {}, .image = image.image}, by_request{.request = decision_of(image), .image = {}};
    for (const wire::Why& what : {by_image, by_request}) {
        EXPECT_EQ(sees(alice, what), Errc{});
        EXPECT_EQ(sees(manager, what), Errc{});
        EXPECT_EQ(sees(bob, what), Errc::not_found);
    }
    const auto held = open(bob, token_of(alice, image));
    EXPECT_EQ(sees(bob, by_image), Errc{});
    EXPECT_EQ(sees(bob, by_request), Errc{});
    ASSERT_TRUE(broker->release(bob, held->handle, now));
    EXPECT_EQ(sees(bob, by_image), Errc::not_found);
}

TEST_F(Decided, what_does_not_exist_and_what_is_not_for_one_s_eyes_are_one_answer)
{
    const Got image = make_tiled(alice);
    const auto foreign = broker->deciding().why(bob, {}, image.image, now);
    const auto nothing = broker->deciding().why(bob, {}, {999}, now);
    ASSERT_FALSE(foreign || nothing);
    EXPECT_EQ(foreign.error().reason, nothing.error().reason);
    EXPECT_EQ(sees(alice, {.request = {999}, .image = {}}), Errc::not_found);
}

TEST_F(Decided, without_a_number_it_is_the_last_one_that_the_asker_may_see)
{
    EXPECT_EQ(sees(bob, {}), Errc::not_found);
    const RequestId mine = fail_once(bob);
    const RequestId others = fail_once(alice);
    EXPECT_EQ(broker->deciding().why(bob, {}, {}, now)->id, mine);
    EXPECT_EQ(broker->deciding().why(manager, {}, {}, now)->id, others);
}

TEST_F(Decided, a_failure_is_for_the_asker_and_the_manager)
{
    const RequestId failed = fail_once(alice);
    EXPECT_EQ(sees(alice, {.request = failed, .image = {}}), Errc{});
    EXPECT_EQ(sees(manager, {.request = failed, .image = {}}), Errc{});
    EXPECT_EQ(sees(bob, {.request = failed, .image = {}}), Errc::not_found);
}

TEST_F(Decided, an_image_keeps_its_decision_for_as_long_as_it_lives)
{
    Got image = make_tiled(alice);
    const RequestId request = decision_of(image), failed = fail_once(alice);
    for (int i = 0; i < 256; ++i) fail_once(bob);
    EXPECT_EQ(sees(alice, {.request = failed, .image = {}}), Errc::not_found) << "only the last ones";
    EXPECT_EQ(sees(alice, {.request = {}, .image = image.image}), Errc{});
    EXPECT_EQ(sees(alice, {.request = request, .image = {}}), Errc{});
    EXPECT_EQ(sees(bob, {.request = request, .image = {}}), Errc::not_found);
    EXPECT_EQ(release(alice, image), Errc{});
    EXPECT_EQ(sees(alice, {.request = request, .image = {}}), Errc::not_found);
}

TEST_F(Decided, a_failure_names_who_removed_the_last_layout_and_the_nearest_change)
{
    const Digest producer = state(alice, make_table({tiled}));
    const Digest display = state(bob, make_table({swizzled}, Api::kms));
    ImageRequest what = request();
    what.spec.usage = UsageFlag::render;
    what.participants = {party(producer, UsageFlag::render, "producer"), party(display, UsageFlag::scanout, "display")};
    what.participants[1].minimum_rung = Rung::tiled;
    RequestId failed;
    broker->allocate(next(alice), what, {}, now, [&](const OperationAnswer& answer) {
        EXPECT_EQ(code(answer.held), Errc::no_backend);
        failed = answer.request;
    });
    const auto decision = broker->deciding().why(alice, failed, {}, now);
    ASSERT_TRUE(decision);
    EXPECT_EQ(decision->image, ImageId{});
    EXPECT_EQ(decision->participants.size(), 2u);
    EXPECT_FALSE(decision->culprits.empty());
    EXPECT_FALSE(decision->nearest.empty());
    EXPECT_FALSE(decision->removals.empty());
    EXPECT_FALSE(decision->candidates.empty());
}

TEST_F(Decided, at_most_sixteen_take_part)
{
    ImageRequest what = request();
    what.participants.resize(limits::participants);
    EXPECT_TRUE(allocate(alice, what));
    what.participants.resize(limits::participants + 1);
    EXPECT_EQ(code(allocate(alice, what)), Errc::invalid_argument);
}

TEST_F(Decided, names_of_participants_are_printable)
{
    ImageRequest what = request();
    what.participants.push_back(party({}, UsageFlag::sample, "\x1b[2J"));
    EXPECT_EQ(code(allocate(alice, what)), Errc::invalid_argument);
}

// --- tables ----------------------------------------------------------------------------------------

class Stated : public JoiningTest {
protected:
    using JoiningTest::JoiningTest;

    static Capabilities large(std::size_t rows, std::uint64_t first = 0)
    {
        Capabilities out = make_table({});
        for (std::size_t i = 0; i < rows; ++i) out.rows.push_back({.format = fourcc("AB24"), .modifier = {first + i}});
        return out;
    }
    /// `size` bytes of the table from `first` on.
    static wire::DefineCapabilities part(const Capabilities& whole, std::size_t first, std::size_t size)
    {
        const std::vector<std::byte> bytes = wire::encode_capabilities(whole).value();
        const auto part = std::span(bytes).subspan(first, std::min(size, bytes.size() - first));
        return {.digest = wire::digest_of(bytes),
                .size = static_cast<std::uint32_t>(bytes.size()),
                .offset = static_cast<std::uint32_t>(first),
                .bytes = {part.begin(), part.end()}};
    }
    static constexpr std::size_t all = SIZE_MAX;
    Result<std::optional<std::vector<std::byte>>> give(const wire::DefineCapabilities& p)
    {
        return broker->deciding().define_table(alice, {p.digest, p.size, p.offset, p.bytes});
    }
    Errc define(const wire::DefineCapabilities& what) { return code(give(what)); }
    bool knows(ClientId id, const Digest& digest) { return *broker->deciding().find_table(id, digest); }
    std::uint64_t bytes(ClientId id) { return used(id).bytes; }
};

TEST_F(Stated, a_table_comes_in_parts)
{
    const Capabilities table = large(5000);
    EXPECT_FALSE(*give(part(table, 0, 60'000)));
    EXPECT_FALSE(*give(part(table, 60'000, 60'000)));
    const auto whole = give(part(table, 120'000, all));
    ASSERT_TRUE(whole && *whole);
    EXPECT_EQ(wire::decode_capabilities(**whole).value(), table);
    EXPECT_EQ(define(part(table, 120'000, all)), Errc::invalid_argument) << "the next one starts anew";
}

TEST_F(Stated, a_part_that_does_not_follow_is_refused_and_the_table_must_be_sent_again)
{
    const Capabilities table = large(100);
    const auto begin = [&] { EXPECT_EQ(define(part(table, 0, 1000)), Errc{}); };
    begin();
    EXPECT_EQ(define(part(table, 1001, all)), Errc::invalid_argument) << "a hole";
    EXPECT_EQ(define(part(table, 1000, all)), Errc::invalid_argument) << "the first part is forgotten";
    begin();
    EXPECT_EQ(define(part(table, 1000, 0)), Errc::invalid_argument) << "a part with nothing in it";
    begin();
    wire::DefineCapabilities longer = part(table, 1000, all);
    longer.bytes.push_back({});
    EXPECT_EQ(define(longer), Errc::invalid_argument) << "more than was announced";
    begin();
    wire::DefineCapabilities other = part(table, 1000, all);
    other.digest[0] ^= 1;
    EXPECT_EQ(define(other), Errc::invalid_argument) << "of another table";
    begin();
    EXPECT_EQ(define(part(table, 1000, all)), Errc{});
}

TEST_F(Stated, another_table_may_begin_before_the_first_is_whole)
{
    const Capabilities first = large(100), other = make_table({tiled}, Api::gbm);
    EXPECT_EQ(define(part(first, 0, 60)), Errc{});
    const auto whole = give(part(other, 0, all));
    ASSERT_TRUE(whole && *whole);
    EXPECT_EQ(wire::decode_capabilities(**whole).value(), other);
}

TEST_F(Stated, rows_out_of_order_or_twice_are_refused)
{
    Capabilities table = large(3);
    std::swap(table.rows[0], table.rows[1]);
    EXPECT_EQ(code(broker->deciding().keep_table(alice, {1}, table)), Errc::invalid_argument);
    table = large(3);
    table.rows[1] = table.rows[0];
    EXPECT_EQ(code(broker->deciding().keep_table(alice, {1}, table)), Errc::invalid_argument);
}

TEST_F(Stated, the_bytes_of_a_table_are_limited)
{
    wire::DefineCapabilities huge = part(make_table({tiled}), 0, all);
    for (const std::uint32_t size : {0u, 1024u * 1024 + 1, 0x8000'0000u, UINT32_MAX}) {
        huge.size = size;
        EXPECT_EQ(define(huge), Errc::invalid_argument) << size;
    }
    const Capabilities most = large(16384);
    const std::size_t size = wire::encode_capabilities(most).value().size();
    for (std::size_t at = 0; at < size; at += limits::table_part)
        ASSERT_EQ(define(part(most, at, limits::table_part)), Errc{}) << at;
}

TEST_F(Stated, a_device_with_a_name_that_would_harm_a_terminal_is_refused)
{
    Capabilities table = large(1);
    table.device.driver = "\x1b[2J";
    EXPECT_EQ(code(broker->deciding().keep_table(alice, {1}, table)), Errc::invalid_argument);
}

TEST_F(Stated, sixty_four_tables_are_the_most_of_a_client)
{
    for (std::size_t i = 0; i < 64; ++i) state(alice, large(1, i));
    const Capabilities last = large(1, 64);
    EXPECT_EQ(code(broker->deciding().keep_table(alice, *wire::digest_of(last), last)), Errc::quota_exceeded);
    state(alice, large(1, 63));
    const Digest bobs = state(bob, last);
    EXPECT_EQ(code(broker->deciding().find_table(alice, bobs)), Errc::quota_exceeded);
}

TEST_F(Stated, each_client_pays_for_the_tables_it_states)
{
    const Capabilities table = large(1000);
    const Digest digest = state(alice, table);
    const std::uint64_t cost = bytes(alice);
    EXPECT_GE(cost, 1000 * sizeof(Capability));
    state(alice, table);
    EXPECT_EQ(bytes(alice), cost) << "once";
    EXPECT_TRUE(knows(bob, digest));
    EXPECT_GE(bytes(bob), 1000 * sizeof(Capability)) << "also for what others stated";
    EXPECT_FALSE(knows(bob, {1}));
}

TEST_F(Stated, a_table_lives_as_long_as_somebody_who_stated_it)
{
    const Digest digest = state(alice, large(10));
    EXPECT_TRUE(knows(bob, digest));
    broker->disconnect(alice, now);
    EXPECT_TRUE(knows(carol, digest));
    broker->disconnect(bob, now);
    broker->disconnect(carol, now);
    const ClientId late{5};
    join(late);
    EXPECT_FALSE(knows(late, digest));
    ImageRequest what = request();
    what.participants.push_back(party(digest, UsageFlag::sample, "viewer"));
    const auto refused = allocate(late, what);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::invalid_argument);
    EXPECT_NE(refused.error().reason.view().find("viewer"), std::string_view::npos);
}

TEST_F(Stated, an_image_keeps_the_tables_it_was_negotiated_with)
{
    const Digest viewer = state(bob, large(10));
    ImageRequest what = request();
    what.participants.push_back(party(viewer, UsageFlag::sample));
    what.lease_ns = 10 * second;
    const auto image = allocate(alice, what);
    ASSERT_TRUE(image);
    broker->disconnect(bob, now);
    EXPECT_EQ(broker->deciding().why(alice, {}, image->image, now)->participants.at(0).pair_count, 10u);
}

class FewBytes : public Stated {
protected:
    FewBytes()
        : Stated({.client = {.bytes = 1 << 20, .images = 8, .fds = 8, .tokens = 8},
                  .uid = {.bytes = 2 << 20, .images = 16, .fds = 16, .tokens = 16}})
    {
    }
};

TEST_F(FewBytes, tables_count_against_the_quota)
{
    const std::size_t rows = 16384;
    state(alice, large(rows));
    EXPECT_EQ(code(broker->deciding().keep_table(alice, {1}, large(rows, 1))), Errc::quota_exceeded);
    broker->disconnect(alice, now);
    const ClientId again{5};
    join(again);
    EXPECT_EQ(used(again), Amount{});
    state(again, large(rows, 2));
}

TEST_F(FewBytes, a_table_that_is_not_whole_counts_too)
{
    const Capabilities table = large(16384);
    const wire::DefineCapabilities begin = part(table, 0, 2048);
    EXPECT_EQ(define(begin), Errc{});
    EXPECT_EQ(bytes(alice), begin.size) << "what was announced";
    EXPECT_EQ(define(part(table, 0, 1)), Errc{});
    EXPECT_EQ(bytes(alice), begin.size);
    EXPECT_EQ(define(part(table, 7, 1)), Errc::invalid_argument);
    EXPECT_EQ(bytes(alice), 0u);
}

TEST_F(FewBytes, tables_that_decisions_remember_are_still_paid_for)
{
    // Whoever states a table, has something refused with it and leaves, again and again, must meet the user's quota.
    bool met = false;
    for (std::uint64_t i = 0; i < 16 && !met; ++i) {
        const ClientId visitor{100 + i};
        join(visitor);
        const Capabilities table = large(16384, i);
        const Digest digest = *wire::digest_of(table);
        if (!broker->deciding().keep_table(visitor, digest, table)) met = true;
        ImageRequest what = request();
        what.spec.backends.add(Backend::vulkan);
        what.participants.push_back(party(digest));
        if (!met) {
            EXPECT_FALSE(allocate(visitor, what));
        }
        broker->disconnect(visitor, now);
    }
    EXPECT_TRUE(met);
    // Other decisions push them out.
    ImageRequest what = request();
    what.spec.backends.add(Backend::vulkan);
    for (int i = 0; i < 257; ++i) (void)allocate(alice, what);
    state(bob, large(16384, 99));
}

} // namespace
} // namespace dmb::test
