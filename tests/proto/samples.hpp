// SPDX-License-Identifier: MIT
// One message of every kind with every field set to something of its own: for round trips, truncation,
// golden files and the fuzzers' seeds.
#pragma once
#include "proto/wire/codec.hpp"

#include <string_view>

namespace dmb::test {

inline Token sample_token()
{
    return {{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}};
}

inline Uuid sample_uuid(std::uint8_t first)
{
    Uuid uuid;
    for (std::size_t i = 0; i < uuid.size(); ++i) uuid[i] = static_cast<std::uint8_t>(first + i);
    return uuid;
}

/// HDR10, as it is mastered on a P3 display of 1000 cd/m2.
inline Colour sample_hdr10()
{
    Colour colour{Primaries::bt2020, Transfer::pq, MatrixCoefficients::identity};
    colour.mastering = {gamut_of(Primaries::display_p3).value(), 10'000'000, 50};
    colour.light = {1000, 400};
    return colour;
}

/// NV12, 6x4, both planes in one memfd.
inline ImageDesc sample_desc()
{
    ImageDesc desc;
    desc.size = {6, 4};
    desc.format = fourcc("NV12");
    desc.usage = UsageFlag::cpu_write | UsageFlag::sample;
    desc.colour = {Primaries::smpte170m, Transfer::bt709,        MatrixCoefficients::bt470bg,
                   ColourRange::full,    ChromaSiting::top_left, AlphaMode::premultiplied};
    desc.planes = {{0, 256, 0}, {0, 256, 4096}};
    desc.memories = {{8192}};
    return desc;
}

/// Opaque memory: what an importing Vulkan device must repeat.
inline ImageDesc sample_opaque_desc()
{
    ImageDesc desc;
    desc.kind = MemoryKind::opaque;
    desc.backend = Backend::vulkan_opaque;
    desc.rung = Rung::tiled;
    desc.size = {640, 480};
    desc.format = fourcc("AB24");
    desc.modifier = modifier_invalid;
    desc.usage = UsageFlag::sample | UsageFlag::render;
    desc.device = {0xe280, sample_uuid(0x10), sample_uuid(0x80), 0x0300};
    desc.opaque = {37, 0x17, 8, 2, true, true};
    desc.memories = {{1310720}};
    return desc;
}

inline AllocateSpec sample_spec()
{
    AllocateSpec spec;
    spec.size = {1920, 1080};
    spec.format = fourcc("XR24");
    spec.modifiers = {modifier_linear, {0x0100'0000'0000'0002}};
    spec.usage = UsageFlag::render | UsageFlag::scanout;
    spec.backends.add(Backend::gbm);
    spec.backends.add(Backend::udmabuf);
    spec.minimum_rung = Rung::system_dma_buf;
    spec.colour = sample_hdr10();
    spec.device = "renderD128";
    return spec;
}

inline Exports sample_exports()
{
    const Device device{
        {0xe280, sample_uuid(0x10), sample_uuid(0x80), 0x0300}, "/dev/dri/renderD128", "radv", "Mesa 25.0.7", true};
    const Modifier modifier{0x0100'0000'0000'0002};
    return {{device, Backend::vulkan, "A graphics card", "no modifiers"},
            {{MemoryKind::dma_buf, fourcc("XR24"), modifier, 2, false, UsageFlag::sample | UsageFlag::render, {}}}};
}

inline Proof sample_proof()
{
    return {{Backend::gbm,
             "i915 6.12 renderD128",
             Api::egl,
             "radeonsi Mesa 25.0.7 renderD129",
             fourcc("XR24"),
             {0x0100'0000'0000'0002},
             UsageFlag::sample,
             4},
            ProofResult::crashed,
            "crashed (Segmentation fault) while sampling",
            2'000'000,
            7680};
}

inline Capabilities sample_capabilities()
{
    return {
        {{0xe281, {}, {}, 0x0400}, "/dev/dri/renderD129", "radeonsi", "Mesa 25.0.7", false},
        Api::egl,
        {64, 256, true},
        {{MemoryKind::dma_buf, fourcc("NV12"), modifier_linear, 2, true, UsageFlag::sample, {4096, 2304}},
         {MemoryKind::dma_buf, fourcc("XR24"), {0x0200'0000'0000'0901}, 1, false, UsageFlag::sample | UsageFlag::render, {}}}};
}

inline ResumeKey sample_key()
{
    ResumeKey key;
    for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(0xc0 + i);
    return key;
}

inline Digest sample_digest()
{
    Digest digest;
    for (std::size_t i = 0; i < digest.size(); ++i) digest[i] = static_cast<std::uint8_t>(0xd0 + i);
    return digest;
}

inline Participant sample_participant()
{
    return {"encoder",
            sample_digest(),
            UsageFlag::encode,
            {fourcc("NV12"), fourcc("P010")},
            {modifier_linear},
            Rung::linear,
            {64, 4096, true},
            {4096, 2304},
            true,
            true};
}

/// A copy, with an opaque handle for its driver beside the dma-buf.
inline wire::HeldImage sample_held()
{
    wire::HeldImage held{.handle = {3},
                         .image = {41},
                         .source = {40},
                         .rights = Rights::all(),
                         .protection = Protection::read_only_descriptor,
                         .contents_written = true,
                         .has_fds = true,
                         .desc = sample_desc(),
                         .twins = {}};
    held.twins.push_back({MemoryKind::opaque, {37, 0x17, 8, 2, true, true}, {}, {{1310720}}});
    return held;
}

inline wire::ImageReply sample_reply()
{
    wire::ImageReply reply;
    static_cast<wire::HeldImage&>(reply) = sample_held();
    reply.request = {17};
    reply.more = {{.handle = {4}, .image = {42}, .source = {}, .rights = Right::read, .desc = sample_desc(), .twins = {}}};
    return reply;
}

inline Decision sample_decision()
{
    Decision d;
    d.id = {17};
    d.image = {41};
    d.pid = 901;
    d.label = "wall";
    d.age_ns = 3'000'000;
    d.size = {1920, 1080};
    d.formats = {fourcc("XR24")};
    d.usage = UsageFlag::render | UsageFlag::encode;
    d.outcome = "no layout of XR24 1920x1080 that everyone can use";
    d.rung = Rung::linear;
    d.participants = {
        {"encoder", 907, Api::v4l2, "i915 renderD129", 12, true, {modifier_linear}, "encode, stride a multiple of 64"}};
    d.common = {modifier_linear};
    d.removals = {{"renderer", Demand::rung, Backend::gbm, fourcc("XR24"), modifier_linear, "rung linear, below tiled"}};
    d.culprits = {"renderer"};
    d.nearest = "drop the renderer's minimum rung: gbm on renderD129, LINEAR";
    d.candidates = {{Backend::gbm, "/dev/dri/renderD128", Verdict::refused, "format NV12 is not among those it proved"},
                    {Backend::udmabuf, "", Verdict::failed, "create: Cannot allocate memory"},
                    {Backend::memfd, "", Verdict::chosen, "works everywhere"}};
    return d;
}

inline Snapshot sample_snapshot()
{
    Snapshot s;
    s.server = "dmabrokerd 0.1.0";
    s.pid = 812;
    s.uptime_ns = 12'000'000'000;
    s.open_fds = 17;
    s.pool = {4096, 1};
    s.clients = {{{7}, 901, 1000, "painter", false, 8192, 1, 2}, {{8}, 902, 1000, "viewer", true, 0, 0, 1}};
    s.images = {{{41},
                 {7},
                 1000,
                 "wall",
                 sample_desc(),
                 {{{7}, 1, Rights::all()}, {{8}, 2, Right::read}},
                 3,
                 wire::forever,
                 5'000'000,
                 {17},
                 {40},
                 {3, 1'500'000, 4'600'000}}};
    s.exports = {sample_exports()};
    s.proofs = {sample_proof()};
    return s;
}

/// visit(name, message): clients first, then the broker, then the workers.
template <class Visit> void for_each_sample(Visit visit)
{
    using namespace wire;
    visit("hello", Hello{magic, 1, 1, known_features, sample_key(), "painter"});
    visit("allocate", Allocate{{sample_spec(), 3, "wall", 600'000'000'000, {fourcc("AR24")}, {sample_participant()}}, true});
    visit("open", Open{sample_token(), Right::read | Right::write, UsageFlag::sample});
    visit("register", Register{sample_desc(), "camera", forever});
    visit("mint_token", MintToken{{3}, Right::read, true, true, 60'000'000'000});
    visit("revoke_token", RevokeToken{sample_token()});
    visit("revoke_image", RevokeImage{{41}});
    visit("set_lease", SetLease{{3}, 1'000'000'000});
    visit("release", Release{{3}});
    visit("inspect", Inspect{{41}});
    visit("find_capabilities", FindCapabilities{sample_digest()});
    visit("define_capabilities", DefineCapabilities{sample_digest(), 600, 200, {std::byte{1}, std::byte{2}}});
    visit("join", Join{sample_token(), Right::read, sample_participant()});
    visit("move", Move{{3}});
    visit("refresh", Refresh{{3}});
    visit("why", Why{{17}, {41}});
    visit("manage_proofs", ManageProofs{ProofAction::warm});
    visit("cancel", Cancel{12});
    visit("open_channel", OpenChannel{});
    visit("hello_reply", HelloReply{1, known_features, {7}, true, sample_key(), true, 12, "dmabrokerd 0.1.0"});
    visit("error_reply", ErrorReply{Errc::no_backend, "nothing can serve NV12 6x4", {17}});
    visit("image_reply", sample_reply());
    visit("token_reply", TokenReply{sample_token(), Right::read});
    visit("snapshot_reply", SnapshotReply{1234});
    visit("done", Done{});
    visit("image_revoked", ImageRevoked{{3}});
    visit("goodbye", Goodbye{Errc::too_many_requests, "64 wrong tokens"});
    visit("capabilities_reply", CapabilitiesReply{true});
    visit("refreshed", Refreshed{1'500'000});
    visit("why_reply", WhyReply{sample_decision()});
    visit("image_replaced", ImageReplaced{{3}, {42}, {18}});
    visit("channel_reply", ChannelReply{});
    visit("channel_lost", ChannelLost{Errc::interrupted, "the receiver process ended", {11, 12}});
    visit("worker_hello", WorkerHello{{sample_exports()}});
    visit("worker_allocate", WorkerAllocate{2, sample_spec(), {64, 4096, true}, true});
    visit("worker_image", WorkerImage{sample_opaque_desc(), true});
    visit("worker_prove", WorkerProve{Api::egl, sample_capabilities().device, UsageFlag::sample, sample_desc()});
    visit("worker_proof", WorkerProof{ProofResult::wrong_pixels, "(3, 5) is black"});
    visit("worker_read", WorkerRead{sample_opaque_desc()});
    visit("worker_pixels", WorkerPixels{1'200'000});
    visit("worker_write", WorkerWrite{sample_desc()});
    visit("worker_blit", WorkerBlit{sample_opaque_desc(), sample_desc()});
    visit("worker_done", WorkerDone{900'000});
}

/// Events have serial 0; everything else here has 5.
template <class Message> constexpr std::uint64_t sample_serial()
{
    using enum wire::Opcode;
    constexpr std::array events{image_revoked, goodbye, image_replaced, channel_lost};
    return std::ranges::find(events, Message::opcode) != events.end() ? 0 : 5;
}

template <class Message, class Variant> inline constexpr bool is_in = false;
template <class Message, class... Messages>
inline constexpr bool is_in<Message, std::variant<Messages...>> = (std::is_same_v<Message, Messages> || ...);

/// visit.operator()<Variant>() for each direction in which the message travels.
template <class Message, class Visit> void for_each_direction(Visit visit)
{
    if constexpr (is_in<Message, wire::Request>) visit.template operator()<wire::Request>();
    if constexpr (is_in<Message, wire::Reply>) visit.template operator()<wire::Reply>();
    if constexpr (is_in<Message, wire::WorkerRequest>) visit.template operator()<wire::WorkerRequest>();
    if constexpr (is_in<Message, wire::WorkerReply>) visit.template operator()<wire::WorkerReply>();
}

using Bytes = std::vector<std::byte>;

template <class Message> Bytes encoded(const Message& message, std::uint64_t serial = 5)
{
    Bytes bytes(limits::packet_bytes);
    bytes.resize(wire::encode(message, serial, bytes).value());
    return bytes;
}

} // namespace dmb::test
