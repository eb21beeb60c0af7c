// SPDX-License-Identifier: MIT
// The broker: every request, as rules over the State. It knows no socket, no event loop and no clock: requests come
// as values with the time, and so do answers.
#pragma once
#include "daemon/core/serving/joining.hpp"

namespace dmb {

/// A client that came back.
struct Resumed {
    ClientId client;
    ResumeKey key; ///< for the next time; the one that was shown is used up
};

/// What to do with a request by its number.
enum class Begin : std::uint8_t {
    fresh,    ///< serve it
    pending,  ///< it is being served
    answered, ///< it was: answer the same
    again,    ///< it was, and changed nothing: if this one changes nothing, too, serve it
    refused,
};
struct Begun {
    Begin begin = Begin::fresh;
    const Answer* answer = nullptr; ///< answered; valid until the broker is called again
    Error error;                    ///< refused
};

class Broker {
public:
    Broker(const Limits&, std::vector<Allocator*>, Pool&, Proofs&, const Helpers&, EventSink&, const Life& = {});

    /// To be saved, loaded and watched.
    State& state() { return state_; }

    // --- clients
    ClientId new_client_id() { return state_.new_client_id(); }
    /// After its hello. `id` is never reused.
    Result<> connect(ClientId id, const Peer&, bool manager, const Name& name);
    /// With it the client can come back after a restart; one it got before is void.
    Result<ResumeKey> make_resume_key(ClientId);
    /// Of a client of an earlier life of the broker, through the same kind of socket.
    Result<Resumed> resume(const ResumeKey&, const Peer&, bool manager);
    /// Everything it held is given back. Unknown ids are ignored.
    void disconnect(ClientId, Instant now);

    // --- numbers of requests. `fingerprint`: a hash of the request's bytes
    Begun begin(ClientId, std::uint64_t serial, std::uint64_t fingerprint, Way = Way::ordinary);
    /// For whoever repeats it. Operations note their answers themselves.
    void answered(ClientId, std::uint64_t serial, std::uint64_t fingerprint, Answer);
    /// Of an answer with holds. Errc::not_found: given back since.
    Result<Held> held(ClientId, HandleId) const;
    /// A request that is pending ends with Errc::cancelled by this. Errc::not_found: it is not.
    Result<> cancel(ClientId, std::uint64_t serial);

    // --- operations: `done` is called once, before this returns or later; never after the client disconnected
    void allocate(const OperationId&, const ImageRequest&, UniqueFd contents, Instant now, OperationDone done);
    void join(const OperationId&, const Token&, Rights, const Participant&, Instant now, OperationDone done);
    void refresh(const OperationId&, HandleId, Instant now, OperationDone done);
    void manage_proofs(const OperationId&, ProofAction, Instant now, OperationDone done);

    // --- requests
    /// Errc::too_many_requests: the client guesses tokens and must be cut.
    Result<Held> open(ClientId, const Token&, Rights, Usage, Instant now);
    Result<Held> move(ClientId id, HandleId handle, Instant now) { return joining_.move(id, handle, now); }
    Result<Held> register_image(ClientId, const ImageDesc&, ImageFds, const Order&);
    Result<Token> mint(ClientId, HandleId, const TokenTerms&, Instant now);
    Result<> revoke(ClientId, const Token&);
    Result<> revoke(ClientId, ImageId, Instant now);
    Result<> set_lease(ClientId, HandleId, std::uint64_t lease_ns, Instant now);
    /// Errc::protocol_violation for a handle the client does not have.
    Result<> release(ClientId, HandleId, Instant now);
    /// The process's own facts (pid, uptime, descriptors) are left to the caller.
    Result<Snapshot> inspect(ClientId, ImageId, Instant now) const;
    /// Tables and decisions.
    Deciding& deciding() { return deciding_; }

    void devices_changed(Instant now) { allocations_.devices_changed(now); }
    /// When expire() has something to do. It does so much at a time that nobody else waits for it.
    Instant deadline() const;
    void expire(Instant now);

private:
    /// Images that are being made for one request, one after the other.
    struct Making;
    using MakingPointer = std::unique_ptr<Making>;
    void let_go(const OperationId&);
    void clear_proofs(Instant now);
    bool begin_operation(const OperationId&, OperationKind, OperationDone);
    Result<> check_allocation(const OperationId&, const ImageRequest&, const UniqueFd& contents);
    void make_next(MakingPointer, Instant now);
    void made(MakingPointer, Outcome, Instant now);
    void finish(MakingPointer);
    Result<std::vector<Held>> add_all(Making&, DecisionRecord&);
    Result<std::vector<ImageId>> add_images(Making&);
    Result<Image> check_registration(ClientId, ImageDesc, ImageFds, MemoryKeys&) const;
    ImageInfo describe(const ImageRecord&, Instant now) const;
    ClientInfo describe(const ClientRecord&) const;

    State state_;
    Pool& pool_;
    Proofs& proofs_;
    Images images_;
    Operations operations_;
    Allocations allocations_;
    Deciding deciding_;
    Joining joining_;
    std::map<OperationId, Batch> warming_up_;
    Operation begun_; ///< the request that begin() saw last
};

} // namespace dmb
