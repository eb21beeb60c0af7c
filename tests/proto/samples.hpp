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

/// NV12, 6x4, both planes in one memfd.
inline ImageDesc sample_desc()
{
    ImageDesc desc;
    desc.size = {6, 4};
    desc.format = fourcc("NV12");
    desc.usage = UsageFlag::cpu_write | UsageFlag::sample;
    desc.colour = {ColourMatrix::bt601, ColourRange::full, ChromaSiting::top_left, AlphaMode::premultiplied};
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
    desc.device = {0xe280, sample_uuid(0x10), sample_uuid(0x80)};
    desc.opaque = {37, 0x17, 8, 2, true, true};
    desc.memories = {{1310720}};
    return desc;
}

inline wire::Candidates sample_candidates()
{
    return {{Backend::gbm, "/dev/dri/renderD128", wire::Verdict::refused, "format NV12 is not among those it proved"},
            {Backend::udmabuf, "", wire::Verdict::failed, "create: Cannot allocate memory"},
            {Backend::memfd, "", wire::Verdict::chosen, "works everywhere"}};
}

inline wire::AllocateSpec sample_spec()
{
    wire::AllocateSpec spec;
    spec.size = {1920, 1080};
    spec.format = fourcc("XR24");
    spec.modifiers = {modifier_linear, {0x0100'0000'0000'0002}};
    spec.usage = UsageFlag::render | UsageFlag::scanout;
    spec.backends.add(Backend::gbm);
    spec.backends.add(Backend::udmabuf);
    spec.minimum_rung = Rung::system_dma_buf;
    spec.colour = {ColourMatrix::bt2020, ColourRange::limited, ChromaSiting::centre, AlphaMode::straight};
    spec.device = "renderD128";
    return spec;
}

inline DeviceInfo sample_device()
{
    return {{0xe280, sample_uuid(0x10), sample_uuid(0x80)},
            Backend::vulkan,
            "/dev/dri/renderD128",
            "radv",
            "A graphics card",
            "no modifiers",
            true};
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
                 5'000'000}};
    s.devices = {sample_device()};
    s.formats = {{0, fourcc("XR24"), {0x0100'0000'0000'0002}, 2, UsageFlag::sample | UsageFlag::render}};
    return s;
}

/// visit(name, message): clients first, then the broker, then the workers.
template <class Visit> void for_each_sample(Visit visit)
{
    using namespace wire;
    visit("hello", Hello{magic, 1, 1, 0, "painter"});
    visit("allocate", Allocate{sample_spec(), "wall", 600'000'000'000, true});
    visit("open", Open{sample_token(), Right::read | Right::write, UsageFlag::sample});
    visit("register", Register{sample_desc(), "camera", forever});
    visit("mint_token", MintToken{{3}, Right::read, true, true, 60'000'000'000});
    visit("revoke_token", RevokeToken{sample_token()});
    visit("revoke_image", RevokeImage{{41}});
    visit("set_lease", SetLease{{3}, 1'000'000'000});
    visit("release", Release{{3}});
    visit("inspect", Inspect{{41}});
    visit("hello_reply", HelloReply{1, 0, {7}, true, "dmabrokerd 0.1.0"});
    visit("error_reply", ErrorReply{Errc::no_backend, "nothing can serve NV12 6x4", sample_candidates()});
    visit(
        "image_reply",
        ImageReply{{3}, {41}, Rights::all(), Protection::read_only_descriptor, true, true, sample_desc(), sample_candidates()});
    visit("token_reply", TokenReply{sample_token(), Right::read});
    visit("snapshot_reply", SnapshotReply{1234});
    visit("done", Done{});
    visit("image_revoked", ImageRevoked{{3}});
    visit("goodbye", Goodbye{Errc::too_many_requests, "64 wrong tokens"});
    visit("worker_hello", WorkerHello{{sample_device()}, {{0, fourcc("XR24"), modifier_linear, 1, UsageFlag::render}}});
    visit("worker_allocate", WorkerAllocate{2, sample_spec(), true});
    visit("worker_image", WorkerImage{sample_opaque_desc(), true});
}

/// Events have serial 0; everything else here has 5.
template <class Message> constexpr std::uint32_t sample_serial()
{
    return Message::opcode == wire::Opcode::image_revoked || Message::opcode == wire::Opcode::goodbye ? 0 : 5;
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

template <class Message> Bytes encoded(const Message& message, std::uint32_t serial = 5)
{
    Bytes bytes(limits::packet_bytes);
    bytes.resize(wire::encode(message, serial, bytes).value());
    return bytes;
}

} // namespace dmb::test
