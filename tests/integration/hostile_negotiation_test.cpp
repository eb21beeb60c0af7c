// SPDX-License-Identifier: MIT
// The real broker against clients that lie about what they can import, join what is not theirs and ask why about
// others: a typed error each time, and the connection lives.
#include "tests/integration/hostile.hpp"

#include "proto/wire/digest.hpp"

namespace dmb {
namespace {

using test::eventually;
using test::Hostile;
using test::make_allocate;
using test::make_definition;
using test::RawClient;
using test::rounds;

class HostileNegotiation : public Hostile {
protected:
    Capability random_row()
    {
        constexpr FourCC formats[] = {fourcc("AB24"), fourcc("XR24"), fourcc("NV12"), FourCC{0}, FourCC{UINT32_MAX}};
        return {.kind = static_cast<MemoryKind>(1 + random() % 3),
                .format = formats[random() % 5],
                .modifier = {random() % 3 == 0 ? 0 : (std::uint64_t{random()} << 32 | random())},
                .plane_count = static_cast<std::uint8_t>(random()),
                .external_only = random() % 2 == 0,
                .usage = Usage::from_bits(random() & 63),
                .max_size = {static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random())}};
    }
    Capabilities random_table(std::size_t rows)
    {
        Capabilities out;
        out.api = static_cast<Api>(1 + random() % 9);
        out.device.driver = random() % 8 ? "driver" : "\x1b[2J";
        out.rules.stride_alignment = static_cast<std::uint32_t>(random());
        for (std::size_t i = 0; i < rows; ++i) out.rows.push_back(random_row());
        if (random() % 2) make_canonical(out);
        return out;
    }
    Digest random_digest()
    {
        Digest out;
        for (auto& byte : out) byte = static_cast<std::uint8_t>(random());
        return out;
    }

    std::mt19937 random{test::seed()};
};

TEST_F(HostileNegotiation, tables_of_any_kind_are_known_or_refused)
{
    RawClient attacker = client();
    int known = 0;
    for (int i = 0; i < rounds(500); ++i) {
        const Capabilities table = random_table(random() % 400);
        constexpr std::uint32_t sizes[] = {0, 1, 1024 * 1024, 1024 * 1024 + 1, 0x80000000u, UINT32_MAX};
        const bool is_good = i == 0; // else in a few rounds none might be
        const auto digest = is_good || random() % 2 ? wire::digest_of(table).value_or(Digest{}) : random_digest();
        wire::DefineCapabilities part = make_definition(table, digest);
        if (!is_good && random() % 2) part.size = sizes[random() % 6];
        if (!is_good && random() % 4 == 0) part.offset = sizes[random() % 6];
        const auto answer = attacker.ask(part);
        ASSERT_TRUE(answer) << "the connection is gone";
        if (const auto* reply = std::get_if<wire::CapabilitiesReply>(&answer->message)) {
            known += reply->known;
            continue;
        }
        const auto* error = std::get_if<wire::ErrorReply>(&answer->message);
        ASSERT_NE(error, nullptr);
        EXPECT_TRUE(error->code == Errc::invalid_argument || error->code == Errc::quota_exceeded) << name(error->code);
        EXPECT_FALSE(error->reason.empty());
    }
    EXPECT_GT(known, 0) << "some were good";
    EXPECT_LE(known, 64);
}

TEST_F(HostileNegotiation, tables_that_are_begun_and_never_finished_cost_their_quota)
{
    Capabilities table;
    for (std::uint64_t i = 0; i < 16384; ++i) table.rows.push_back({.format = fourcc("AB24"), .modifier = {i}});
    wire::DefineCapabilities part = make_definition(table, {});
    part.bytes.resize(1000);
    std::vector<RawClient> attackers;
    for (int i = 0; i < 50; ++i) {
        attackers.push_back(client());
        EXPECT_FALSE(attackers.back().get<wire::CapabilitiesReply>(part).known);
    }
    for (const ClientInfo& info : snapshot().clients)
        if (info.name.view() == "raw" && info.images == 0 && !info.manager) {
            EXPECT_EQ(info.bytes, part.size);
        }
}

TEST_F(HostileNegotiation, a_table_under_another_s_name_changes_nothing)
{
    Capabilities honest, other;
    honest.rows.push_back({.format = fourcc("AB24"), .modifier = modifier_linear, .plane_count = 1});
    other.rows.push_back({.format = fourcc("AB24"), .modifier = {7}, .plane_count = 1});
    const Digest digest = *wire::digest_of(honest);
    RawClient attacker = client(), victim = client();
    EXPECT_EQ(attacker.error(make_definition(other, digest)), Errc::invalid_argument);
    EXPECT_FALSE(victim.get<wire::CapabilitiesReply>(wire::FindCapabilities{digest}).known);
    EXPECT_TRUE(victim.get<wire::CapabilitiesReply>(make_definition(honest, digest)).known);
}

TEST_F(HostileNegotiation, joining_with_guessed_tokens_ends_like_opening_with_them)
{
    RawClient attacker = client();
    wire::Join guess{.token = {}, .rights = Right::read, .participant = {}};
    for (std::size_t i = 0; i < limits::wrong_tokens; ++i) {
        for (auto& byte : guess.token.bytes) byte = static_cast<std::uint8_t>(random());
        ASSERT_EQ(attacker.error(guess), Errc::not_found) << i;
    }
    attacker.say(guess);
    EXPECT_TRUE(attacker.ends());
}

TEST_F(HostileNegotiation, rights_and_participants_beyond_the_rules_are_refused)
{
    RawClient attacker = client();
    EXPECT_EQ(attacker.error(wire::Join{token, Right::write, {}}), Errc::denied);
    EXPECT_EQ(attacker.error(wire::Join{token, {}, {}}), Errc::invalid_argument);
    EXPECT_EQ(attacker.error(wire::Join{token, Right::read, {.name = "x", .capabilities = random_digest()}}),
              Errc::invalid_argument);
    EXPECT_EQ(attacker.error(wire::Join{token, Right::read, {.name = "\x1b[2J"}}), Errc::invalid_argument);
    wire::Allocate crowd = make_allocate({16, 16});
    crowd.participants.resize(17);
    EXPECT_EQ(attacker.error(crowd), Errc::invalid_argument);
    crowd.participants.resize(500);
    EXPECT_EQ(attacker.error(crowd), Errc::invalid_argument);
    crowd.participants.resize(1);
    crowd.participants[0].capabilities = random_digest();
    EXPECT_EQ(attacker.error(crowd), Errc::invalid_argument);
    EXPECT_EQ(attacker.error(wire::ManageProofs{}), Errc::denied);
}

TEST_F(HostileNegotiation, p06_what_others_have_is_told_from_nothing_by_no_answer)
{
    RawClient attacker = client();
    const auto nothing = attacker.ask(wire::Why{.request = {}, .image = {1'000'000}});
    ASSERT_TRUE(nothing);
    const auto& expected = std::get<wire::ErrorReply>(nothing->message);
    EXPECT_EQ(expected.code, Errc::not_found);
    for (std::uint64_t id = 0; id < 40; ++id)
        for (const wire::Why& what : {wire::Why{{id}, {}}, wire::Why{{}, {id}}, wire::Why{{id}, {id}}}) {
            const auto answer = attacker.ask(what);
            ASSERT_TRUE(answer);
            EXPECT_EQ(std::get<wire::ErrorReply>(answer->message), expected);
        }
    for (std::uint32_t handle = 0; handle < 40; ++handle) {
        EXPECT_EQ(attacker.error(wire::Move{{handle}}), Errc::not_found);
        EXPECT_EQ(attacker.error(wire::Refresh{{handle}}), Errc::not_found);
    }
}

TEST_F(HostileNegotiation, demands_that_contradict_themselves_are_refused_and_explained)
{
    RawClient attacker = client();
    for (int i = 0; i < rounds(300); ++i) {
        wire::Allocate request = make_allocate({16, 16});
        if (random() % 2) request.spec.backends = {};
        request.participants.resize(1 + random() % 16);
        for (Participant& p : request.participants) {
            p.usage = Usage::from_bits(random() & 63);
            p.minimum_rung = static_cast<Rung>(1 + random() % 5);
            p.rules.stride_alignment = random() % 2 ? 0 : static_cast<std::uint32_t>(random());
            p.rules.offset_alignment = random() % 2 ? 0 : 1u << random() % 32;
            p.max_size = {static_cast<std::uint32_t>(random() % 64), static_cast<std::uint32_t>(random() % 64)};
            if (random() % 2) p.formats.push_back(fourcc("XR24"));
            if (random() % 2) p.modifiers.push_back({random()});
            p.is_protected = random() % 8 == 0;
        }
        const auto answer = attacker.ask(request);
        ASSERT_TRUE(answer) << "the connection is gone";
        RequestId asked;
        if (const auto* error = std::get_if<wire::ErrorReply>(&answer->message)) asked = error->request;
        else if (const auto* made = std::get_if<wire::ImageReply>(&answer->message)) {
            asked = made->request;
            attacker.say(wire::Release{made->handle});
        }
        ASSERT_NE(asked, RequestId{});
        const auto why = attacker.ask(wire::Why{.request = asked, .image = {}});
        ASSERT_TRUE(why);
        if (const auto* reply = std::get_if<wire::WhyReply>(&why->message)) {
            EXPECT_FALSE(reply->decision.outcome.empty());
        }
    }
}

} // namespace
} // namespace dmb
