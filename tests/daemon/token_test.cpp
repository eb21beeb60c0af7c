// SPDX-License-Identifier: MIT
// Tokens: who may open, for how long, how often, and what revoking reaches.
#include "tests/daemon/broker_fixture.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <random>
#include <set>

namespace dmb::test {
namespace {

using Tokens = BrokerTest;

TEST_F(Tokens, a_token_opens_its_image_with_the_rights_asked_for)
{
    const auto made = allocate(alice);
    ASSERT_TRUE(made);
    const auto token = mint(alice, made->handle, Right::read | Right::write);
    ASSERT_TRUE(token);
    const auto opened = open(bob, *token, Right::read);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->image, made->image);
    EXPECT_EQ(opened->rights, Rights(Right::read));
}

TEST_F(Tokens, rights_only_shrink)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle, Right::read);
    EXPECT_EQ(code(open(bob, *token, Right::write)), Errc::denied);
    EXPECT_EQ(code(open(bob, *token, Right::read | Right::manage)), Errc::denied);
    EXPECT_EQ(code(open(bob, *token, Rights())), Errc::invalid_argument);
    const auto opened = open(bob, *token);
    EXPECT_EQ(code(mint(bob, opened->handle, Right::write)), Errc::denied);
    EXPECT_EQ(code(mint(bob, opened->handle, Rights())), Errc::invalid_argument);
    EXPECT_TRUE(mint(bob, opened->handle, Right::read));
    EXPECT_EQ(code(broker->set_lease(bob, opened->handle, second, now)), Errc::denied);
}

TEST_F(Tokens, no_two_are_alike)
{
    const auto made = allocate(alice);
    std::set<std::array<std::uint8_t, 16>> seen;
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(seen.insert(mint(alice, made->handle)->bytes).second);
}

TEST_F(Tokens, exactly_one_of_many_wins_a_one_shot_token)
{
    const auto made = allocate(alice);
    for (int round = 0; round < 100; ++round) {
        const auto token = mint(alice, made->handle, Right::read, true);
        int won = 0;
        for (int i = 0; i < 4; ++i) {
            const auto opened = open(i % 2 ? alice : bob, *token);
            won += opened.has_value();
            EXPECT_EQ(code(opened), opened ? Errc{} : Errc::token_used);
        }
        EXPECT_EQ(won, 1);
    }
}

TEST_F(Tokens, a_denied_open_does_not_use_up_a_one_shot_token)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle, Right::read, true);
    EXPECT_EQ(code(open(bob, *token, Right::write)), Errc::denied);
    EXPECT_TRUE(open(bob, *token));
}

TEST_F(Tokens, a_token_expires_to_the_nanosecond_even_before_the_timer_says_so)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle, Right::read, false, second);
    EXPECT_EQ(broker->deadline(), after(now, second));
    now = after(now, second - 1);
    EXPECT_TRUE(open(bob, *token));
    now = after(now, 1);
    EXPECT_EQ(code(open(bob, *token)), Errc::token_expired);
    EXPECT_EQ(broker->state().tokens().size(), 0u);
    EXPECT_EQ(broker->deadline(), never);
}

TEST_F(Tokens, a_lifetime_beyond_the_end_of_time_is_for_ever)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle, Right::read, false, UINT64_MAX);
    pass(1000 * second);
    EXPECT_TRUE(open(bob, *token));
}

TEST_F(Tokens, revoking_reaches_what_was_passed_on_and_nothing_else)
{
    const auto made = allocate(alice);
    const auto to_bob = mint(alice, made->handle);
    const auto to_others = mint(alice, made->handle);
    const auto at_bob = open(bob, *to_bob);
    const auto from_bob = mint(bob, at_bob->handle);
    const ClientId carol{3};
    join(carol);
    const auto at_carol = open(carol, *from_bob);
    const auto from_carol = mint(carol, at_carol->handle);
    ASSERT_TRUE(broker->revoke(alice, *to_bob));
    for (const auto& token : {to_bob, from_bob, from_carol}) EXPECT_EQ(code(open(alice, *token)), Errc::token_revoked);
    EXPECT_EQ(code(mint(bob, at_bob->handle)), Errc::token_revoked);
    EXPECT_EQ(code(mint(carol, at_carol->handle)), Errc::token_revoked);
    EXPECT_TRUE(open(carol, *to_others));
    EXPECT_TRUE(mint(alice, made->handle));
}

TEST_F(Tokens, revoking_a_used_token_still_reaches_its_descendants)
{
    const auto made = allocate(alice);
    const auto once = mint(alice, made->handle, Right::read, true);
    const auto at_bob = open(bob, *once);
    const auto again = mint(bob, at_bob->handle, Right::read, true);
    const ClientId carol{3};
    join(carol);
    const auto at_carol = open(carol, *again);
    const auto last = mint(carol, at_carol->handle);
    ASSERT_TRUE(broker->revoke(alice, *once));
    EXPECT_EQ(code(open(bob, *last)), Errc::token_revoked);
    EXPECT_EQ(code(mint(carol, at_carol->handle)), Errc::token_revoked);
}

TEST_F(Tokens, rights_cannot_be_passed_on_for_ever)
{
    const auto made = allocate(alice);
    Result<Token> token = mint(alice, made->handle);
    for (std::uint32_t i = 0; i <= most_depth; ++i) {
        ASSERT_TRUE(token) << i;
        const auto opened = open(bob, *token);
        token = mint(bob, opened->handle);
    }
    EXPECT_EQ(code(token), Errc::denied);
}

TEST_F(Tokens, revoking_needs_manage_and_tells_nobody_else_whether_it_exists)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle);
    ASSERT_TRUE(open(bob, *token));
    const auto existing = broker->revoke(bob, *token);
    const auto invented = broker->revoke(bob, Token{{1, 2, 3}});
    ASSERT_FALSE(existing);
    ASSERT_FALSE(invented);
    EXPECT_EQ(existing.error().code, invented.error().code);
    EXPECT_EQ(existing.error().reason, invented.error().reason);
    const auto image = broker->revoke(bob, made->image, now);
    EXPECT_EQ(code(image), Errc::not_found);
    EXPECT_EQ(code(broker->revoke(bob, ImageId{999}, now)), Errc::not_found);
    EXPECT_TRUE(open(bob, *token));
}

TEST_F(Tokens, a_client_that_guesses_is_cut_and_others_are_not)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle);
    Token guess{{42}};
    for (std::size_t i = 0; i < limits::wrong_tokens; ++i) {
        guess.bytes[15] = static_cast<std::uint8_t>(i);
        EXPECT_EQ(code(open(bob, guess)), Errc::not_found);
    }
    EXPECT_EQ(code(open(bob, guess)), Errc::too_many_requests);
    EXPECT_TRUE(open(alice, *token));
}

TEST_F(Tokens, tokens_that_once_were_do_not_count_as_guesses)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle, Right::read, true);
    ASSERT_TRUE(open(bob, *token));
    for (std::size_t i = 0; i < 2 * limits::wrong_tokens; ++i) EXPECT_EQ(code(open(bob, *token)), Errc::token_used);
}

TEST_F(Tokens, tokens_end_with_their_image)
{
    auto made = allocate(alice);
    const auto token = mint(alice, made->handle);
    EXPECT_EQ(release(alice, *made), Errc{});
    const auto opened = open(bob, *token);
    EXPECT_EQ(code(opened), Errc::not_found);
    EXPECT_NE(opened.error().reason.view().find("gone"), std::string_view::npos);
    EXPECT_EQ(broker->state().tokens().size(), 0u);
}

TEST_F(Tokens, enforced_tokens_give_readers_a_read_only_descriptor_or_nothing)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle, Right::read | Right::write, false, 0, true);
    EXPECT_EQ(code(open(bob, *token, Right::read, UsageFlag::sample)), Errc::denied);
    const auto reader = open(bob, *token, Right::read, UsageFlag::cpu_read);
    ASSERT_TRUE(reader);
    EXPECT_EQ(reader->protection, Protection::read_only_descriptor);
    EXPECT_EQ(::fcntl(reader->fd.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
    EXPECT_EQ(::mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, reader->fd.get(), 0), MAP_FAILED);
    const auto writer = open(bob, *token, Right::write, UsageFlag::cpu_write);
    ASSERT_TRUE(writer);
    EXPECT_EQ(writer->protection, Protection::none);
}

TEST_F(Tokens, readers_on_the_cpu_share_one_read_only_descriptor)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle);
    const std::uint32_t before = used(alice).fds;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(open(bob, *token, Right::read, {})->protection, Protection::read_only_descriptor);
    EXPECT_EQ(used(alice).fds, before + 1);
}

Token add_one(TokenTable& table)
{
    const Token token = *make_token({});
    table.add({.token = token, .lineage = {1}, .object = object_of(ImageId{1}), .rights = Right::read});
    return token;
}

int count_of(const char* variable, int usual)
{
    const char* wanted = std::getenv(variable);
    return wanted ? std::atoi(wanted) : usual;
}

/// 0 is what random bytes have; beyond 5 once in two million runs. Chi squared with 255 degrees of freedom.
double deviation(const std::array<std::uint64_t, 256>& counts)
{
    double sum = 0;
    for (const std::uint64_t count : counts) sum += static_cast<double>(count);
    const double expected = sum / 256;
    double chi = 0;
    for (const std::uint64_t count : counts)
        chi += (static_cast<double>(count) - expected) * (static_cast<double>(count) - expected) / expected;
    return (chi - 255) / std::sqrt(2 * 255.0);
}

TEST(TokenTable, p01_tokens_are_random_in_every_byte_and_never_alike)
{
    TokenTable table;
    std::vector<std::array<std::uint8_t, 16>> seen;
    std::array<std::array<std::uint64_t, 256>, 16> counts{};
    const int count = count_of("DMABROKER_TOKENS", 100'000);
    for (int i = 0; i < count; ++i) {
        const Token token = add_one(table);
        table.end(token, TokenEnd::used);
        seen.push_back(token.bytes);
        for (std::size_t byte = 0; byte < 16; ++byte) ++counts[byte][token.bytes[byte]];
    }
    std::ranges::sort(seen);
    EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
    for (const auto& byte : counts) EXPECT_LT(std::abs(deviation(byte)), 6);
}

/// Welch's t of two sets of measurements, as dudect (Reparaz, Balasch, Verbauwhede 2017) takes it.
double welch(const std::vector<double>& a, const std::vector<double>& b)
{
    const auto moments = [](const std::vector<double>& values) {
        const double n = static_cast<double>(values.size());
        const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
        double sum = 0;
        for (const double value : values) sum += (value - mean) * (value - mean);
        return std::pair{mean, sum / (n - 1) / n};
    };
    const auto [mean_a, error_a] = moments(a);
    const auto [mean_b, error_b] = moments(b);
    return (mean_a - mean_b) / std::sqrt(error_a + error_b);
}

TEST(TokenTable, p02_the_time_of_a_wrong_guess_does_not_tell_how_much_was_right)
{
    TokenTable table;
    std::vector<Token> tokens;
    for (int i = 0; i < 64; ++i) tokens.push_back(add_one(table));
    std::mt19937_64 random(std::random_device{}());
    const int samples = count_of("DMABROKER_SAMPLES", 200'000);
    struct Guess {
        Token token;
        bool knows_some;
    };
    const auto make_guess = [&] {
        Guess out{{}, random() % 2 == 0};
        for (std::uint8_t& byte : out.token.bytes) byte = static_cast<std::uint8_t>(random());
        const Token& real = tokens[random() % tokens.size()];
        if (out.knows_some) std::copy_n(real.bytes.begin(), random() % 16, out.token.bytes.begin());
        out.token.bytes[15] = static_cast<std::uint8_t>(real.bytes[15] + 1 + random() % 255); // all but the last, at most
        return out;
    };
    const auto measure = [&] {
        std::vector<Guess> guesses; // made before: making them must not show in the times
        std::generate_n(std::back_inserter(guesses), samples, make_guess);
        std::vector<double> all;
        for (const Guess& guess : guesses) {
            const auto start = std::chrono::steady_clock::now();
            const bool existed = table.find(guess.token) || table.find_ended(guess.token);
            const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
            EXPECT_FALSE(existed);
            all.push_back(took.count());
        }
        // Interrupts and other programs make the slowest ones; they say nothing about us.
        std::vector<double> sorted = all;
        std::ranges::sort(sorted);
        const double slowest = sorted[sorted.size() / 20 * 19];
        std::vector<double> times[2];
        for (std::size_t i = 0; i < all.size(); ++i)
            if (all[i] <= slowest) times[guesses[i].knows_some].push_back(all[i]);
        return std::abs(welch(times[0], times[1]));
    };
    double t = measure();
    if (t >= 4.5) t = measure(); // a busy machine may deceive once
    EXPECT_LT(t, 4.5);
}

TEST(TokenTable, the_memory_for_ended_tokens_is_bounded)
{
    TokenTable table;
    std::vector<Token> tokens;
    for (int i = 0; i < 3000; ++i) {
        tokens.push_back(add_one(table));
        table.end(tokens.back(), TokenEnd::revoked);
    }
    EXPECT_EQ(table.find_ended(tokens.front()), nullptr);
    ASSERT_NE(table.find_ended(tokens.back()), nullptr);
    EXPECT_EQ(table.find_ended(tokens.back())->why, TokenEnd::revoked);
    EXPECT_EQ(table.size(), 0u);
}

} // namespace
} // namespace dmb::test
