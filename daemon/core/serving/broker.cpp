// SPDX-License-Identifier: MIT
// The Broker, made by main() and called by net/server: requests that are answered at once, clients, numbers of
// requests, time. Requests that make images are in making.cpp and registration.cpp, inspection in report.cpp; what
// takes several steps is in allocation, joining and copying. Every request is checked here against the rights of who
// asks; State is only told what to change.
#include "daemon/core/serving/broker.hpp"

#include "proto/base/sha256.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

namespace dmb {
namespace {

/// Of one client, being served, or cancelled and not yet let go by whoever serves them.
constexpr std::size_t most_operations = 4 * limits::pending_requests;

/// What expire() may do at a time, half a millisecond; an image that ends costs as much as so many tokens.
constexpr std::size_t most_ends = 256, image_end = 16;

} // namespace

Broker::Broker(const Limits& limits, std::vector<Allocator*> allocators, Pool& pool, Proofs& proofs, const Helpers& helpers,
               EventSink& events, const Life& life)
    : state_(limits, life),
      pool_(pool),
      proofs_(proofs),
      images_(state_, pool, events),
      operations_(state_),
      allocations_(std::move(allocators), pool, proofs, helpers),
      deciding_(state_),
      joining_(state_, images_, operations_, allocations_, deciding_, events, helpers.system)
{
}

// --- clients ---------------------------------------------------------------------------------------

Result<> Broker::connect(ClientId id, const Peer& peer, bool manager, const Name& name)
{
    TRY(check_label(name));
    state_.add_client({.id = id, .peer = peer, .name = name, .manager = manager});
    return {};
}

Result<ResumeKey> Broker::make_resume_key(ClientId id)
{
    std::array<std::uint64_t, 2> random;
    for (std::uint64_t& part : random) part = TRY(make_key());
    const auto key = std::bit_cast<ResumeKey>(random);
    state_.set_resume_key(id, sha256(key));
    return key;
}

Result<Resumed> Broker::resume(const ResumeKey& key, const Peer& peer, bool manager)
{
    const Digest hash = sha256(key);
    const auto is_it = [&](const auto& entry) { return entry.second.resume_key == hash; };
    const auto found = std::ranges::find_if(state_.clients(), is_it);
    if (found == state_.clients().end())
        return fail(Errc::not_found, "no client has this resume key: it was used, or its client was given up; connect anew");
    const ClientRecord& client = found->second;
    if (client.peer.uid != peer.uid || client.peer.unmapped != peer.unmapped)
        return fail(Errc::denied, "the resume key is another user's");
    if (client.manager != manager) return fail(Errc::denied, "the resume key is for the other kind of socket");
    if (!client.dormant) return fail(Errc::denied, "the client of this resume key is connected");
    const ResumeKey next = TRY(make_resume_key(client.id));
    state_.wake(client.id);
    return Resumed{client.id, next};
}

void Broker::disconnect(ClientId id, Instant now)
{
    const ClientRecord* client = state_.find(id);
    if (!client) return;
    for (const OperationId& operation : operations_.abandon_all(id)) let_go(operation);
    while (!client->holds.empty()) images_.drop(id, client->holds.begin()->first, now);
    pool_.forget(id);
    state_.remove_client(id);
}

// --- numbers of requests ---------------------------------------------------------------------------

Begun Broker::begin(ClientId id, std::uint64_t serial, std::uint64_t fingerprint, Way way)
{
    const auto refuse = [](const char* why) { return Begun{Begin::refused, nullptr, {Errc::invalid_argument, why}}; };
    if (state_.note_request(id, serial, way)) {
        begun_ = {.id = {id, serial}, .fingerprint = fingerprint};
        return {};
    }
    const OperationRecord* operation = state_.find(OperationId{id, serial});
    const bool pending = operation && !operation->abandoned;
    const Answer* answer = state_.find_answer(id, serial); // of an abandoned one: that it was cancelled
    if (!pending && !answer) return refuse("this request's number was used, and what it was answered is forgotten");
    if ((pending ? operation->fingerprint : answer->fingerprint) != fingerprint)
        return refuse("another request had this number; numbers never repeat");
    if (pending) return {Begin::pending, nullptr, {}};
    if (answer->kind == AnswerKind::again) return {Begin::again, nullptr, {}};
    return {Begin::answered, answer, {}};
}

void Broker::answered(ClientId id, std::uint64_t serial, std::uint64_t fingerprint, Answer answer)
{
    answer.serial = serial;
    answer.fingerprint = fingerprint;
    if (state_.find(id)) state_.note_answer(id, std::move(answer));
}

Result<Held> Broker::held(ClientId id, HandleId handle) const
{
    const Hold* hold = TRY(images_.find_hold(id, handle));
    return images_.describe(*hold);
}

Result<> Broker::cancel(ClientId id, std::uint64_t serial)
{
    const OperationId operation{id, serial};
    if (!operations_.cancel(operation)) return fail(Errc::not_found, "no request {} of this client is pending", serial);
    let_go(operation);
    return {};
}

// --- operations ------------------------------------------------------------------------------------

/// Nobody wants it any more: what has not begun need not.
void Broker::let_go(const OperationId& id)
{
    const auto trials = warming_up_.extract(id);
    if (trials) allocations_.trials().cancel(trials.mapped());
    if (trials || allocations_.forget(id)) operations_.finish(id, {std::unexpected(Error{}), {}});
}

/// False: it has been refused. Those that were cancelled count as long as a worker has them.
bool Broker::begin_operation(const OperationId& id, OperationKind kind, OperationDone done)
{
    if (operations_.count(id.client) >= most_operations) {
        done({fail(Errc::quota_exceeded, "{} requests of this client are not done, cancelled ones among them; wait for them",
                   most_operations),
              {}});
        return false;
    }
    const std::uint64_t fingerprint = begun_.id == id ? begun_.fingerprint : 0;
    operations_.begin({id, fingerprint, kind}, std::move(done));
    return true;
}

void Broker::join(const OperationId& id, const Token& token, Rights rights, const Participant& participant, Instant now,
                  OperationDone done)
{
    if (begin_operation(id, OperationKind::join, std::move(done))) joining_.join(id, token, rights, participant, now);
}

void Broker::refresh(const OperationId& id, HandleId handle, Instant now, OperationDone done)
{
    if (begin_operation(id, OperationKind::refresh, std::move(done))) joining_.refresh(id, handle, now);
}

void Broker::clear_proofs(Instant now)
{
    proofs_.clear();
    allocations_.devices_changed(now);
}

void Broker::manage_proofs(const OperationId& id, ProofAction action, Instant now, OperationDone done)
{
    if (!begin_operation(id, OperationKind::warm_up, std::move(done))) return;
    if (!state_.at(id.client).manager)
        return operations_.finish(id, {fail(Errc::denied, "only a manager connection may clear or warm proofs"), {}});
    if (action == ProofAction::clear) {
        clear_proofs(now);
        return operations_.finish(id, {});
    }
    std::vector<Party> importers;
    for (const auto& [_, other] : state_.clients())
        for (const StatedTable& stated : other.stated)
            importers.push_back({.demands = {.name = other.name, .usage = UsageFlag::sample}, .table = stated.table});
    const Batch trials = allocations_.warm_up(now, std::move(importers), [this, id](Instant) {
        warming_up_.erase(id);
        operations_.finish(id, {});
    });
    if (operations_.is_wanted(id)) warming_up_.emplace(id, trials);
}

// --- images ----------------------------------------------------------------------------------------

Result<Held> Broker::open(ClientId id, const Token& name, Rights rights, Usage usage, Instant now)
{
    const TokenRecord* token = TRY(images_.find_token(id, name, now));
    const ImageId image = image_of(token->object);
    TRY(Images::check_token(*token, rights, usage, state_.at(image).desc));
    Held held = TRY(images_.hold_as(id, image, {rights, usage, token->enforced, token->lineage}));
    images_.use_up(*token);
    return held;
}

Result<> Broker::release(ClientId id, HandleId handle, Instant now)
{
    if (!state_.find(id, handle))
        return fail(Errc::protocol_violation, "released handle {}, which it does not have", handle.value);
    images_.drop(id, handle, now);
    return {};
}

Result<> Broker::set_lease(ClientId id, HandleId handle, std::uint64_t lease_ns, Instant now)
{
    const Hold* hold = TRY(images_.find_hold(id, handle));
    if (!hold->rights.has(Right::manage)) return fail(Errc::denied, "setting the lease needs the right to manage the image");
    const ImageRecord& image = state_.at(image_of(hold->object));
    if (image.revoked) return fail(Errc::token_revoked, "the image was revoked; it ends with its last holder");
    state_.set_lease(image.id, lease_end(now, lease_ns));
    return {};
}

Result<> Broker::revoke(ClientId id, ImageId image, Instant now)
{
    if (!images_.find(image, now) || !images_.may_manage(id, image))
        return fail(Errc::not_found, "no image {} that this client may manage", image.value);
    images_.revoke(image, now);
    return {};
}

// --- tokens ----------------------------------------------------------------------------------------

Result<Token> Broker::mint(ClientId id, HandleId handle, const TokenTerms& terms, Instant now)
{
    const Hold& hold = *TRY(images_.find_hold(id, handle));
    if (state_.at(image_of(hold.object)).revoked || state_.is_revoked(hold.origin))
        return fail(Errc::token_revoked, "the image, or the token it was opened with, was revoked; it cannot be passed on");
    if (terms.rights.empty()) return fail(Errc::invalid_argument, "a token needs at least one right");
    if (!hold.rights.has(terms.rights))
        return fail(Errc::denied, "this hold has {}; it cannot pass on {}", to_string(hold.rights), to_string(terms.rights));
    if (hold.origin != LineageId{} && state_.depth(hold.origin) >= most_depth)
        return fail(Errc::denied, "this right was passed on {} times already; ask nearer to its owner", most_depth);
    TokenRecord token{.object = hold.object,
                      .rights = terms.rights,
                      .one_shot = terms.one_shot,
                      .enforced = terms.enforced,
                      .payer = state_.at(id).payer()};
    if (terms.lifetime_ns != 0) token.expires = after(now, terms.lifetime_ns);
    return state_.add_token(token, hold.origin);
}

Result<> Broker::revoke(ClientId id, const Token& name)
{
    const TokenRecord* token = state_.live(name, {});
    const EndedToken* ended = token ? nullptr : state_.tokens().find_ended(name);
    const ImageId image = token ? image_of(token->object) : ended ? image_of(ended->object) : ImageId{};
    // One answer and one price, whether the token exists or this client may not know it.
    if (!state_.find(image) || !images_.may_manage(id, image)) {
        const Error error{Errc::not_found, "no token of an image that this client may manage"};
        return std::unexpected(state_.at(id).manager ? error : images_.guessed(id, error));
    }
    state_.revoke(token ? token->lineage : ended->lineage, object_of(image));
    return {};
}

// --- time ------------------------------------------------------------------------------------------

Instant Broker::deadline() const { return std::min(state_.deadline(), pool_.deadline()); }

void Broker::expire(Instant now)
{
    std::size_t left = state_.sweep(now, most_ends);
    for (ImageId image; left >= image_end && (image = state_.lease_over(now)) != ImageId{}; left -= image_end) {
        state_.set_lease(image, {});
        images_.free_if_unused(image, now);
    }
    if (const ClientId client = state_.overdue(now); client != ClientId{}) disconnect(client, now);
    pool_.trim(now);
}

} // namespace dmb
