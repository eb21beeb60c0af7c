// SPDX-License-Identifier: MIT
// The exact edge of every limit, and that what is refused leaves no trace.
#include "tests/daemon/broker_fixture.hpp"

namespace dmb::test {
namespace {

constexpr std::uint64_t image_bytes = 64 * 256; // 64 rows of one stride

class Quotas : public BrokerTest {
protected:
    Quotas()
        : BrokerTest({.client = {.bytes = 4 * image_bytes, .images = 3, .fds = 100, .tokens = 2},
                      .uid = {.bytes = 100 * image_bytes, .images = 4, .fds = 100, .tokens = 100},
                      .handles_per_client = 5})
    {
    }
};

TEST_F(Quotas, the_last_image_fits_and_one_more_does_not)
{
    std::vector<Got> images;
    for (int i = 0; i < 3; ++i) images.push_back(std::move(*allocate(alice)));
    EXPECT_EQ(code(allocate(alice)), Errc::quota_exceeded);
    EXPECT_EQ(used(alice), (Amount{.bytes = 3 * image_bytes, .images = 3, .fds = 6}));
    EXPECT_EQ(release(alice, images[1]), Errc{});
    EXPECT_TRUE(allocate(alice));
}

TEST_F(Quotas, bytes_are_counted_to_the_last_one)
{
    EXPECT_TRUE(allocate(alice, request({64, 4 * 64})));
    EXPECT_EQ(code(allocate(alice, request({1, 1}))), Errc::quota_exceeded);
    EXPECT_EQ(code(allocate(bob, request({64, 4 * 64 + 1}))), Errc::quota_exceeded);
    EXPECT_EQ(used(bob), Amount{});
}

TEST_F(Quotas, a_user_does_not_escape_by_connecting_twice)
{
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(allocate(alice));
    EXPECT_TRUE(allocate(bob));
    EXPECT_EQ(code(allocate(bob)), Errc::quota_exceeded);
    const ClientId other{3};
    join(other, false, 2000);
    EXPECT_TRUE(allocate(other)) << "another user is not concerned";
}

TEST_F(Quotas, what_a_lease_keeps_stays_with_the_user)
{
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(allocate(alice, request({64, 64}, second)));
    broker->disconnect(alice, now);
    EXPECT_TRUE(allocate(bob));
    EXPECT_EQ(code(allocate(bob)), Errc::quota_exceeded);
    pass(second);
    EXPECT_TRUE(allocate(bob)) << "and is given back when the lease ends";
}

TEST_F(Quotas, tokens_are_counted_while_they_live)
{
    const auto made = allocate(alice);
    const auto first = mint(alice, made->handle, Right::read, true);
    EXPECT_TRUE(mint(alice, made->handle));
    EXPECT_EQ(code(mint(alice, made->handle)), Errc::quota_exceeded);
    EXPECT_TRUE(open(bob, *first));
    EXPECT_TRUE(mint(alice, made->handle));
}

TEST_F(Quotas, handles_are_limited_and_a_refused_open_takes_nothing)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle, Right::read, false);
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(open(bob, *token));
    const auto once = mint(alice, made->handle, Right::read, true);
    EXPECT_EQ(code(open(bob, *once)), Errc::quota_exceeded);
    EXPECT_TRUE(broker->release(bob, HandleId{1}, now));
    EXPECT_TRUE(open(bob, *once)) << "the token was not used up by the refusal";
}

TEST(AccountsTest, what_is_taken_counts_for_the_client_and_its_user_until_it_is_given_back)
{
    Accounts accounts({.client = {.bytes = 10, .images = 1, .fds = 1, .tokens = 1},
                       .uid = {.bytes = 15, .images = 9, .fds = 9, .tokens = 9}});
    const Payer one{{1}, 7}, other{{2}, 7};
    for (const Payer& payer : {one, other}) accounts.open(payer.client);
    EXPECT_TRUE(accounts.take(one, {.bytes = 10}));
    EXPECT_FALSE(accounts.take(one, {.bytes = 1})) << "the client's limit";
    EXPECT_FALSE(accounts.take(other, {.bytes = 6})) << "the user's limit";
    EXPECT_EQ(accounts.used(other.client), Amount{}) << "a refusal leaves no trace";
    EXPECT_FALSE(accounts.change(one, {.bytes = 10}, {.bytes = 11}));
    EXPECT_EQ(accounts.used(one.client).bytes, 10u);
    EXPECT_TRUE(accounts.change(one, {.bytes = 10}, {.bytes = 4}));
    EXPECT_TRUE(accounts.take(other, {.bytes = 10}));
    accounts.close(one.client);
    EXPECT_FALSE(accounts.take({{3}, 7}, {.bytes = 2})) << "the user goes on paying for whoever left";
    accounts.give_back(one, {.bytes = 4});
    EXPECT_TRUE(accounts.take({{3}, 7}, {.bytes = 5}));
}

TEST(AccountsTest, sums_that_would_wrap_are_refused)
{
    const Amount most{.bytes = UINT64_MAX, .images = UINT32_MAX};
    Accounts accounts({.client = most, .uid = most});
    const Payer payer{{1}, 7};
    accounts.open(payer.client);
    EXPECT_TRUE(accounts.take(payer, {.bytes = UINT64_MAX - 1}));
    EXPECT_FALSE(accounts.take(payer, {.bytes = 2}));
    EXPECT_TRUE(accounts.take(payer, {.bytes = 1}));
}

} // namespace
} // namespace dmb::test
