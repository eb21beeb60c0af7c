// SPDX-License-Identifier: MIT
// State: all there is, the descriptors of images included, behind a list of mutators. What can be derived (sums of
// accounts, who holds an image, which leases end next) is kept right by them and made anew after a restart. It knows no
// rules but those that keep it whole: what may be done is for whoever calls.
#pragma once
#include "daemon/core/deciding/history.hpp"
#include "daemon/core/state/life.hpp"
#include "daemon/core/state/token_table.hpp"

#include <functional>
#include <map>
#include <unordered_map>

namespace dmb {

struct Saved;

/// What changed, for whoever keeps a copy.
struct Change {
    enum class What : std::uint8_t { client, image, hold, token, operation, decision } what;
    std::uint64_t id = 0;  ///< client, image or decision; of a hold or an operation its client's; of a token its lineage
    std::uint64_t sub = 0; ///< of a hold its handle, of an operation its serial
};

/// The socket that a request came over.
enum class Way : bool { ordinary, channel };

struct HoldId {
    ClientId client;
    HandleId handle;
};

struct HoldRecord : Hold {
    std::size_t position = 0; ///< in ImageRecord::holds
};

struct StatedTable {
    TablePointer table;
    bool pays = false; ///< not for whoever pays for the table itself
};

struct ClientRecord : ClientState {
    std::unordered_map<HandleId, HoldRecord> holds;
    std::vector<StatedTable> stated; ///< those of `tables`
    std::size_t oldest = 0;          ///< of `answers`, once there are answers_kept
    bool dormant = false;            ///< of an earlier life, and not back yet
};

struct ImageRecord : ImageState {
    ImageFds fds;                     ///< what clients get duplicates of, one per memory
    UniqueFd keeper, read_only;       ///< see has_keeper, has_read_only
    std::uint64_t unshared_count = 0; ///< as Allocated has it; 0 after a restart: it cannot be known then
    std::vector<HoldId> holds;
    DecisionPointer decided; ///< of `decision`
};

struct OperationRecord : Operation {
    Amount charge;          ///< for what it is making
    Payer payer;            ///< of the charge
    bool abandoned = false; ///< cancelled, or its client left; what it makes is not wanted
};

class State {
public:
    State(const Limits&, const Life&);
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    void on_change(std::function<void(const Change&)> changed) { changed_ = std::move(changed); }
    /// Asked before each number is given, with the highest so far: where to count on from, if not behind it.
    using MoreNumbers = std::function<std::optional<std::uint64_t>(std::uint64_t highest)>;
    void on_numbers(MoreNumbers more) { more_numbers_ = std::move(more); }

    const Limits& limits() const { return limits_; }
    const Life& life() const { return life_; }

    // --- readers: null when there is none
    const ClientRecord* find(ClientId) const;
    const ClientRecord& at(ClientId) const;
    const std::unordered_map<ClientId, ClientRecord>& clients() const { return clients_; }
    const ImageRecord* find(ImageId) const;
    const ImageRecord& at(ImageId) const;
    const std::unordered_map<ImageId, ImageRecord>& images() const { return images_; }
    const Hold* find(ClientId, HandleId) const;
    const TokenTable& tokens() const { return tokens_; }
    bool is_revoked(LineageId) const;
    std::uint32_t depth(LineageId) const;
    const OperationRecord* find(const OperationId&) const;
    const std::map<OperationId, OperationRecord>& operations() const { return operations_; }
    const Answer* find_answer(ClientId, std::uint64_t serial) const;
    const History& history() const { return history_; }
    TablePointer find_table(const Digest& digest) const { return tables_.find(digest); }
    Amount used(ClientId id) const { return accounts_->used(id); }
    /// True when `client` may register it: unknown, or registered by the same client before.
    bool may_register(const MemoryKeys&, ClientId) const;
    std::vector<ImageId> replaced_by(ImageId successor) const { return second_of(replaced_, successor); }
    std::vector<ImageId> copies_of(ImageId source) const { return second_of(copies_, source); }
    /// When a lease, a token or the wait for a client ends, or something is left to sweep.
    Instant deadline() const;
    /// The image whose lease ended first, if that is before; 0: none.
    ImageId lease_over(Instant now) const;
    /// One that did not come back in time; 0: none.
    ClientId overdue(Instant now) const;

    // --- clients
    ClientId new_client_id() { return {next_number(last_client_)}; }
    void add_client(ClientState);
    /// It holds nothing and has no operation any more.
    void remove_client(ClientId);
    void set_resume_key(ClientId, const Digest&);
    void wake(ClientId);
    void count_wrong_token(ClientId);
    /// False: it came before, as far as is remembered.
    bool note_request(ClientId, std::uint64_t serial, Way);
    void note_answer(ClientId, Answer);
    /// Charged for all its rows that are expected. On failure none is being stated any more.
    Result<> set_partial_table(ClientId, PartialTable);
    /// Whoever states a table pays for it, also when others stated the same: they may leave first.
    Result<> add_table(ClientId, const Digest&, Capabilities);
    Result<> keep_table(ClientId, const Digest&, const TablePointer&);

    // --- images and holds
    /// The number and everything that `memory` has is set by this; its cost is taken.
    Result<ImageId> add_image(ImageState, Allocated memory);
    /// Nobody holds it; its tokens must have got another end.
    Allocated remove_image(ImageId);
    void set_lease(ImageId, Instant end);
    void set_successor(ImageId, ImageId successor);
    void set_source(ImageId, ImageId source);
    void set_decision(ImageId, DecisionPointer);
    void note_copied(ImageId, std::uint64_t cost_ns, Rung);
    void mark_revoked(ImageId);
    /// A client other than its owner has it.
    void mark_shared(ImageId, bool may_reopen);
    /// The readers' descriptor; its cost is taken.
    Result<> add_read_only(ImageId, const std::function<Result<UniqueFd>()>& open);
    /// The handle is set by this.
    Result<const Hold*> add_hold(Hold);
    void remove_hold(ClientId, HandleId);

    // --- tokens
    /// Sets token and lineage and takes the cost. `parent`: of the hold that mints it.
    Result<Token> add_token(TokenRecord, LineageId parent);
    /// The token as it is now: if its end is due, this ends it. Null: it opens nothing.
    const TokenRecord* live(const Token&, Instant now);
    void end_token(Token, TokenEnd);
    /// All of the object: at once as far as nobody feels it, the rest when sweep() comes to it; live() knows.
    void end_tokens(const ObjectId&, TokenEnd);
    void lead_tokens(const ObjectId&, const ObjectId& to);
    /// With all its descendants, of whatever object.
    void revoke(LineageId, const ObjectId&);
    /// Ends what is due, at most so many. Returns how many more it could have ended.
    std::size_t sweep(Instant now, std::size_t most);

    // --- operations and decisions
    void begin_operation(const Operation&);
    /// For what it is going to make, instead of what was taken before.
    Result<> charge(const OperationId&, const Amount&);
    void abandon(const OperationId&);
    void end_operation(const OperationId&);
    RequestId new_decision_id() { return {next_number(last_decision_)}; }
    void add_decision(DecisionPointer);

    // --- whole
    /// Borrowed descriptors, in the order in which load() wants them.
    Saved save(std::vector<int>& fds);
    /// Into an empty State. Clients are dormant then, and operations have ended as interrupted.
    Result<> load(Saved, std::vector<UniqueFd> fds, Instant now);

private:
    struct LineageRecord : Lineage {
        std::uint32_t uses = 0; ///< by holds, tokens and children
    };
    struct KnownMemory {
        ClientId client; ///< who registered it; 0: the broker's own
        std::uint32_t images = 0;
    };
    struct Ending {
        std::optional<ObjectId> to; ///< nothing: they end
        TokenEnd why = TokenEnd::object_gone;
    };
    using Pairs = std::set<std::pair<ImageId, ImageId>>;

    std::uint64_t next_number(std::uint64_t& last);
    void changed(Change::What what, std::uint64_t id, std::uint64_t sub = 0) const;
    ClientRecord& client(ClientId id) { return clients_.find(id)->second; }
    ImageRecord& image(ImageId id) { return images_.find(id)->second; }
    static std::vector<ImageId> second_of(const Pairs&, ImageId first);
    void index(const ImageRecord&);
    void unindex(const ImageRecord&);
    void link(HoldRecord&);
    void use(LineageId);
    void drop(LineageId);
    void begin_ending(const ObjectId&, const Ending&);
    std::size_t sweep_endings(std::size_t most);
    std::size_t sweep_revoked(std::size_t most);
    void apply(const Ending&, Token);

    Result<> load_tables(Saved&, std::vector<TablePointer>& kept);
    Result<> load_clients(Saved&);
    Result<> load_lineages(const Saved&);
    Result<> load_images(Saved&, std::vector<UniqueFd>);
    Result<> load_holds(Saved&);
    Result<> load_tokens(const Saved&);
    Result<> load_decisions(Saved&);
    Result<> find_table_of(Party&) const;
    void interrupt(const Operation&);

    Limits limits_;
    Life life_;
    std::function<void(const Change&)> changed_;
    MoreNumbers more_numbers_;
    std::shared_ptr<Accounts> accounts_;
    Tables tables_;
    std::unordered_map<ClientId, ClientRecord> clients_;
    std::unordered_map<ImageId, ImageRecord> images_;
    std::unordered_map<LineageId, LineageRecord> lineages_;
    TokenTable tokens_;
    std::map<OperationId, OperationRecord> operations_;
    History history_;
    std::uint64_t last_client_, last_image_, last_decision_, last_lineage_ = 0;

    std::unordered_map<MemoryKey, KnownMemory> memory_;
    std::set<std::pair<Instant, ImageId>> leases_;
    Pairs replaced_; ///< successor, whom it replaces
    Pairs copies_;   ///< source, copy
    std::set<ClientId> dormant_;
    Instant dormant_until_ = never;
    std::map<ObjectId, Ending> endings_;          ///< of tokens, not complete yet
    std::map<ObjectId, std::size_t> revocations_; ///< how many of its tokens are still to be looked at
};

} // namespace dmb
