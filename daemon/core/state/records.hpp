// SPDX-License-Identifier: MIT
// What there is, as plain values: whoever has these, and the images' descriptors, can go on where another broker
// stopped. They name each other by number. state.hpp keeps them; saved.hpp lists their fields.
#pragma once
#include "daemon/alloc/allocated.hpp"
#include "daemon/core/deciding/party.hpp"
#include "daemon/core/state/tables.hpp"
#include "daemon/policy/peer.hpp"
#include "proto/base/instant.hpp"
#include "proto/inspect/snapshot.hpp"

#include <optional>
#include <string>

namespace dmb {

enum class ObjectKind : std::uint8_t { image = 1 };
constexpr bool is_valid(ObjectKind k) { return k == ObjectKind::image; }

/// What tokens lead to and what clients hold.
struct ObjectId {
    ObjectKind kind{};
    std::uint64_t id = 0;
    friend constexpr auto operator<=>(const ObjectId&, const ObjectId&) = default;
};
constexpr ObjectId object_of(ImageId image) { return {ObjectKind::image, image.value}; }
/// 0 when it is something else.
constexpr ImageId image_of(const ObjectId& object) { return {object.kind == ObjectKind::image ? object.id : 0}; }

using LineageId = Strong<struct LineageTag, std::uint64_t>;

/// Where a token came from: what remains of it for those who opened or were given something through
/// it, also when it has ended. Revoking a token reaches all its descendants.
struct Lineage {
    LineageId id;
    LineageId parent; ///< 0: minted by whoever made the object
    std::uint32_t depth = 0;
    bool revoked = false;
};
/// How often rights may be passed on from one to the next.
inline constexpr std::uint32_t most_depth = 64;

struct TokenRecord {
    Token token;
    LineageId lineage;
    ObjectId object;
    Rights rights;
    bool one_shot = false;
    bool enforced = false;
    Instant expires = never;
    Payer payer;
};

enum class TokenEnd : std::uint8_t { expired = 1, revoked, used, object_gone };
constexpr bool is_valid(TokenEnd e) { return e >= TokenEnd::expired && e <= TokenEnd::object_gone; }

struct EndedToken {
    Token token;
    LineageId lineage;
    ObjectId object;
    TokenEnd why = TokenEnd::expired;
};

/// Whether a holder said what it can import: when it joined (itself), or as somebody named in its own request.
enum class Said : std::uint8_t { nothing = 1, in_request, itself };
constexpr bool is_valid(Said s) { return s >= Said::nothing && s <= Said::itself; }

/// One client's hold on one object.
struct Hold {
    ClientId client;
    HandleId handle;
    ObjectId object;
    Rights rights;
    LineageId origin;       ///< of the token it was opened with; 0: made by this client
    Usage usage;            ///< what the holder said it does with it
    bool enforced = false;  ///< the token wants it kept from writing
    bool read_only = false; ///< it has the readers' descriptor
    Said said = Said::nothing;
    std::shared_ptr<const Party> party; ///< Said::itself
};

/// Of an image that was made because somebody could not import another one.
struct CopyState {
    ImageId source; ///< 0: it is no copy
    CopyInfo info;
    Rung memory_rung = Rung::copy; ///< what its memory is without the copying; goes with it to the pool
};

struct ImageState {
    ImageId id;
    Payer owner; ///< who made it; the client may be gone
    std::uint32_t owner_uid = 0;
    ImageDesc desc;
    MemoryKeys keys;            ///< one per memory; none for opaque memory
    bool has_keeper = false;    ///< memfd: there is an open file that never leaves the broker
    bool has_read_only = false; ///< memfd of the broker: there is a descriptor for readers
    Name label;
    Instant created;
    Instant lease_end; ///< Instant{}: none
    bool revoked = false;
    bool was_shared = false;    ///< a client other than the owner opened it
    bool may_reopen = false;    ///< somebody who had it may open it anew without a descriptor (Peer::may_reopen)
    RequestId decision;         ///< 0: registered
    std::optional<Wish> wanted; ///< whom it was made for, without alternatives; nothing: registered
    ImageId successor;          ///< which everybody who joined can import; 0: none
    CopyState copy;

    Amount cost() const
    {
        const auto fds = static_cast<std::uint32_t>(desc.memories.size()) + has_keeper + has_read_only;
        return {.bytes = desc.total_size(), .images = 1, .fds = fds, .tokens = 0};
    }
    bool has_lease(Instant now) const { return lease_end > now; }
};

enum class OperationKind : std::uint8_t { allocate = 1, join, refresh, warm_up };
constexpr bool is_valid(OperationKind k) { return k >= OperationKind::allocate && k <= OperationKind::warm_up; }

/// A request by its number, which no other of that client ever has.
struct OperationId {
    ClientId client;
    std::uint64_t serial = 0;
    friend constexpr auto operator<=>(const OperationId&, const OperationId&) = default;
};

/// A request that takes time. After a restart it ends with Errc::interrupted.
struct Operation {
    OperationId id;
    std::uint64_t fingerprint = 0;
    OperationKind kind = OperationKind::allocate;
};

enum class AnswerKind : std::uint8_t {
    again = 1, ///< it changed nothing: whoever repeats it is answered anew
    done,
    holds,
    token,
    number,
    error,
};
constexpr bool is_valid(AnswerKind k) { return k >= AnswerKind::again && k <= AnswerKind::error; }

/// What a request was answered, for whoever repeats it.
struct Answer {
    std::uint64_t serial = 0;
    std::uint64_t fingerprint = 0; ///< of the request's bytes
    AnswerKind kind = AnswerKind::again;
    HandleId first; ///< holds: the first of `number`, one after the other
    std::uint64_t number = 0;
    bool contents_written = false;
    Token token;
    Rights rights;
    Errc code = Errc::internal;
    std::string reason;
    RequestId request; ///< error: for `why`
};
inline constexpr std::size_t answers_kept = 32;

struct ClientState {
    ClientId id;
    Peer peer;
    Name name;
    bool manager = false;
    std::uint32_t last_handle = 0;
    std::uint32_t wrong_tokens = 0;
    Digest resume_key{};                   ///< SHA-256; zero: it cannot come back
    std::uint64_t last_serial = 0;         ///< of its requests over the ordinary socket
    std::uint64_t last_channel_serial = 0; ///< of those with descriptors
    std::vector<Answer> answers;           ///< the last ones
    std::vector<Digest> tables;
    PartialTable partial;

    Payer payer() const { return {id, account_key(peer, id.value)}; }
};

} // namespace dmb

template <> struct std::hash<dmb::ObjectId> {
    std::size_t operator()(const dmb::ObjectId& o) const { return o.id * 8 + static_cast<std::size_t>(o.kind); }
};
