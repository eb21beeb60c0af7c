// SPDX-License-Identifier: MIT
// The broker: clients, images, tokens and leases, and every rule about them. It knows no socket, no
// event loop and no clock: requests come as messages with the time, answers are values.
#pragma once
#include "daemon/core/serving/allocation.hpp"
#include "daemon/core/serving/events.hpp"
#include "daemon/core/state/registry.hpp"
#include "daemon/policy/log_budget.hpp"

#include <set>

namespace dmb {

/// What a client gets for Allocate, Open and Register. Pointers and descriptors are borrowed until the
/// broker is called again.
struct Held {
    HandleId handle;
    ImageId image;
    RequestId request; ///< whose decision it came from; 0: none
    ImageId source;    ///< it is a copy of that image; 0: it is not
    Rights rights;
    Protection protection = Protection::none;
    bool contents_written = false;
    const ImageDesc* desc = nullptr;
    BoundedVector<int, max_planes> fds;
};

struct AllocationAnswer {
    Result<Held> held;
    std::vector<wire::Candidate> candidates; ///< in the order considered
    RequestId request;                       ///< for `why`; 0: nothing was negotiated
};
using AllocationDone = std::move_only_function<void(const AllocationAnswer&)>;
using RefreshDone = std::move_only_function<void(Result<std::uint64_t> cost_ns)>;

class Broker {
public:
    Broker(const Limits&, std::vector<Allocator*>, Pool&, Proofs&, const Helpers&, EventSink&);

    /// After its hello. `id` is never reused.
    Result<> connect(ClientId id, const Peer&, bool manager, const wire::Name& name);
    /// Everything it held is given back. Unknown ids are ignored.
    void disconnect(ClientId, Instant now);

    /// `done` is called once, before this returns or later; never after the client disconnected.
    void allocate(ClientId, const wire::Allocate&, UniqueFd contents, Instant now, AllocationDone done);
    /// Errc::too_many_requests: the client guesses tokens and must be cut.
    Result<Held> open(ClientId, const wire::Open&, Instant now);
    /// As allocate().
    void join(ClientId, const wire::Join&, Instant now, AllocationDone done);
    Result<Held> move(ClientId, const wire::Move&, Instant now);
    /// As allocate().
    void refresh(ClientId, const wire::Refresh&, Instant now, RefreshDone done);
    Result<Held> register_image(ClientId, const wire::Register&, ImageFds, Instant now);
    Result<wire::TokenReply> mint(ClientId, const wire::MintToken&, Instant now);
    Result<> revoke(ClientId, const wire::RevokeToken&, Instant now);
    Result<> revoke(ClientId, const wire::RevokeImage&, Instant now);
    Result<> set_lease(ClientId, const wire::SetLease&, Instant now);
    /// Errc::protocol_violation for a handle the client does not have.
    Result<> release(ClientId, HandleId, Instant now);

    Result<bool> find_table(ClientId, const wire::FindCapabilities&);
    /// With the last part, the bytes of the whole table, for their digest to be computed and to be decoded.
    Result<std::optional<std::vector<std::byte>>> define_table(ClientId, const wire::DefineCapabilities&);
    /// `digest` is that of the table's bytes, not what a client says it is.
    Result<> keep_table(ClientId, const Digest&, Capabilities);
    Result<Decision> why(ClientId, const wire::Why&, Instant now) const;
    Result<> manage_proofs(ClientId, const wire::ManageProofs&, Instant now);

    /// The process's own facts (pid, uptime, descriptors) are left to the caller.
    Result<Snapshot> inspect(ClientId, ImageId, Instant now) const;

    void devices_changed(Instant now) { allocations_.devices_changed(now); }
    /// When expire() has something to do.
    Instant deadline() const;
    void expire(Instant now);

    std::size_t image_count() const { return images_.size(); }
    std::size_t token_count() const { return tokens_.size(); }

private:
    using Lease = std::pair<Instant, ImageId>;

    ClientRecord& client(ClientId);
    struct Order {
        wire::Name label;
        std::uint64_t lease_ns;
        Instant now;
    };
    void allocated(ClientId, const Order&, Charge, Outcome, AllocationDone);
    Result<> keep_table(ClientRecord&, TablePointer);
    static Result<Charge> charge_table(const ClientRecord&, std::size_t rows);
    Result<Wish> wish_of(const wire::Allocate&) const;
    /// `speaker`: who says it of itself; null: said of somebody else.
    Result<Party> party_of(const wire::Participant&, const ClientRecord* speaker) const;
    DecisionPointer decide(const ClientRecord&, DecisionRecord, Outcome, const Order&, ImageId);

    struct Joining;
    using JoiningPointer = std::unique_ptr<Joining>;
    Result<JoiningPointer> begin_joining(ClientId, const wire::Join&, Instant now);
    void join_image(JoiningPointer, Instant now);
    bool prove_for(JoiningPointer&, const ImageRecord&, Instant now);
    void renegotiate(JoiningPointer, ImageRecord&, Instant now);
    void make_copy(JoiningPointer, const ImageRecord&, Instant now);
    void make_image(JoiningPointer, const ImageRecord&, Wish, Instant now);
    void image_made(JoiningPointer, Outcome, Instant now);
    void image_failed(JoiningPointer, const Error&, Instant now);
    void image_filled(JoiningPointer, const Result<Copied>&, Instant now);
    Result<Held> add_joined(Joining&, const Copied&, Instant now);
    Result<Held> hold_joined(const Joining&, ImageRecord&);
    bool was_overtaken(const Joining&) const;
    void start_again(JoiningPointer, Instant now);
    void finish_joining(JoiningPointer, Result<Held>, Instant now);
    void replace(ImageRecord& old, const ImageRecord& successor);
    BoundedText<160> misfit(const ImageRecord&, const Party&) const;
    std::optional<Wish> wish_of_all(const ImageRecord&, const Party& joiner) const;
    CopyEnd end_of(const Allocated&) const;
    static bool may_be_read_only(const wire::Open&, const ImageDesc&);
    Result<ImageRecord*> add_image(ClientRecord&, Allocated, Charge, const Order&);
    Result<Held> hold(ClientRecord&, ImageRecord&, Rights, LineagePointer origin);
    /// What a token, or an older hold, allows.
    struct Grant {
        Rights rights;
        Usage usage;
        bool enforced;
        LineagePointer origin;
    };
    Result<Held> hold_as(ClientRecord&, ImageRecord&, const Grant&);
    const TokenRecord* find_token(const Token&);
    ImageRecord& latest(ImageRecord&);
    void hand_over(ImageRecord&);
    Held describe(const Hold&, const ImageRecord&) const;
    void drop(ClientRecord&, Hold&, Instant now);
    void change_lease(ImageRecord&, Instant end);
    void free_if_unused(ImageRecord&, Instant now);
    void end_token(ImageRecord&, const Token&, TokenEnd);
    void end_all_tokens(ImageRecord&, TokenEnd);
    void end_revoked_tokens(ImageRecord&);
    Error wrong_token(ClientRecord&, const Token&);
    static Result<> check_token(const TokenRecord&, const wire::Open&, const ImageDesc&);
    bool may_manage(const ClientRecord&, const ImageRecord&) const;
    static bool open_read_only(ImageRecord&);
    Result<Image> check_registration(ClientId, const wire::Register&, ImageFds, MemoryKeys&) const;
    ImageInfo describe(const ImageRecord&, Instant now) const;
    ClientInfo describe(const ClientRecord&) const;

    Limits limits_;
    Pool& pool_;
    EventSink& events_;
    Proofs& proofs_;
    Allocations allocations_;
    Copying copying_;
    Tables tables_;
    Decisions decisions_;
    LogBudget log_budget_;
    UserAccounts users_;
    MemoryIndex memory_;
    TokenTable tokens_;
    std::unordered_map<ClientId, ClientRecord> clients_;
    std::unordered_map<ImageId, ImageRecord> images_;
    std::set<Lease> leases_;
    std::uint64_t last_image_ = 0;
};

} // namespace dmb
