// SPDX-License-Identifier: MIT
// The protocol: one passive struct per message. Descriptors are not part of the bytes: each message
// says through fd_count() how many must come with it, in the order of `memories`. PROTOCOL.md is the
// prose; serialisation is in fields.hpp. An opcode never changes shape.
#pragma once
#include "proto/base/errc.hpp"
#include "proto/base/result.hpp"
#include "proto/inspect/snapshot.hpp"
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
    worker_hello = 64,
    worker_allocate,
    worker_image,
};

using Name = BoundedText<limits::name_bytes>;

/// First message of a client, within limits::hello_deadline_ns.
struct Hello {
    static constexpr Opcode opcode = Opcode::hello;
    std::uint32_t magic = wire::magic;
    std::uint16_t oldest_version = version;
    std::uint16_t newest_version = version;
    std::uint64_t features = 0;
    Name name; ///< what `list` shows
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const Hello&, const Hello&) = default;
};
struct HelloReply {
    static constexpr Opcode opcode = Opcode::hello_reply;
    std::uint16_t version = wire::version;
    std::uint64_t features = 0;
    ClientId client;
    bool manager = false; ///< this connection came through the manager socket and sees everything
    Name server;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const HelloReply&, const HelloReply&) = default;
};

/// What became of one way to serve a request. The list of these is the answer to "why".
enum class Verdict : std::uint8_t {
    chosen = 1,
    refused = 2, ///< could not serve it: the reason says what removed it
    failed = 3,  ///< was tried and failed
};
constexpr bool is_valid(Verdict v) { return v >= Verdict::chosen && v <= Verdict::failed; }
std::string_view name(Verdict);
struct Candidate {
    Backend backend = Backend::memfd;
    BoundedText<64> device; ///< node or name; empty for system memory
    Verdict verdict = Verdict::refused;
    BoundedText<160> reason;
    friend bool operator==(const Candidate&, const Candidate&) = default;
};
using Candidates = BoundedVector<Candidate, limits::candidates>;

/// The typed answer to a request that failed.
struct ErrorReply {
    static constexpr Opcode opcode = Opcode::error_reply;
    Errc code = Errc::internal;
    BoundedText<240> reason;
    Candidates candidates; ///< of an allocation; else empty
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const ErrorReply&, const ErrorReply&) = default;
};

struct AllocateSpec {
    Extent size;
    FourCC format;
    BoundedVector<Modifier, limits::modifiers> modifiers; ///< acceptable ones, best first; empty: any
    Usage usage;
    BackendSet backends; ///< acceptable ones; empty: any
    Rung minimum_rung = Rung::copy;
    Colour colour;
    Name device; ///< node, name or UUID of the device it must come from; empty: any
    friend bool operator==(const AllocateSpec&, const AllocateSpec&) = default;
};
/// With initial contents: one sealed memfd, planes tightly packed (row_bytes × rows) one after the other.
struct Allocate {
    static constexpr Opcode opcode = Opcode::allocate;
    AllocateSpec spec;
    Name label;
    std::uint64_t lease_ns = 0; ///< 0: lives as long as somebody holds it; `forever`: until revoked
    bool has_contents = false;
    std::size_t fd_count() const { return has_contents ? 1 : 0; }
    friend bool operator==(const Allocate&, const Allocate&) = default;
};
/// Answers Allocate, Open and Register (Register: without descriptors, the client has them).
struct ImageReply {
    static constexpr Opcode opcode = Opcode::image_reply;
    HandleId handle;
    ImageId image;
    Rights rights;
    Protection protection = Protection::none;
    bool contents_written = false; ///< false: the client writes its initial contents itself
    bool has_fds = true;
    ImageDesc desc;
    Candidates candidates;
    std::size_t fd_count() const { return has_fds ? desc.memories.size() : 0; }
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

/// Event (serial 0): the image was revoked. What the client holds stays mapped; nobody new can open it.
struct ImageRevoked {
    static constexpr Opcode opcode = Opcode::image_revoked;
    HandleId handle;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const ImageRevoked&, const ImageRevoked&) = default;
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
    std::vector<DeviceInfo> devices;
    std::vector<FormatSupport> formats;
    std::size_t fd_count() const { return 0; }
    friend bool operator==(const WorkerHello&, const WorkerHello&) = default;
};
struct WorkerAllocate {
    static constexpr Opcode opcode = Opcode::worker_allocate;
    std::uint8_t device = 0; ///< index into WorkerHello::devices
    AllocateSpec spec;
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

using Request = std::variant<Hello, Allocate, Open, Register, MintToken, RevokeToken, RevokeImage, SetLease, Release, Inspect>;
using Reply = std::variant<HelloReply, ErrorReply, ImageReply, TokenReply, SnapshotReply, Done, ImageRevoked, Goodbye>;
using WorkerRequest = std::variant<WorkerAllocate>;
using WorkerReply = std::variant<WorkerHello, WorkerImage, ErrorReply>;

} // namespace dmb::wire
