// SPDX-License-Identifier: MIT
// How long an image lives, who may speak of it, and that everything is given back.
#include "tests/daemon/broker_fixture.hpp"

namespace dmb::test {
namespace {

using ImageLife = BrokerTest;

TEST_F(ImageLife, an_image_without_lease_ends_with_its_last_holder)
{
    auto made = allocate(alice);
    const auto token = mint(alice, made->handle);
    auto opened = open(bob, *token);
    EXPECT_EQ(release(alice, *made), Errc{});
    EXPECT_EQ(broker->state().images().size(), 1u);
    EXPECT_EQ(release(bob, *opened), Errc{});
    EXPECT_EQ(broker->state().images().size(), 0u);
    EXPECT_EQ(used(alice), Amount{});
}

TEST_F(ImageLife, a_lease_keeps_it_until_the_deadline_and_not_longer)
{
    const auto made = allocate(alice, request({64, 64}, 10 * second));
    const auto token = mint(alice, made->handle);
    broker->disconnect(alice, now);
    pass(10 * second - 1);
    EXPECT_TRUE(open(bob, *token));
    broker->disconnect(bob, now);
    EXPECT_EQ(broker->state().images().size(), 1u);
    EXPECT_EQ(broker->deadline(), after(now, 1));
    pass(1);
    EXPECT_EQ(broker->state().images().size(), 0u);
}

TEST_F(ImageLife, a_holder_outlives_the_lease)
{
    auto made = allocate(alice, request({64, 64}, second));
    pass(5 * second);
    EXPECT_EQ(broker->state().images().size(), 1u);
    EXPECT_EQ(release(alice, *made), Errc{});
    EXPECT_EQ(broker->state().images().size(), 0u);
}

TEST_F(ImageLife, a_lease_for_ever_lasts_until_it_is_revoked)
{
    const ClientId manager{9};
    join(manager, true);
    auto made = allocate(alice, request({64, 64}, UINT64_MAX));
    EXPECT_EQ(release(alice, *made), Errc{});
    pass(1'000'000 * second);
    EXPECT_EQ(broker->deadline(), never) << "nothing to wake up for";
    ASSERT_EQ(broker->state().images().size(), 1u);
    EXPECT_EQ(broker->inspect(manager, {}, now)->images[0].lease_left_ns, UINT64_MAX);
    EXPECT_TRUE(broker->revoke(manager, made->image, now));
    EXPECT_EQ(broker->state().images().size(), 0u);
}

TEST_F(ImageLife, changing_a_lease_counts_from_then)
{
    auto made = allocate(alice, request({64, 64}, second));
    now = after(now, second / 2);
    ASSERT_TRUE(broker->set_lease(alice, made->handle, 3 * second, now));
    EXPECT_EQ(release(alice, *made), Errc{});
    pass(3 * second - 1);
    EXPECT_EQ(broker->state().images().size(), 1u);
    pass(1);
    EXPECT_EQ(broker->state().images().size(), 0u);
}

TEST_F(ImageLife, setting_leases_again_and_again_keeps_one_deadline)
{
    const auto made = allocate(alice);
    for (std::uint64_t i = 1; i < 1000; ++i) ASSERT_TRUE(broker->set_lease(alice, made->handle, i * second, now));
    EXPECT_EQ(broker->deadline(), after(now, 999 * second));
    ASSERT_TRUE(broker->set_lease(alice, made->handle, 0, now));
    EXPECT_EQ(broker->deadline(), never);
}

TEST_F(ImageLife, revoking_tells_every_hold_and_lets_nobody_new_in)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle);
    const auto opened = open(bob, *token);
    ASSERT_TRUE(broker->revoke(alice, made->image, now));
    EXPECT_EQ(events.revoked.size(), 2u);
    EXPECT_EQ(code(open(bob, *token)), Errc::token_revoked);
    EXPECT_EQ(code(mint(alice, made->handle)), Errc::token_revoked);
    EXPECT_EQ(code(broker->set_lease(alice, made->handle, second, now)), Errc::token_revoked);
    EXPECT_EQ(::fcntl(opened->fd.get(), F_GETFD), FD_CLOEXEC) << "what is held stays";
}

TEST_F(ImageLife, handles_of_others_mean_nothing)
{
    const auto made = allocate(alice);
    EXPECT_EQ(code(mint(bob, made->handle)), Errc::not_found);
    EXPECT_EQ(code(broker->set_lease(bob, made->handle, second, now)), Errc::not_found);
    EXPECT_EQ(code(broker->release(bob, made->handle, now)), Errc::protocol_violation);
    EXPECT_EQ(code(broker->inspect(bob, made->image, now)), Errc::not_found);
    EXPECT_EQ(broker->inspect(bob, made->image, now).error().reason.view().substr(0, 8), "no image");
    EXPECT_EQ(broker->state().images().size(), 1u);
}

TEST_F(ImageLife, handles_are_never_reused_in_a_session)
{
    auto first = allocate(alice);
    EXPECT_EQ(release(alice, *first), Errc{});
    EXPECT_NE(allocate(alice)->handle, first->handle);
    EXPECT_EQ(code(broker->release(alice, first->handle, now)), Errc::protocol_violation);
}

TEST_F(ImageLife, others_see_their_own_only_and_managers_all)
{
    const ClientId manager{9};
    join(manager, true);
    const auto made = allocate(alice);
    EXPECT_EQ(broker->inspect(bob, {}, now)->images.size(), 0u);
    EXPECT_EQ(broker->inspect(bob, {}, now)->clients.size(), 1u);
    EXPECT_EQ(broker->inspect(alice, {}, now)->images.size(), 1u);
    const Snapshot all = *broker->inspect(manager, {}, now);
    EXPECT_EQ(all.clients.size(), 3u);
    ASSERT_EQ(all.images.size(), 1u);
    EXPECT_EQ(all.images[0].owner, alice);
    EXPECT_EQ(all.images[0].holders.size(), 1u);
}

TEST_F(ImageLife, unprintable_labels_and_names_are_refused)
{
    for (const char* text : {"a\nb", "\x1b[31m", "\xff", "\xe2\x80\xae"}) {
        ImageRequest what = request();
        what.label = text;
        EXPECT_EQ(code(allocate(alice, what)), Errc::invalid_argument) << text;
        EXPECT_EQ(code(broker->connect(ClientId{77}, {}, false, text)), Errc::invalid_argument);
    }
    EXPECT_EQ(used(alice), Amount{});
}

TEST_F(ImageLife, a_buffer_may_be_longer_than_any_picture_is_wide)
{
    ImageRequest what = request({max_dimension + 1, 1});
    what.spec.format = buffer_format;
    EXPECT_TRUE(allocate(alice, what));
    EXPECT_EQ(used(alice).bytes, 20480u);
}

TEST_F(ImageLife, who_demands_a_stride_gets_a_buffer_which_has_one_row)
{
    ImageRequest what = request({1001, 1});
    what.spec.format = buffer_format;
    what.participants.push_back({.usage = UsageFlag::cpu_read, .rules = {.stride_alignment = 4096}});
    const auto got = allocate(alice, what);
    ASSERT_TRUE(got) << got.error().reason.view();
    EXPECT_EQ(used(alice).bytes, 4096u);
}

TEST_F(ImageLife, impossible_requests_get_the_error_that_names_them)
{
    ImageRequest what = request({0, 64});
    EXPECT_EQ(code(allocate(alice, what)), Errc::bad_size);
    what = request({max_dimension + 1, 1});
    EXPECT_EQ(code(allocate(alice, what)), Errc::bad_size);
    what.spec.format = buffer_format;
    what.alternatives.push_back(fourcc("XR24"));
    EXPECT_EQ(code(allocate(alice, what)), Errc::invalid_argument);
    what = request();
    what.alternatives.push_back(buffer_format);
    EXPECT_EQ(code(allocate(alice, what)), Errc::invalid_argument);
    what = request();
    what.spec.format = fourcc("NOPE");
    EXPECT_EQ(code(allocate(alice, what)), Errc::unknown_format);
    what = request();
    what.spec.usage = UsageFlag::scanout;
    EXPECT_EQ(code(allocate(alice, what)), Errc::no_backend);
    EXPECT_EQ(used(alice), Amount{});
}

TEST_F(ImageLife, contents_must_be_a_sealed_memfd_that_is_large_enough)
{
    EXPECT_EQ(code(allocate(alice, request(), *create_memfd("small", 4096, F_SEAL_SHRINK))), Errc::bad_layout);
    EXPECT_EQ(code(allocate(alice, request(), UniqueFd::adopt(::open("/dev/zero", O_RDWR | O_CLOEXEC)))), Errc::bad_descriptor);
    EXPECT_TRUE(allocate(alice, request(), *create_memfd("right", 64 * 64 * 4, F_SEAL_SHRINK)));
    EXPECT_TRUE(allocate(alice, request(), *create_memfd("constant", 64 * 64 * 4, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)));
}

} // namespace
} // namespace dmb::test
