// SPDX-License-Identifier: MIT
// The protocol: one passive struct per message. Descriptors are not part of the bytes: each message
// says through fd_count() how many must come with it, in the order of `memories`. PROTOCOL.md is the
// prose; serialisation is in fields.hpp. An opcode never changes shape; how messages grow is in codec.hpp.
#pragma once
#include "proto/base/errc.hpp"
#include "proto/base/result.hpp"
#include "proto/inspect/snapshot.hpp"
#include "proto/request/request.hpp"
#include "proto/wire/limits.hpp"

#include <variant>

namespace dmb::wire {

inline constexpr std::uint32_t magic = 0x42414d44; // "DMAB"
inline constexpr std::uint16_t version = 1;
inline constexpr std::uint64_t forever = UINT64_MAX;

enum class Opcode : std::uint16_t {
    hello = 1,
    hello_reply,
    error_reply,
    allocate,
    image_reply,
    open,
    register_image,
    mint_token,
    token_reply,
    revoke_token,
    revoke_image,
    set_lease,
    release,
    inspect,
    snapshot_reply,
    done,
    image_revoked,
    goodbye,
    find_capabilities,
    define_capabilities,
    capabilities_reply,
    join,
    move,
    refresh,
    refreshed,
    why,
    why_reply,
    manage_proofs,
    image_replaced,
    cancel,
    open_channel,
    channel_reply,
    channel_lost,
    worker_hello = 64,
    worker_allocate,
    worker_image,
    worker_prove,
    worker_proof,
    worker_read,
    worker_pixels,
    worker_write,
    worker_blit,
    worker_done,
};

/// What a peer may do beyond the first version. Each side says what it knows; what both know is done.
enum class Feature : std::uint64_t {
    resume = 1, ///< the client gets a resume key, and comes back with it
};
inline constexpr std::uint64_t known_features = static_cast<std::uint64_t>(Feature::resume);
constexpr bool has(std::uint64_t features, Feature f) { return (features & static_cast<std::uint64_t>(f)) != 0; }

/// First message of a client, within limits::hello_deadline_ns.
struct Hello {
    static constexpr Opcode opcode = Opcode::hello;
    std::uint32_t magic = wire::magic;
    std::uint16_t oldest_version = version;
    std::uint16_t newest_version = version;
    std::uint64_t features = known_features; ///< that the client knows
    ResumeKey resume{};                      ///< of its earlier connection
    Name name;                               ///< what `list` shows
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Hello&, const Hello&) = default;
};
struct HelloReply {
    static constexpr Opcode opcode = Opcode::hello_reply;
    std::uint16_t version = wire::version;
    std::uint64_t features = 0; ///< that both know
    ClientId client;
    bool manager = false;          ///< this connection came through the manager socket and sees everything
    ResumeKey resume{};            ///< a new one, for one use; zero without Feature::resume
    bool resumed = false;          ///< this is the client that the key in the hello named, with all it holds
    std::uint64_t last_serial = 0; ///< of its requests; the next one is larger
    Name server;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const HelloReply&, const HelloReply&) = default;
};

/// The typed answer to a request that failed.
struct ErrorReply {
    static constexpr Opcode opcode = Opcode::error_reply;
    Errc code = Errc::internal;
    BoundedText<240> reason;
    RequestId request; ///< of a negotiation, for `why`; else 0
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const ErrorReply&, const ErrorReply&) = default;
};

/// With initial contents: one sealed memfd, planes tightly packed (row_bytes × rows) one after the other.
struct Allocate : ImageRequest {
    static constexpr Opcode opcode = Opcode::allocate;
    bool has_contents = false;
    std::size_t fd_count() const { return has_contents ? 1 : 0; }
    friend bool operator==(const Allocate&, const Allocate&) = default;
};
/// The same pixels as another memory kind: one allocation with two handles.
struct MemorySet {
    MemoryKind kind = MemoryKind::dma_buf;
    OpaqueInfo opaque; ///< kind opaque only
    BoundedVector<Plane, max_planes> planes;
    BoundedVector<Memory, max_planes> memories;
    friend bool operator==(const MemorySet&, const MemorySet&) = default;
};
/// One image as its new holder sees it.
struct HeldImage {
    HandleId handle;
    ImageId image;
    ImageId source; ///< of a copy: what it is a copy of, see Refresh; else 0
    Rights rights;
    Protection protection = Protection::none;
    bool contents_written = false; ///< false: the client writes its initial contents itself
    bool has_fds = true;
    ImageDesc desc;
    std::vector<MemorySet> twins; ///< other handles of its memory; their descriptors come behind its own

    std::size_t image_fd_count() const
    {
        if (!has_fds) return 0;
        std::size_t sum = desc.memories.size();
        for (const MemorySet& twin : twins) sum += twin.memories.size();
        return sum;
    }
    friend bool operator==(const HeldImage&, const HeldImage&) = default;
};
/// Answers Allocate, Open, Join, Move and Register (Register: without descriptors, the client has them). `more`: the
/// other images of a pool; descriptors come image by image.
struct ImageReply : HeldImage {
    static constexpr Opcode opcode = Opcode::image_reply;
    RequestId request;           ///< for `why`; 0: nothing was negotiated
    std::vector<HeldImage> more; ///< at most limits::pool_images - 1
    std::size_t fd_count() const
    {
        std::size_t sum = image_fd_count();
        for (const HeldImage& held : more) sum += held.image_fd_count();
        return sum;
    }
    friend bool operator==(const ImageReply&, const ImageReply&) = default;
};

struct Open {
    static constexpr Opcode opcode = Opcode::open;
    Token token;
    Rights rights = Right::read; ///< wanted; must be a part of the token's
    Usage usage;                 ///< empty or CPU only: a reader may get a read-only descriptor
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Open&, const Open&) = default;
};
/// Open, by one who says what it can import. If it cannot import the image as it is, the image is negotiated
/// anew for all its participants; where nothing serves them all, the joiner gets a copy of its own.
struct Join {
    static constexpr Opcode opcode = Opcode::join;
    Token token;
    Rights rights = Right::read;
    Participant participant;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Join&, const Join&) = default;
};
/// After ImageReplaced: a hold on the successor, with the same rights. The old hold stays until released.
struct Move {
    static constexpr Opcode opcode = Opcode::move;
    HandleId handle;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Move&, const Move&) = default;
};
/// Copies a copy's source into it once more.
struct Refresh {
    static constexpr Opcode opcode = Opcode::refresh;
    HandleId handle;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Refresh&, const Refresh&) = default;
};
struct Refreshed {
    static constexpr Opcode opcode = Opcode::refreshed;
    std::uint64_t cost_ns = 0; ///< of this copy
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Refreshed&, const Refreshed&) = default;
};
/// Does the broker know a table? Known ones need not be sent; from now on it stays known for this client.
struct FindCapabilities {
    static constexpr Opcode opcode = Opcode::find_capabilities;
    Digest digest{};
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const FindCapabilities&, const FindCapabilities&) = default;
};
/// A table as bytes (encode_capabilities), in parts that follow each other. Its digest is that of all the bytes, so a
/// broker that does not know some of what they say can still tell that it is whole.
struct DefineCapabilities {
    static constexpr Opcode opcode = Opcode::define_capabilities;
    Digest digest{};
    std::uint32_t size = 0;   ///< bytes of the whole table, at most limits::table_bytes
    std::uint32_t offset = 0; ///< of this part; 0 begins anew
    std::vector<std::byte> bytes;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const DefineCapabilities&, const DefineCapabilities&) = default;
};
/// Answers FindCapabilities, and DefineCapabilities (known: the table is complete).
struct CapabilitiesReply {
    static constexpr Opcode opcode = Opcode::capabilities_reply;
    bool known = false;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const CapabilitiesReply&, const CapabilitiesReply&) = default;
};
/// The decision behind a request, or behind an image if `request` is 0; the last one if both are 0.
struct Why {
    static constexpr Opcode opcode = Opcode::why;
    RequestId request;
    ImageId image;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Why&, const Why&) = default;
};
struct WhyReply {
    static constexpr Opcode opcode = Opcode::why_reply;
    Decision decision;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const WhyReply&, const WhyReply&) = default;
};
/// Needs the manager socket. Answered by Done when it is done.
struct ManageProofs {
    static constexpr Opcode opcode = Opcode::manage_proofs;
    ProofAction action = ProofAction::clear;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const ManageProofs&, const ManageProofs&) = default;
};
struct Register {
    static constexpr Opcode opcode = Opcode::register_image;
    ImageDesc desc; ///< backend, rung and device id are set by the broker
    Name label;
    std::uint64_t lease_ns = 0;
    std::size_t fd_count() const { return desc.memories.size(); }
    friend bool operator==(const Register&, const Register&) = default;
};
struct MintToken {
    static constexpr Opcode opcode = Opcode::mint_token;
    HandleId handle;
    Rights rights;
    bool one_shot = false;
    bool enforced = false;         ///< readers who could not be kept from writing are refused
    std::uint64_t lifetime_ns = 0; ///< 0: as long as the image
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const MintToken&, const MintToken&) = default;
};
struct TokenReply {
    static constexpr Opcode opcode = Opcode::token_reply;
    Token token;
    Rights rights;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const TokenReply&, const TokenReply&) = default;
};
/// Ends a token and every token minted by those who opened the image through it.
struct RevokeToken {
    static constexpr Opcode opcode = Opcode::revoke_token;
    Token token;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const RevokeToken&, const RevokeToken&) = default;
};
/// Ends all tokens and the lease of an image and tells its holders. Needs `manage` or the manager socket.
struct RevokeImage {
    static constexpr Opcode opcode = Opcode::revoke_image;
    ImageId image;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const RevokeImage&, const RevokeImage&) = default;
};
struct SetLease {
    static constexpr Opcode opcode = Opcode::set_lease;
    HandleId handle;
    std::uint64_t lease_ns = 0; ///< from now
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const SetLease&, const SetLease&) = default;
};
/// One way: no reply. An unknown handle is a protocol violation.
struct Release {
    static constexpr Opcode opcode = Opcode::release;
    HandleId handle;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Release&, const Release&) = default;
};
struct Inspect {
    static constexpr Opcode opcode = Opcode::inspect;
    ImageId image; ///< 0: everything this client may see
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Inspect&, const Inspect&) = default;
};
/// The descriptor is a sealed memfd with `size` bytes: a Snapshot in this encoding.
struct SnapshotReply {
    static constexpr Opcode opcode = Opcode::snapshot_reply;
    std::uint64_t size = 0;
    std::size_t fd_count() const { return 1; }
    friend bool operator==(const SnapshotReply&, const SnapshotReply&) = default;
};
struct Done {
    static constexpr Opcode opcode = Opcode::done;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Done&, const Done&) = default;
};

/// Ends a request that is not answered yet: it is answered with Errc::cancelled, and this with Done. Errc::not_found
/// when it was answered before.
struct Cancel {
    static constexpr Opcode opcode = Opcode::cancel;
    std::uint64_t request = 0; ///< its serial
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Cancel&, const Cancel&) = default;
};
/// Asks for the socket that takes requests with descriptors; this one takes none.
struct OpenChannel {
    static constexpr Opcode opcode = Opcode::open_channel;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const OpenChannel&, const OpenChannel&) = default;
};
/// The descriptor is a connected SEQPACKET socket. What is said there is answered here.
struct ChannelReply {
    static constexpr Opcode opcode = Opcode::channel_reply;
    std::size_t fd_count() const { return 1; }
    friend bool operator==(const ChannelReply&, const ChannelReply&) = default;
};

/// Event (serial 0): the channel is gone. What was said there and is not answered has this error, but for what had arrived.
struct ChannelLost {
    static constexpr Opcode opcode = Opcode::channel_lost;
    Errc code = Errc::interrupted;
    BoundedText<240> reason;
    BoundedVector<std::uint64_t, limits::pending_requests> arrived; ///< serials of what is being served and will be answered
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const ChannelLost&, const ChannelLost&) = default;
};

/// Event (serial 0): the image was revoked. What the client holds stays mapped; nobody new can open it.
struct ImageRevoked {
    static constexpr Opcode opcode = Opcode::image_revoked;
    HandleId handle;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const ImageRevoked&, const ImageRevoked&) = default;
};
/// Event (serial 0): somebody joined who could not use this image, and there is one now that everybody can
/// use. See Move. The old image stays as it is for whoever keeps it.
struct ImageReplaced {
    static constexpr Opcode opcode = Opcode::image_replaced;
    HandleId handle;
    ImageId successor;
    RequestId request; ///< why
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const ImageReplaced&, const ImageReplaced&) = default;
};
/// Event (serial 0): the last packet before the broker closes the connection.
struct Goodbye {
    static constexpr Opcode opcode = Opcode::goodbye;
    Errc code = Errc::shutting_down;
    BoundedText<240> reason;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Goodbye&, const Goodbye&) = default;
};

/// Worker to broker, once, when its devices were tried.
struct WorkerHello {
    static constexpr Opcode opcode = Opcode::worker_hello;
    std::vector<Exports> exports;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const WorkerHello&, const WorkerHello&) = default;
};
struct WorkerAllocate {
    static constexpr Opcode opcode = Opcode::worker_allocate;
    std::uint8_t device = 0; ///< index into WorkerHello::exports
    AllocateSpec spec;
    LayoutRules rules;
    bool has_contents = false;
    std::size_t fd_count() const { return has_contents ? 1 : 0; }
    friend bool operator==(const WorkerAllocate&, const WorkerAllocate&) = default;
};
struct WorkerImage {
    static constexpr Opcode opcode = Opcode::worker_image;
    ImageDesc desc;
    bool contents_written = false;
    std::size_t fd_count() const { return desc.memories.size(); }
    friend bool operator==(const WorkerImage&, const WorkerImage&) = default;
};

/// To a worker started with "prove": import this image through that API of that device, use it so, and compare what
/// is seen with the pattern of proof_pattern.hpp; with `render`, draw the inverse and let the CPU or the exporter look.
struct WorkerProve {
    static constexpr Opcode opcode = Opcode::worker_prove;
    Api api = Api::cpu;
    Device device; ///< the importer's
    Usage usage;
    ImageDesc desc;
    std::size_t fd_count() const { return desc.memories.size(); }
    friend bool operator==(const WorkerProve&, const WorkerProve&) = default;
};
struct WorkerProof {
    static constexpr Opcode opcode = Opcode::worker_proof;
    ProofResult result = ProofResult::impossible;
    BoundedText<160> reason;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const WorkerProof&, const WorkerProof&) = default;
};
/// All planes, tightly packed one after the other, into a sealed memfd.
struct WorkerRead {
    static constexpr Opcode opcode = Opcode::worker_read;
    ImageDesc desc;
    std::size_t fd_count() const { return desc.memories.size(); }
    friend bool operator==(const WorkerRead&, const WorkerRead&) = default;
};
struct WorkerPixels {
    static constexpr Opcode opcode = Opcode::worker_pixels;
    std::uint64_t cost_ns = 0;
    std::size_t fd_count() const { return 1; }
    friend bool operator==(const WorkerPixels&, const WorkerPixels&) = default;
};
/// The reverse. The pixels are the last descriptor.
struct WorkerWrite {
    static constexpr Opcode opcode = Opcode::worker_write;
    ImageDesc desc;
    std::size_t fd_count() const { return desc.memories.size() + 1; }
    friend bool operator==(const WorkerWrite&, const WorkerWrite&) = default;
};
/// Same size and format, by the GPU: the source's descriptors come first. At most limits::packet_fds together.
struct WorkerBlit {
    static constexpr Opcode opcode = Opcode::worker_blit;
    ImageDesc source;
    ImageDesc destination;
    std::size_t fd_count() const { return source.memories.size() + destination.memories.size(); }
    friend bool operator==(const WorkerBlit&, const WorkerBlit&) = default;
};
/// Answers WorkerWrite and WorkerBlit.
struct WorkerDone {
    static constexpr Opcode opcode = Opcode::worker_done;
    std::uint64_t cost_ns = 0;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const WorkerDone&, const WorkerDone&) = default;
};

using Request = std::variant<Hello, Allocate, Open, Register, MintToken, RevokeToken, RevokeImage, SetLease, Release, Inspect,
                             FindCapabilities, DefineCapabilities, Join, Move, Refresh, Why, ManageProofs, Cancel, OpenChannel>;
using Reply = std::variant<HelloReply, ErrorReply, ImageReply, TokenReply, SnapshotReply, Done, ImageRevoked, Goodbye,
                           CapabilitiesReply, Refreshed, WhyReply, ImageReplaced, ChannelReply, ChannelLost>;
using WorkerRequest = std::variant<WorkerAllocate, WorkerProve, WorkerRead, WorkerWrite, WorkerBlit>;
using WorkerReply = std::variant<WorkerHello, WorkerImage, ErrorReply, WorkerProof, WorkerPixels, WorkerDone>;

} // namespace dmb::wire
