// SPDX-License-Identifier: MIT
// Packets to messages and back. The only place that sees cereal's exceptions on packets; outside, a malformed packet is
// a Result. The archives are one pair per thread, used again and again, because making one costs more than most
// messages. A message that is decoded over an older one of its kind overwrites every field. The list at the end is of
// all messages: what is not in it does not link.
#include "proto/wire/codec.hpp"

#include "proto/wire/archive.hpp"
#include "proto/wire/fields.hpp"

namespace dmb::wire {
namespace {

WireOut& writer(std::span<std::byte> to)
{
    thread_local WireOut archive;
    archive.begin(to);
    return archive;
}

WireIn& reader(std::span<const std::byte> from)
{
    thread_local WireIn archive;
    archive.begin(from);
    return archive;
}

struct Header {
    Opcode opcode;
    std::size_t fd_count;
    std::uint64_t serial;
};

void put_header(WireOut& out, Opcode opcode, std::size_t fd_count, std::uint64_t serial)
{
    out(static_cast<std::uint16_t>(opcode), static_cast<std::uint16_t>(fd_count), std::uint32_t{0}, serial);
}

/// Throws cereal::Exception.
Header get_header(WireIn& in)
{
    Header header{};
    header.opcode = static_cast<Opcode>(in.number<std::uint16_t>());
    header.fd_count = in.number<std::uint16_t>();
    const auto reserved = in.number<std::uint32_t>();
    header.serial = in.number<std::uint64_t>();
    if (reserved != 0) throw cereal::Exception("reserved header field is not 0");
    return header;
}

/// Sections are of later versions, all of them. Returns how many of the packet's descriptors are theirs.
std::size_t skip_sections(WireIn& in)
{
    std::size_t fd_count = 0;
    while (in.remaining() != 0) {
        if (in.number<std::uint16_t>() == 0) throw cereal::Exception("bytes after the message");
        fd_count += in.number<std::uint16_t>();
        in.bytes(in.number<std::uint32_t>());
    }
    return fd_count;
}

template <class Message> void read_body(WireIn& in, std::size_t fd_count, Message& message)
{
    in(message);
    const std::size_t of_sections = in.remaining() == 0 ? 0 : skip_sections(in);
    if (message.fd_count() + of_sections != fd_count) throw cereal::Exception("wrong number of descriptors");
}

/// The alternative itself when `out` holds it already: every field is overwritten, and what a message
/// would cost to construct again is more than what it costs to read.
template <class Message, class Variant> Message& reuse(Variant& out)
{
    Message* same = std::get_if<Message>(&out);
    return same ? *same : out.template emplace<Message>();
}

/// Tries the alternatives of the variant; false when none has the opcode.
template <class... Messages> bool read_any(WireIn& in, Opcode opcode, std::size_t fd_count, std::variant<Messages...>& out)
{
    return ((opcode == Messages::opcode && (read_body(in, fd_count, reuse<Messages>(out)), true)) || ...);
}

/// Sized by doubling: these are rare, and their size is not known beforehand.
template <class T> Result<std::vector<std::byte>> encode_large(const T& value, const char* what)
{
    for (std::size_t size = limits::packet_bytes; size <= limits::snapshot_bytes; size *= 2) {
        std::vector<std::byte> bytes(size);
        try {
            WireOut& out = writer(bytes);
            out(value);
            bytes.resize(static_cast<std::size_t>(out.position() - bytes.data()));
            return bytes;
        } catch (const cereal::Exception&) {
        }
    }
    return fail(Errc::internal, "the {} is larger than {} bytes", what, limits::snapshot_bytes);
}

} // namespace

template <class Message> Result<std::size_t> encode(const Message& message, std::uint64_t serial, std::span<std::byte> to)
{
    try {
        WireOut& out = writer(to);
        put_header(out, Message::opcode, message.fd_count(), serial);
        out(message);
        return static_cast<std::size_t>(out.position() - to.data());
    } catch (const std::exception& e) {
        return fail(Errc::internal, "{}", e.what());
    }
}

template <class Variant> Result<> decode(std::span<const std::byte> packet, std::size_t fd_count, Decoded<Variant>& out)
{
    try {
        WireIn& in = reader(packet);
        const Header header = get_header(in);
        out.serial = header.serial;
        if (header.fd_count != fd_count) throw cereal::Exception("not the descriptors that its header promises");
        const bool known = read_any(in, header.opcode, fd_count, out.message);
        out.has_unknown_value = in.met_unknown_value();
        if (known) return {};
        return fail(Errc::unsupported, "message {} is not known here", static_cast<unsigned>(header.opcode));
    } catch (const std::exception& e) {
        return fail(Errc::protocol_violation, "malformed packet of {} bytes: {}", packet.size(), e.what());
    }
}

Result<std::vector<std::byte>> encode_snapshot(const Snapshot& snapshot) { return encode_large(snapshot, "snapshot"); }
Result<std::vector<std::byte>> encode_capabilities(const Capabilities& table) { return encode_large(table, "table"); }

Result<Snapshot> decode_snapshot(std::span<const std::byte> bytes)
{
    try {
        Snapshot snapshot;
        WireIn& in = reader(bytes);
        in(snapshot);
        skip_sections(in);
        return snapshot;
    } catch (const std::exception& e) {
        return fail(Errc::protocol_violation, "malformed snapshot of {} bytes: {}", bytes.size(), e.what());
    }
}

Result<Capabilities> decode_capabilities(std::span<const std::byte> bytes)
{
    try {
        Capabilities table;
        WireIn& in = reader(bytes);
        transfer(in, table.device);
        transfer(in, table.api);
        transfer(in, table.rules);
        if (!is_valid(table.api)) table.api = Api::other;
        const auto count = in.number<std::uint32_t>();
        if (count > limits::capability_rows) throw cereal::Exception("more rows than the limit");
        for (std::uint32_t i = 0; i < count; ++i) {
            Capability row;
            transfer(in, row);
            if (is_valid(row.kind) && row.usage.is_known()) table.rows.push_back(row);
        }
        skip_sections(in);
        return table;
    } catch (const std::exception& e) {
        return fail(Errc::invalid_argument, "malformed capability table of {} bytes: {}", bytes.size(), e.what());
    }
}

#define MESSAGE(type) template Result<std::size_t> encode(const type&, std::uint64_t, std::span<std::byte>);
MESSAGE(Hello)
MESSAGE(HelloReply)
MESSAGE(ErrorReply)
MESSAGE(Allocate)
MESSAGE(ImageReply)
MESSAGE(Open)
MESSAGE(Register)
MESSAGE(MintToken)
MESSAGE(TokenReply)
MESSAGE(RevokeToken)
MESSAGE(RevokeImage)
MESSAGE(SetLease)
MESSAGE(Release)
MESSAGE(Inspect)
MESSAGE(SnapshotReply)
MESSAGE(Done)
MESSAGE(ImageRevoked)
MESSAGE(Goodbye)
MESSAGE(FindCapabilities)
MESSAGE(DefineCapabilities)
MESSAGE(CapabilitiesReply)
MESSAGE(Join)
MESSAGE(Move)
MESSAGE(Refresh)
MESSAGE(Refreshed)
MESSAGE(Why)
MESSAGE(WhyReply)
MESSAGE(ManageProofs)
MESSAGE(ImageReplaced)
MESSAGE(Cancel)
MESSAGE(OpenChannel)
MESSAGE(ChannelReply)
MESSAGE(ChannelLost)
MESSAGE(WorkerHello)
MESSAGE(WorkerAllocate)
MESSAGE(WorkerImage)
MESSAGE(WorkerProve)
MESSAGE(WorkerProof)
MESSAGE(WorkerRead)
MESSAGE(WorkerPixels)
MESSAGE(WorkerWrite)
MESSAGE(WorkerBlit)
MESSAGE(WorkerDone)
#undef MESSAGE

template Result<> decode(std::span<const std::byte>, std::size_t, Decoded<Request>&);
template Result<> decode(std::span<const std::byte>, std::size_t, Decoded<Reply>&);
template Result<> decode(std::span<const std::byte>, std::size_t, Decoded<WorkerRequest>&);
template Result<> decode(std::span<const std::byte>, std::size_t, Decoded<WorkerReply>&);

} // namespace dmb::wire
