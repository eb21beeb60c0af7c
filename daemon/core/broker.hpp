// SPDX-License-Identifier: MIT
// The broker: clients, images, tokens and leases, and every rule about them. It knows no socket, no
// event loop and no clock: requests come as messages with the time, answers are values.
#pragma once
#include "daemon/core/allocation.hpp"
#include "daemon/core/events.hpp"
#include "daemon/core/registry.hpp"

#include <set>

namespace dmb {

/// What a client gets for Allocate, Open and Register. Pointers and descriptors are borrowed until the
/// broker is called again.
struct Held {
    HandleId handle;
    ImageId image;
    Rights rights;
    Protection protection = Protection::none;
    bool contents_written = false;
    const ImageDesc* desc = nullptr;
    BoundedVector<int, max_planes> fds;
};

struct AllocationAnswer {
    Result<Held> held;
    std::vector<wire::Candidate> candidates; ///< in the order considered
};
using AllocationDone = std::move_only_function<void(const AllocationAnswer&)>;

class Broker {
public:
    Broker(const Limits&, std::vector<Allocator*>, Pool&, EventSink&);

    /// After its hello. `id` is never reused.
    Result<> connect(ClientId id, const Peer&, bool manager, const wire::Name& name);
    /// Everything it held is given back. Unknown ids are ignored.
    void disconnect(ClientId, Instant now);

    /// `done` is called once, before this returns or later; never after the client disconnected.
    void allocate(ClientId, const wire::Allocate&, UniqueFd contents, Instant now, AllocationDone done);
    /// Errc::too_many_requests: the client guesses tokens and must be cut.
    Result<Held> open(ClientId, const wire::Open&, Instant now);
    Result<Held> register_image(ClientId, const wire::Register&, ImageFds, Instant now);
    Result<wire::TokenReply> mint(ClientId, const wire::MintToken&, Instant now);
    Result<> revoke(ClientId, const wire::RevokeToken&, Instant now);
    Result<> revoke(ClientId, const wire::RevokeImage&, Instant now);
    Result<> set_lease(ClientId, const wire::SetLease&, Instant now);
    /// Errc::protocol_violation for a handle the client does not have.
    Result<> release(ClientId, HandleId, Instant now);
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
    Result<ImageRecord*> add_image(ClientRecord&, Allocated, Charge, const Order&);
    Result<Held> hold(ClientRecord&, ImageRecord&, Rights, LineagePointer origin);
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
    void use_read_only(ImageRecord&, Held&);
    Result<Image> check_registration(ClientId, const wire::Register&, ImageFds, MemoryKeys&) const;
    ImageInfo describe(const ImageRecord&, Instant now) const;
    ClientInfo describe(const ClientRecord&) const;

    Limits limits_;
    Pool& pool_;
    EventSink& events_;
    Allocations allocations_;
    UserAccounts users_;
    MemoryIndex memory_;
    TokenTable tokens_;
    std::unordered_map<ClientId, ClientRecord> clients_;
    std::unordered_map<ImageId, ImageRecord> images_;
    std::set<Lease> leases_;
    std::uint64_t last_image_ = 0;
};

} // namespace dmb
