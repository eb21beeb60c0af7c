// SPDX-License-Identifier: MIT
// What the library says and understands when participants negotiate, against a fake broker: tables in parts,
// participants, joins, replaced images, copies, and the reasons.
#include "proto/wire/codec.hpp"
#include "proto/wire/digest.hpp"
#include "tests/libclient/code_of.hpp"
#include "tests/libclient/fake_broker.hpp"
#include "tests/support/fixture.hpp"

#include <cstddef>
#include <dmabroker/capabilities.hpp>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Image;
using dmabroker::Participant;
using dmabroker::Rights;
using dmabroker::Usage;

constexpr const char* some_token = "00112233445566778899aabbccddeeff";
const FourCC ab24 = fourcc("AB24"), xr24 = fourcc("XR24"), nv12 = fourcc("NV12");

class NegotiationTest : public FdTest {
protected:
    static dmabroker::Capabilities table(std::size_t rows)
    {
        std::vector<dmabroker_capability> list;
        for (std::size_t i = 0; i < rows; ++i)
            list.push_back({rows - i, xr24.value, DMABROKER_DMA_BUF, DMABROKER_USAGE_SAMPLE, 1, 0, 64, 64, 0});
        dmabroker_capability_table out = DMABROKER_CAPABILITY_TABLE_INIT;
        out.api = DMABROKER_API_EGL;
        out.driver = "radeonsi";
        out.stride_alignment = 256;
        out.rows = list.data();
        out.row_count = list.size();
        return dmabroker::Capabilities(out);
    }
    /// Answers whatever comes with this image.
    static void give(Peer& peer, const wire::ImageReply& reply)
    {
        const UniqueFd memory = sealed_memfd(reply.desc.memories[0].size);
        const int fd = memory.get();
        peer.reply(reply, {&fd, 1});
    }
};

// ---- tables ------------------------------------------------------------------------------------------

TEST_F(NegotiationTest, a_table_is_asked_for_first_then_defined_in_parts_and_then_never_again)
{
    std::vector<std::byte> bytes;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        const auto asked = peer.expect<wire::FindCapabilities>().digest;
        peer.reply(wire::CapabilitiesReply{false});
        for (bool whole = false; !whole;) {
            const auto part = peer.expect<wire::DefineCapabilities>();
            EXPECT_EQ(part.offset, bytes.size());
            EXPECT_LE(part.bytes.size(), limits::table_part);
            EXPECT_EQ(part.digest, asked);
            bytes.insert(bytes.end(), part.bytes.begin(), part.bytes.end());
            whole = bytes.size() == part.size;
            peer.reply(wire::CapabilitiesReply{whole});
        }
        EXPECT_EQ(wire::digest_of(bytes), asked);
        EXPECT_TRUE(peer.wait_for_end()) << "the second time cost a packet";
    });
    {
        Client client = broker.connect();
        const auto capabilities = table(5000);
        capabilities.state(client);
        capabilities.state(client);
        table(5000).state(client); // another object, the same table
    }
    broker.join();
    const Capabilities received = wire::decode_capabilities(bytes).value();
    EXPECT_EQ(received.rows.size(), 5000u);
    EXPECT_EQ(received.device.driver, "radeonsi");
    EXPECT_EQ(received.rules.stride_alignment, 256u);
}

TEST_F(NegotiationTest, a_table_that_the_broker_knows_is_not_sent)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::FindCapabilities>();
        peer.reply(wire::CapabilitiesReply{true});
        EXPECT_TRUE(peer.wait_for_end());
    });
    {
        Client client = broker.connect();
        table(3).state(client);
    }
    broker.join();
}

TEST_F(NegotiationTest, an_empty_table_is_one_part)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const auto asked = peer.expect<wire::FindCapabilities>().digest;
        peer.reply(wire::CapabilitiesReply{false});
        const auto part = peer.expect<wire::DefineCapabilities>();
        EXPECT_TRUE(part.offset == 0 && part.bytes.size() == part.size && part.digest == asked);
        EXPECT_TRUE(wire::decode_capabilities(part.bytes).value().rows.empty());
        peer.reply(wire::CapabilitiesReply{true});
    });
    Client client = broker.connect();
    table(0).state(client);
    broker.join();
}

TEST_F(NegotiationTest, a_table_that_was_refused_is_tried_again_the_next_time)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        for (int i = 0; i < 2; ++i) {
            peer.expect<wire::FindCapabilities>();
            peer.reply(wire::CapabilitiesReply{false});
            peer.expect<wire::DefineCapabilities>();
            peer.reply(wire::ErrorReply{.code = Errc::quota_exceeded, .reason = "64 tables are enough"});
        }
    });
    Client client = broker.connect();
    for (int i = 0; i < 2; ++i) EXPECT_EQ(code_of([&] { table(3).state(client); }), DMABROKER_QUOTA_EXCEEDED);
    broker.join();
}

TEST_F(NegotiationTest, a_broker_that_takes_a_table_and_denies_knowing_it_is_cut)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::FindCapabilities>();
        peer.reply(wire::CapabilitiesReply{false});
        peer.expect<wire::DefineCapabilities>();
        peer.reply(wire::CapabilitiesReply{false});
    });
    Client client = broker.connect();
    EXPECT_EQ(code_of([&] { table(3).state(client); }), DMABROKER_DISCONNECTED);
    broker.join();
}

// ---- participants --------------------------------------------------------------------------------------

Participant full_participant()
{
    return {.name = "encoder",
            .capabilities = std::string(62, '0') + "1F",
            .usage = Usage::encode | Usage::cpu_read,
            .formats = {nv12.value, xr24.value},
            .modifiers = {DMABROKER_MODIFIER_LINEAR, DMABROKER_MODIFIER_INVALID, 7},
            .minimum_rung = DMABROKER_RUNG_LINEAR,
            .stride_alignment = 64,
            .offset_alignment = 4096,
            .max_size = {4096, 2304},
            .contiguous = true,
            .no_external_only = true,
            .is_protected = true};
}

void expect_full(const dmb::Participant& seen)
{
    EXPECT_EQ(seen.name, "encoder");
    EXPECT_EQ(seen.capabilities[31], 0x1f);
    EXPECT_EQ(seen.usage, UsageFlag::encode | UsageFlag::cpu_read);
    EXPECT_EQ(seen.formats, (BoundedVector<FourCC, limits::formats>{nv12, xr24}));
    EXPECT_EQ(seen.modifiers, (BoundedVector<Modifier, limits::modifiers>{modifier_linear, modifier_invalid, {7}}));
    EXPECT_EQ(seen.minimum_rung, Rung::linear);
    EXPECT_EQ(seen.rules, (LayoutRules{64, 4096, true}));
    EXPECT_EQ(seen.max_size, (Extent{4096, 2304}));
    EXPECT_TRUE(seen.no_external_only);
    EXPECT_TRUE(seen.is_protected);
}

TEST_F(NegotiationTest, an_allocation_names_its_participants_and_takes_an_alternative_format)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const auto request = peer.expect<wire::Allocate>();
        EXPECT_EQ(request.alternatives, (BoundedVector<FourCC, limits::formats>{ab24, nv12}));
        EXPECT_EQ(request.participants.size(), limits::participants);
        for (const auto& participant : request.participants) expect_full(participant);
        wire::ImageReply reply = image_reply(linear_desc({16, 16}, ab24));
        reply.request = RequestId{77};
        give(peer, reply);
    });
    Client client = broker.connect();
    EXPECT_EQ(client.last_request(), 0u);
    const Image image = client.allocate({.size = {16, 16},
                                         .format = xr24.value,
                                         .usage = Usage::render,
                                         .alternatives = {ab24.value, nv12.value},
                                         .participants = std::vector<Participant>(limits::participants, full_participant())});
    broker.join();
    EXPECT_EQ(image.info().format, ab24.value);
    EXPECT_EQ(image.info().request, 77u);
    EXPECT_EQ(image.info().source, 0u);
    EXPECT_EQ(client.last_request(), 77u);
}

TEST_F(NegotiationTest, the_largest_participants_fit_into_one_packet)
{
    Participant large = full_participant();
    large.name = std::string(64, 'x');
    large.formats.assign(limits::formats, xr24.value);
    large.modifiers.assign(limits::modifiers, 7);
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        EXPECT_EQ(peer.expect<wire::Allocate>().participants.size(), limits::participants);
        give(peer, image_reply(linear_desc({16, 16}, xr24)));
        EXPECT_EQ(peer.expect<wire::Join>().participant.modifiers.size(), limits::modifiers);
        give(peer, image_reply(linear_desc({16, 16}, xr24), 2));
    });
    Client client = broker.connect();
    const Image image = client.allocate({.size = {16, 16},
                                         .format = xr24.value,
                                         .modifiers = large.modifiers,
                                         .device = std::string(64, 'd'),
                                         .label = std::string(64, 'l'),
                                         .alternatives = large.formats,
                                         .participants = std::vector<Participant>(limits::participants, large)});
    const Image joined = client.join(some_token, Rights::read, large);
    broker.join();
}

TEST_F(NegotiationTest, a_format_that_nobody_asked_for_ends_the_connection)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Allocate>();
        give(peer, image_reply(linear_desc({16, 16}, nv12)));
    });
    Client client = broker.connect();
    const auto allocate = [&] { client.allocate({.size = {16, 16}, .format = xr24.value, .alternatives = {ab24.value}}); };
    EXPECT_EQ(code_of(allocate), DMABROKER_DISCONNECTED);
    broker.join();
}

TEST_F(NegotiationTest, what_no_participant_may_say_is_refused_before_it_is_sent)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        EXPECT_TRUE(peer.wait_for_end());
    });
    {
        Client client = broker.connect();
        const auto code = [&](auto change) {
            Participant bad = full_participant();
            change(bad);
            const int joined = code_of([&] { client.join(some_token, Rights::read, bad); });
            const int allocated = code_of(
                [&] { client.allocate({.size = {4, 4}, .format = xr24.value, .participants = {full_participant(), bad}}); });
            EXPECT_EQ(joined, allocated);
            return joined;
        };
        EXPECT_EQ(code([](Participant& p) { p.name = "\x1b[2J"; }), DMABROKER_INVALID_ARGUMENT);
        EXPECT_EQ(code([](Participant& p) { p.capabilities = "123"; }), DMABROKER_INVALID_ARGUMENT);
        EXPECT_EQ(code([](Participant& p) { p.capabilities[40] = 'g'; }), DMABROKER_INVALID_ARGUMENT);
        EXPECT_EQ(code([](Participant& p) { p.capabilities += '0'; }), DMABROKER_INVALID_ARGUMENT);
        EXPECT_EQ(code([](Participant& p) { p.usage = static_cast<Usage>(128); }), DMABROKER_INVALID_ARGUMENT);
        EXPECT_EQ(code([](Participant& p) { p.formats.assign(17, 1); }), DMABROKER_INVALID_ARGUMENT);
        EXPECT_EQ(code([](Participant& p) { p.modifiers.assign(65, 1); }), DMABROKER_INVALID_ARGUMENT);
        EXPECT_EQ(code([](Participant& p) { p.minimum_rung = 6; }), DMABROKER_INVALID_ARGUMENT);
        const std::uint32_t pixel = 0;
        const auto with_contents = [&] {
            client.allocate({.size = {1, 1},
                             .format = xr24.value,
                             .contents = dmabroker_pixels{{&pixel}, {}},
                             .alternatives = {ab24.value}});
        };
        EXPECT_EQ(code_of(with_contents), DMABROKER_INVALID_ARGUMENT);
        const auto too_many = [&] {
            client.allocate({.size = {1, 1}, .format = xr24.value, .participants = std::vector<Participant>(17)});
        };
        EXPECT_EQ(code_of(too_many), DMABROKER_INVALID_ARGUMENT);
    }
    broker.join();
}

TEST_F(NegotiationTest, structures_of_the_first_release_are_still_taken_and_filled)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const auto request = peer.expect<wire::Allocate>();
        EXPECT_TRUE(request.alternatives.empty() && request.participants.empty());
        give(peer, image_reply(linear_desc({16, 16}, xr24)));
        peer.event(wire::ImageRevoked{HandleId{1}});
        peer.close();
    });
    Client client = broker.connect();
    dmabroker_allocation old = DMABROKER_ALLOCATION_INIT;
    old.struct_size = offsetof(dmabroker_allocation, alternatives);
    old.width = old.height = 16;
    old.format = xr24.value;
    old.alternative_count = 99; // beyond its end: another variable of the caller
    old.participant_count = 99;
    dmabroker_image* made = nullptr;
    dmabroker_error error{};
    ASSERT_EQ(dmabroker_allocate(client.native(), &old, &made, &error), 0) << error.text;
    const Image image(made);
    broker.join();
    EXPECT_EQ(dmabroker_dispatch(client.native(), nullptr), -ECONNRESET);
    dmabroker_event event{};
    event.struct_size = offsetof(dmabroker_event, successor);
    event.successor = event.request = 99;
    ASSERT_EQ(dmabroker_next_event(client.native(), &event), 1);
    EXPECT_EQ(event.type, DMABROKER_EVENT_IMAGE_REVOKED);
    EXPECT_EQ(event.struct_size, offsetof(dmabroker_event, successor));
    EXPECT_EQ(event.successor, 99u);
    EXPECT_EQ(event.request, 99u);
    event.struct_size = 4;
    EXPECT_LT(dmabroker_next_event(client.native(), &event), 0);
}

TEST_F(NegotiationTest, participants_of_a_longer_structure_are_read_at_their_distance)
{
    struct Longer {
        dmabroker_participant known = DMABROKER_PARTICIPANT_INIT;
        std::uint64_t unknown = 0;
    };
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const auto request = peer.expect<wire::Allocate>();
        ASSERT_EQ(request.participants.size(), 2u);
        EXPECT_EQ(request.participants[1].name, "second");
        give(peer, image_reply(linear_desc({16, 16}, xr24)));
        peer.expect<wire::Release>();
        EXPECT_TRUE(peer.wait_for_end()) << "the second allocation was sent";
    });
    {
        Client client = broker.connect();
        Longer both[2];
        both[0].known.struct_size = both[1].known.struct_size = sizeof(Longer);
        both[1].known.name = "second";
        dmabroker_allocation wanted = DMABROKER_ALLOCATION_INIT;
        wanted.width = wanted.height = 16;
        wanted.format = xr24.value;
        wanted.participants = &both[0].known;
        wanted.participant_count = 2;
        dmabroker_image* made = nullptr;
        ASSERT_EQ(dmabroker_allocate(client.native(), &wanted, &made, nullptr), 0);
        dmabroker_image_close(made);
        both[1].unknown = 1; // asks for what we would not do
        EXPECT_EQ(dmabroker_allocate(client.native(), &wanted, &made, nullptr), -EOPNOTSUPP);
    }
    broker.join();
}

// ---- joining, replacing, copying -------------------------------------------------------------------------

TEST_F(NegotiationTest, a_joiner_states_its_needs_and_may_get_a_copy_that_it_refreshes)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        const auto join = peer.expect<wire::Join>();
        EXPECT_EQ(to_string(join.token), some_token);
        EXPECT_EQ(join.rights, Right::read | Right::write);
        expect_full(join.participant);
        wire::ImageReply reply = image_reply(linear_desc({16, 16}, nv12), 3);
        reply.request = RequestId{5};
        reply.source = ImageId{41};
        give(peer, reply);
        EXPECT_EQ(peer.expect<wire::Refresh>().handle, HandleId{3});
        peer.reply(wire::Refreshed{123456});
    });
    Client client = broker.connect();
    Image copy = client.join(some_token, Rights::read | Rights::write, full_participant());
    EXPECT_EQ(copy.info().source, 41u);
    EXPECT_EQ(copy.info().request, 5u);
    EXPECT_EQ(client.last_request(), 5u);
    EXPECT_EQ(copy.refresh().count(), 123456);
    broker.join();
}

TEST_F(NegotiationTest, an_image_that_is_no_copy_is_not_refreshed)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        give(peer, image_reply(linear_desc({16, 16}, xr24)));
    });
    Client client = broker.connect();
    Image image = client.open(some_token);
    EXPECT_EQ(code_of([&] { image.refresh(); }), DMABROKER_INVALID_ARGUMENT);
    broker.join();
}

TEST_F(NegotiationTest, a_holder_hears_of_the_successor_and_moves_to_it)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        give(peer, image_reply(linear_desc({16, 16}, xr24), 1));
        peer.event(wire::ImageReplaced{HandleId{9}, ImageId{50}, RequestId{8}}); // closed long ago
        peer.event(wire::ImageReplaced{HandleId{1}, ImageId{50}, RequestId{8}});
        peer.event(wire::ImageRevoked{HandleId{1}});
        EXPECT_EQ(peer.expect<wire::Move>().handle, HandleId{1});
        give(peer, image_reply(linear_desc({16, 16}, nv12), 2));
    });
    Client client = broker.connect();
    Image image = client.open(some_token);
    std::optional<dmabroker::Event> event;
    while (!(event = client.next_event())) client.dispatch();
    EXPECT_EQ(event->type, DMABROKER_EVENT_IMAGE_REPLACED);
    EXPECT_EQ(event->image, image.native());
    EXPECT_EQ(event->successor, 50u);
    EXPECT_EQ(event->request, 8u);
    while (!(event = client.next_event())) client.dispatch();
    EXPECT_EQ(event->type, DMABROKER_EVENT_IMAGE_REVOKED);
    const Image successor = image.open_successor();
    EXPECT_EQ(successor.info().format, nv12.value);
    EXPECT_EQ(image.info().format, xr24.value) << "the old hold stays";
    broker.join();
}

TEST_F(NegotiationTest, a_successor_of_another_size_ends_the_connection)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Open>();
        give(peer, image_reply(linear_desc({16, 16}, xr24), 1));
        peer.expect<wire::Move>();
        give(peer, image_reply(linear_desc({16, 15}, xr24), 2));
    });
    Client client = broker.connect();
    Image image = client.open(some_token);
    EXPECT_EQ(code_of([&] { image.open_successor(); }), DMABROKER_DISCONNECTED);
    broker.join();
}

// ---- reasons -------------------------------------------------------------------------------------------

TEST_F(NegotiationTest, a_failed_request_can_be_asked_about)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        peer.expect<wire::Allocate>();
        peer.reply(wire::ErrorReply{.code = Errc::no_backend, .reason = "nobody can", .request = RequestId{12}});
        const auto first = peer.expect<wire::Why>();
        EXPECT_EQ(first.request, RequestId{12});
        wire::WhyReply reply;
        reply.decision.id = RequestId{12};
        reply.decision.outcome = "no image that everyone can use";
        reply.decision.nearest = "drop the rung";
        peer.reply(reply);
        EXPECT_EQ(peer.expect<wire::Why>().image, ImageId{41});
        peer.reply(wire::ErrorReply{.code = Errc::not_found, .reason = "no such image"});
        peer.expect<wire::Join>();
        peer.reply(wire::ErrorReply{.code = Errc::token_expired, .reason = "expired"});
    });
    Client client = broker.connect();
    EXPECT_EQ(code_of([&] { client.allocate({.size = {4, 4}, .format = xr24.value}); }), DMABROKER_NO_BACKEND);
    EXPECT_EQ(client.last_request(), 12u);
    const std::string why = client.why(client.last_request());
    EXPECT_NE(why.find("no image that everyone can use"), std::string::npos) << why;
    EXPECT_NE(why.find("drop the rung"), std::string::npos);
    EXPECT_EQ(code_of([&] { client.why(0, 41); }), DMABROKER_NOT_FOUND);
    EXPECT_EQ(client.last_request(), 12u) << "asking is no negotiation";
    EXPECT_EQ(code_of([&] { client.join(some_token, Rights::read, {}); }), DMABROKER_TOKEN_EXPIRED);
    EXPECT_EQ(client.last_request(), 0u);
    broker.join();
}

TEST_F(NegotiationTest, proofs_are_managed_by_managers)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        EXPECT_EQ(peer.expect<wire::ManageProofs>().action, ProofAction::clear);
        peer.reply(wire::Done{});
        EXPECT_EQ(peer.expect<wire::ManageProofs>().action, ProofAction::warm);
        peer.reply(wire::ErrorReply{.code = Errc::denied, .reason = "use the manager socket"});
    });
    Client client = broker.connect();
    client.manage_proofs(DMABROKER_PROOFS_CLEAR);
    EXPECT_EQ(code_of([&] { client.manage_proofs(DMABROKER_PROOFS_WARM); }), DMABROKER_DENIED);
    EXPECT_EQ(dmabroker_manage_proofs(client.native(), 3, nullptr), -EINVAL);
    broker.join();
}

} // namespace
} // namespace dmb::test
