// SPDX-License-Identifier: MIT
// Which fields each value has, in wire order: one function serves the packets (archive.hpp) and the
// JSON form (json.cpp). Only codec.cpp and json.cpp include this: cereal stays behind them.
//
// A record gets a field behind its last one, with later() of archive.hpp. A message gets a section (codec.hpp). What is
// neither never changes.
#pragma once
#include "proto/wire/archive.hpp"
#include "proto/wire/messages.hpp"

#include <cereal/cereal.hpp>

namespace dmb::wire {
#define RECORD(type) template <> inline constexpr bool is_record<type> = true;
RECORD(DeviceId)
RECORD(Colour)
RECORD(OpaqueInfo)
RECORD(ImageDesc)
RECORD(HolderInfo)
RECORD(CopyInfo)
RECORD(ImageInfo)
RECORD(ClientInfo)
RECORD(PoolInfo)
RECORD(Device)
RECORD(LayoutRules)
RECORD(Capability)
RECORD(Exporter)
RECORD(Exports)
RECORD(Candidate)
RECORD(Removal)
RECORD(PartyView)
RECORD(Decision)
RECORD(ProofKey)
RECORD(Proof)
RECORD(AllocateSpec)
RECORD(Participant)
RECORD(MemorySet)
RECORD(HeldImage)
#undef RECORD
#define FROZEN(type)                                                                                                           \
    template <> inline constexpr bool is_frozen<type> = true;                                                                  \
    static_assert(Frozen<type>);
FROZEN(Extent)
FROZEN(Memory)
FROZEN(MasteringDisplay)
FROZEN(ContentLight)
#undef FROZEN
} // namespace dmb::wire

namespace dmb {

#define FIELD(member) cereal::make_nvp(#member, v.member)

template <class A> void serialize(A& a, Extent& v) { a(FIELD(width), FIELD(height)); }
template <class A> void serialize(A& a, Plane& v) { a(FIELD(memory), FIELD(stride), FIELD(offset)); }
template <class A> void serialize(A& a, Memory& v) { a(FIELD(size)); }
template <class A> void serialize(A& a, DeviceId& v)
{
    a(FIELD(render_node), FIELD(device_uuid), FIELD(driver_uuid), FIELD(pci));
}
template <class A> void serialize(A& a, Chromaticity& v) { a(FIELD(x), FIELD(y)); }
template <class A> void serialize(A& a, Gamut& v) { a(FIELD(red), FIELD(green), FIELD(blue), FIELD(white)); }
template <class A> void serialize(A& a, MasteringDisplay& v) { a(FIELD(gamut), FIELD(max_luminance), FIELD(min_luminance)); }
template <class A> void serialize(A& a, ContentLight& v) { a(FIELD(max_cll), FIELD(max_fall)); }
template <class A> void serialize(A& a, Colour& v)
{
    a(FIELD(primaries), FIELD(transfer), FIELD(matrix), FIELD(range), FIELD(siting), FIELD(alpha), FIELD(mastering),
      FIELD(light));
}
template <class A> void serialize(A& a, OpaqueInfo& v)
{
    a(FIELD(vk_format), FIELD(vk_usage), FIELD(vk_create_flags), FIELD(memory_type), FIELD(optimal_tiling), FIELD(dedicated));
}
template <class A> void serialize(A& a, ImageDesc& v)
{
    a(FIELD(kind), FIELD(backend), FIELD(rung), FIELD(size), FIELD(format), FIELD(modifier), FIELD(usage), FIELD(colour),
      FIELD(device), FIELD(opaque), FIELD(planes), FIELD(memories));
}
template <class A> void serialize(A& a, HolderInfo& v) { a(FIELD(client), FIELD(handles), FIELD(rights)); }
template <class A> void serialize(A& a, CopyInfo& v) { a(FIELD(count), FIELD(last_ns), FIELD(total_ns)); }
template <class A> void serialize(A& a, ImageInfo& v)
{
    a(FIELD(id), FIELD(owner), FIELD(owner_uid), FIELD(label), FIELD(desc), FIELD(holders), FIELD(tokens), FIELD(lease_left_ns),
      FIELD(age_ns), FIELD(request), FIELD(source), FIELD(copying));
}
template <class A> void serialize(A& a, ClientInfo& v)
{
    a(FIELD(id), FIELD(pid), FIELD(uid), FIELD(name), FIELD(manager), FIELD(bytes), FIELD(images), FIELD(fds));
}
template <class A> void serialize(A& a, PoolInfo& v) { a(FIELD(bytes), FIELD(images)); }
template <class A> void serialize(A& a, Snapshot& v)
{
    a(FIELD(server), FIELD(pid), FIELD(uptime_ns), FIELD(open_fds), FIELD(pool), FIELD(clients), FIELD(images), FIELD(exports),
      FIELD(proofs));
}
template <class A> void serialize(A& a, Device& v)
{
    a(FIELD(id), FIELD(node), FIELD(driver), FIELD(version), FIELD(software));
}
template <class A> void serialize(A& a, LayoutRules& v)
{
    a(FIELD(stride_alignment), FIELD(offset_alignment), FIELD(contiguous));
}
template <class A> void serialize(A& a, Capability& v)
{
    a(FIELD(kind), FIELD(format), FIELD(modifier), FIELD(plane_count), FIELD(external_only), FIELD(usage), FIELD(max_size));
}
template <class A> void serialize(A& a, Exporter& v)
{
    a(cereal::make_nvp("device", static_cast<Device&>(v)), FIELD(backend), FIELD(name), FIELD(problem));
}
template <class A> void serialize(A& a, Exports& v) { a(FIELD(exporter), FIELD(rows)); }
template <class A> void serialize(A& a, Capabilities& v) { a(FIELD(device), FIELD(api), FIELD(rules), FIELD(rows)); }
template <class A> void serialize(A& a, Candidate& v) { a(FIELD(backend), FIELD(device), FIELD(verdict), FIELD(reason)); }
template <class A> void serialize(A& a, Removal& v)
{
    a(FIELD(who), FIELD(demand), FIELD(backend), FIELD(format), FIELD(modifier), FIELD(reason));
}
template <class A> void serialize(A& a, PartyView& v)
{
    a(FIELD(name), FIELD(pid), FIELD(api), FIELD(device), FIELD(pair_count), FIELD(any), FIELD(modifiers), FIELD(wants));
}
template <class A> void serialize(A& a, Decision& v)
{
    a(FIELD(id), FIELD(image), FIELD(pid), FIELD(label), FIELD(age_ns), FIELD(size), FIELD(formats), FIELD(usage),
      FIELD(outcome), FIELD(rung), FIELD(participants), FIELD(common), FIELD(removals), FIELD(culprits), FIELD(nearest),
      FIELD(candidates));
}
template <class A> void serialize(A& a, ProofKey& v)
{
    a(FIELD(backend), FIELD(exporter), FIELD(api), FIELD(importer), FIELD(format), FIELD(modifier), FIELD(usage),
      FIELD(size_class));
}
template <class A> void serialize(A& a, Proof& v) { a(FIELD(key), FIELD(result), FIELD(reason), FIELD(cost_ns), FIELD(pitch)); }
template <class A> void serialize(A& a, AllocateSpec& v)
{
    a(FIELD(size), FIELD(format), FIELD(modifiers), FIELD(usage), FIELD(backends), FIELD(minimum_rung), FIELD(colour),
      FIELD(device));
}
template <class A> void serialize(A& a, Participant& v)
{
    a(FIELD(name), FIELD(capabilities), FIELD(usage), FIELD(formats), FIELD(modifiers), FIELD(minimum_rung), FIELD(rules),
      FIELD(max_size), FIELD(no_external_only), FIELD(is_protected));
}

namespace wire {

template <class A> void serialize(A& a, Hello& v)
{
    a(FIELD(magic), FIELD(oldest_version), FIELD(newest_version), FIELD(features), FIELD(resume), FIELD(name));
}
template <class A> void serialize(A& a, HelloReply& v)
{
    a(FIELD(version), FIELD(features), FIELD(client), FIELD(manager), FIELD(resume), FIELD(resumed), FIELD(last_serial),
      FIELD(server));
}
template <class A> void serialize(A& a, ErrorReply& v) { a(FIELD(code), FIELD(reason), FIELD(request)); }
template <class A> void serialize(A& a, Allocate& v)
{
    a(FIELD(spec), FIELD(count), FIELD(label), FIELD(lease_ns), FIELD(has_contents), FIELD(alternatives), FIELD(participants));
}
template <class A> void serialize(A& a, MemorySet& v) { a(FIELD(kind), FIELD(opaque), FIELD(planes), FIELD(memories)); }
template <class A> void serialize(A& a, HeldImage& v)
{
    a(FIELD(handle), FIELD(image), FIELD(source), FIELD(rights), FIELD(protection), FIELD(contents_written), FIELD(has_fds),
      FIELD(desc), FIELD(twins));
}
template <class A> void serialize(A& a, ImageReply& v)
{
    a(cereal::make_nvp("first", static_cast<HeldImage&>(v)), FIELD(request), FIELD(more));
}
template <class A> void serialize(A& a, Open& v) { a(FIELD(token), FIELD(rights), FIELD(usage)); }
template <class A> void serialize(A& a, Register& v) { a(FIELD(desc), FIELD(label), FIELD(lease_ns)); }
template <class A> void serialize(A& a, MintToken& v)
{
    a(FIELD(handle), FIELD(rights), FIELD(one_shot), FIELD(enforced), FIELD(lifetime_ns));
}
template <class A> void serialize(A& a, TokenReply& v) { a(FIELD(token), FIELD(rights)); }
template <class A> void serialize(A& a, RevokeToken& v) { a(FIELD(token)); }
template <class A> void serialize(A& a, RevokeImage& v) { a(FIELD(image)); }
template <class A> void serialize(A& a, SetLease& v) { a(FIELD(handle), FIELD(lease_ns)); }
template <class A> void serialize(A& a, Release& v) { a(FIELD(handle)); }
template <class A> void serialize(A& a, Inspect& v) { a(FIELD(image)); }
template <class A> void serialize(A& a, SnapshotReply& v) { a(FIELD(size)); }
template <class A> void serialize(A&, Done&) {}
template <class A> void serialize(A& a, ImageRevoked& v) { a(FIELD(handle)); }
template <class A> void serialize(A& a, Goodbye& v) { a(FIELD(code), FIELD(reason)); }
template <class A> void serialize(A& a, ChannelLost& v) { a(FIELD(code), FIELD(reason), FIELD(arrived)); }
template <class A> void serialize(A& a, WorkerHello& v) { a(FIELD(exports)); }
template <class A> void serialize(A& a, WorkerAllocate& v) { a(FIELD(device), FIELD(spec), FIELD(rules), FIELD(has_contents)); }
template <class A> void serialize(A& a, WorkerImage& v) { a(FIELD(desc), FIELD(contents_written)); }

template <class A> void serialize(A& a, Join& v) { a(FIELD(token), FIELD(rights), FIELD(participant)); }
template <class A> void serialize(A& a, Move& v) { a(FIELD(handle)); }
template <class A> void serialize(A& a, Refresh& v) { a(FIELD(handle)); }
template <class A> void serialize(A& a, Refreshed& v) { a(FIELD(cost_ns)); }
template <class A> void serialize(A& a, FindCapabilities& v) { a(FIELD(digest)); }
template <class A> void serialize(A& a, DefineCapabilities& v) { a(FIELD(digest), FIELD(size), FIELD(offset), FIELD(bytes)); }
template <class A> void serialize(A& a, CapabilitiesReply& v) { a(FIELD(known)); }
template <class A> void serialize(A& a, Why& v) { a(FIELD(request), FIELD(image)); }
template <class A> void serialize(A& a, WhyReply& v) { a(FIELD(decision)); }
template <class A> void serialize(A& a, ManageProofs& v) { a(FIELD(action)); }
template <class A> void serialize(A& a, ImageReplaced& v) { a(FIELD(handle), FIELD(successor), FIELD(request)); }
template <class A> void serialize(A& a, Cancel& v) { a(FIELD(request)); }
template <class A> void serialize(A&, OpenChannel&) {}
template <class A> void serialize(A&, ChannelReply&) {}
template <class A> void serialize(A& a, WorkerProve& v) { a(FIELD(api), FIELD(device), FIELD(usage), FIELD(desc)); }
template <class A> void serialize(A& a, WorkerProof& v) { a(FIELD(result), FIELD(reason)); }
template <class A> void serialize(A& a, WorkerRead& v) { a(FIELD(desc)); }
template <class A> void serialize(A& a, WorkerPixels& v) { a(FIELD(cost_ns)); }
template <class A> void serialize(A& a, WorkerWrite& v) { a(FIELD(desc)); }
template <class A> void serialize(A& a, WorkerBlit& v) { a(FIELD(source), FIELD(destination)); }
template <class A> void serialize(A& a, WorkerDone& v) { a(FIELD(cost_ns)); }

} // namespace wire

#undef FIELD

} // namespace dmb
