// SPDX-License-Identifier: MIT
// Joining, a member of the Broker: one Joiner per client on its way, owned by whatever completes its next step (a
// trial, an allocation, a copy). Between the steps anything may have ended, so each one looks up the client, the token
// and the image again. Nothing that exists is taken from anybody: a successor stands beside the image that it replaces.
// The charge is the operation's until the image enters the books.
#include "daemon/core/serving/joining.hpp"

#include "daemon/core/deciding/reasons.hpp"
#include "proto/image/modifier_name.hpp"

#include <algorithm>

namespace dmb {
namespace {

/// Whoever can import memory at all can draw and sample; what the CPU, a display or a video engine can do with it
/// is not for the importer to say.
Usage usable(const ImageDesc& desc)
{
    Usage usage = desc.usage | UsageFlag::sample | UsageFlag::render | UsageFlag::storage;
    const bool rows = desc.kind == MemoryKind::memfd || (desc.backend == Backend::client && desc.modifier == modifier_linear);
    if (is_system(desc.backend) || rows) usage = usage | usage_cpu;
    return usage;
}

Properties properties(const ImageDesc& desc)
{
    return {desc.kind, desc.backend, desc.device, desc.format, desc.modifier, desc.size, desc.rung, usable(desc)};
}

std::string shape(const ImageDesc& desc) { return fmt::format("{} {}", to_string(desc.format), describe(desc.modifier)); }

/// One that was named in the request and has come meanwhile is one.
void add_party(std::vector<Party>& parties, const Party& party)
{
    const auto same = [&](const Party& p) { return p.demands == party.demands && p.table == party.table; };
    const auto found = std::ranges::find_if(parties, same);
    if (found == parties.end()) parties.push_back(party);
    else *found = party;
}

Party for_a_copy(Party party)
{
    party.demands.minimum_rung = Rung::system_dma_buf; // the copy itself must be what it can import
    return party;
}

} // namespace

struct Joining::Joiner {
    OperationId operation;
    Token token;
    Rights rights;
    Party party;
    ImageId image;       ///< the one that the token opens, or its latest successor
    bool proven = false; ///< the pair was tried, or cannot be
    BoundedText<160> misfit;

    /// The image that is being made for it.
    enum class Making : std::uint8_t { nothing, successor, copy } making = Making::nothing;
    Outcome outcome{std::unexpected(Error{}), {}, nullptr, {}};
};

Joining::Joining(State& state, Images& images, Operations& operations, Allocations& allocations, Deciding& deciding,
                 EventSink& events, Helper* system)
    : state_(state),
      images_(images),
      operations_(operations),
      allocations_(allocations),
      deciding_(deciding),
      events_(events),
      copying_(system, allocations.allocators())
{
}

// --- does it fit? ----------------------------------------------------------------------------------

/// In words: why this image is nothing for the party. Empty when it fits.
BoundedText<160> Joining::misfit(const ImageRecord& image, const Party& party) const
{
    const ImageDesc& desc = image.desc;
    const Offer* offer = allocations_.offer_of(desc);
    if (const auto broken = broken_rule(own_rules(party).value_or(party.demands.rules), desc); !broken.empty()) return broken;
    const Demands demands = broken_demands(party, properties(desc));
    if (demands == 0)
        return offer ? disproof(allocations_.proofs(), *offer->device, &party, desc.format, desc.modifier, desc.size) : "";
    const Exporter stranger{{.id = desc.device}, desc.backend, "a client", {}};
    const Capability row{.kind = desc.kind, .format = desc.format, .modifier = desc.modifier, .usage = usable(desc)};
    const Offer shown{offer ? offer->device : &stranger, {&row, 1}, 0, 0};
    const AllocateSpec spec{.size = desc.size, .format = desc.format};
    return reason_for({spec, {}, {&party, 1}, {&shown, 1}, {}}, {0, &row, desc.rung, 2}, 1, first_of(demands));
}

/// True: a trial was started and goes on with the joiner.
bool Joining::prove_for(JoinerPointer& joiner, const ImageRecord& image, Instant now)
{
    const ImageDesc& desc = image.desc;
    const Offer* offer = allocations_.offer_of(desc);
    if (joiner->proven || !offer) return false;
    joiner->proven = true;
    Trial trial{.allocator = &allocations_.allocator_of(*offer),
                .device = offer->index,
                .format = desc.format,
                .modifier = desc.modifier,
                .usage = desc.usage,
                .size = desc.size,
                .importers = {joiner->party}};
    if (allocations_.trials().untried(trial).empty()) return false;
    allocations_.trials().run({std::move(trial)}, now,
                              [this, joiner = std::move(joiner)](Instant at) mutable { join_image(std::move(joiner), at); });
    return true;
}

// --- the steps -------------------------------------------------------------------------------------

Result<Joining::JoinerPointer> Joining::begin(const OperationId& operation, const Token& name, Rights rights,
                                              const Participant& participant, Instant now)
{
    const TokenRecord* token = TRY(images_.find_token(operation.client, name, now));
    const ImageRecord& image = state_.at(image_of(token->object));
    TRY(Images::check_token(*token, rights, participant.usage, image.desc));
    auto joiner = std::make_unique<Joiner>();
    joiner->operation = operation;
    joiner->token = name;
    joiner->rights = rights;
    joiner->party = TRY(deciding_.party_of(participant, &state_.at(operation.client)));
    joiner->image = image.id;
    return joiner;
}

void Joining::join(const OperationId& operation, const Token& token, Rights rights, const Participant& participant, Instant now)
{
    auto joiner = begin(operation, token, rights, participant, now);
    if (joiner) join_image(std::move(*joiner), now);
    else operations_.finish(operation, {std::unexpected(joiner.error()), {}});
}

void Joining::join_image(JoinerPointer joiner, Instant now)
{
    if (!operations_.is_wanted(joiner->operation)) return finish(std::move(joiner), std::unexpected(Error{}), now);
    const ImageRecord* found = images_.find(joiner->image, now);
    if (!found) return finish(std::move(joiner), fail(Errc::not_found, "the image is gone"), now);
    const ImageRecord& image = images_.latest(*found, now);
    if (image.revoked) return finish(std::move(joiner), fail(Errc::token_revoked, "the image was revoked"), now);
    joiner->image = image.id;
    joiner->misfit = misfit(image, joiner->party);
    if (!joiner->misfit.empty()) return renegotiate(std::move(joiner), image, now);
    if (prove_for(joiner, image, now)) return;
    const Result<Held> held = hold_joined(*joiner, image.id, now);
    finish(std::move(joiner), held, now);
}

/// Everybody who has to do with the image, if all of them are known. What it looks like stays.
std::optional<Wish> Joining::wish_of_all(const ImageRecord& image, const Party& joiner) const
{
    if (!image.wanted || image.copy.source != ImageId{} || image.revoked) return std::nullopt;
    Wish wish{image.wanted->spec, {}, image.wanted->parties};
    wish.spec.format = image.desc.format;
    wish.spec.colour = image.desc.colour;
    std::erase_if(wish.parties, [&](const Party& p) { return p.client != ClientId{} && !state_.find(p.client); });
    for (const HoldId& id : image.holds) {
        const Hold& hold = *state_.find(id.client, id.handle);
        if (hold.said == Said::nothing) return std::nullopt;
        if (hold.said == Said::itself) add_party(wish.parties, *hold.party);
    }
    add_party(wish.parties, joiner);
    if (wish.parties.size() > limits::participants) return std::nullopt;
    return wish;
}

void Joining::renegotiate(JoinerPointer joiner, const ImageRecord& image, Instant now)
{
    std::optional<Wish> wish = wish_of_all(image, joiner->party);
    if (!wish) return make_copy(std::move(joiner), image, now);
    const Plan plan = allocations_.negotiated_now(*wish);
    if (plan.choices.empty() || !plan.copied.empty()) return make_copy(std::move(joiner), image, now);
    joiner->making = Joiner::Making::successor;
    make_image(std::move(joiner), image, std::move(*wish), now);
}

void Joining::make_copy(JoinerPointer joiner, const ImageRecord& image, Instant now)
{
    const ImageDesc& desc = image.desc;
    const auto refuse = [&](std::string_view why) {
        const Result<Held> refused =
            fail(Errc::no_backend, "it cannot use the image ({}): {}; {}", shape(desc), joiner->misfit.view(), why);
        finish(std::move(joiner), refused, now);
    };
    if (joiner->party.demands.minimum_rung > Rung::blit)
        return refuse(fmt::format("a copy is below the rung {} that it demands", name(joiner->party.demands.minimum_rung)));
    if (joiner->rights.has(Right::write)) return refuse("in a copy, what it writes would reach nobody");
    Wish wish{.spec = {.size = desc.size, .format = desc.format, .usage = joiner->party.demands.usage, .colour = desc.colour},
              .alternatives = {},
              .parties = {for_a_copy(joiner->party)}};
    joiner->making = Joiner::Making::copy;
    make_image(std::move(joiner), image, std::move(wish), now);
}

void Joining::make_image(JoinerPointer joiner, const ImageRecord& image, Wish wish, Instant now)
{
    const Amount amount{.bytes = image.desc.total_size(), .images = 1, .fds = 1, .tokens = 0};
    if (const Result<> charged = state_.charge(joiner->operation, amount); !charged)
        return finish(std::move(joiner), std::unexpected(charged.error()), now);
    const OperationId operation = joiner->operation;
    allocations_.start(operation, std::move(wish), {}, now,
                       [this, joiner = std::move(joiner)](Outcome outcome, Instant at) mutable {
                           image_made(std::move(joiner), std::move(outcome), at);
                       });
}

/// Allocated; now the pixels.
void Joining::image_made(JoinerPointer joiner, Outcome outcome, Instant now)
{
    if (!operations_.is_wanted(joiner->operation)) return finish(std::move(joiner), std::unexpected(Error{}), now);
    const ImageRecord* image = images_.find(joiner->image, now);
    if (!image) return finish(std::move(joiner), fail(Errc::not_found, "the image is gone"), now);
    if (was_overtaken(*joiner)) return start_again(std::move(joiner), now);
    joiner->outcome = std::move(outcome);
    if (!joiner->outcome.memory) {
        const Error error = joiner->outcome.memory.error();
        return image_failed(std::move(joiner), error, now);
    }
    const bool for_everybody = !joiner->outcome.plan || joiner->outcome.plan->copied.empty();
    if (!for_everybody) return image_failed(std::move(joiner), {Errc::no_backend, "nothing serves everybody"}, now);
    const Allocated& memory = *joiner->outcome.memory;
    const CopyEnd from = end_of(image->desc, image->fds), to = end_of(memory.desc, memory.fds);
    copying_.run(from, to, {}, now, [this, joiner = std::move(joiner)](const Result<Copied>& copied, Instant at) mutable {
        image_filled(std::move(joiner), copied, at);
    });
}

/// Another joiner had the image replaced meanwhile. Its successor may do for this one, too; two of them would
/// part those who are to see the same pixels.
bool Joining::was_overtaken(const Joiner& joiner) const
{
    const ImageRecord* image = state_.find(joiner.image);
    return joiner.making == Joiner::Making::successor && image && state_.find(image->successor);
}

void Joining::start_again(JoinerPointer joiner, Instant now)
{
    joiner->making = Joiner::Making::nothing;
    drop_charge(*joiner);
    joiner->outcome = {std::unexpected(Error{}), {}, nullptr, {}};
    join_image(std::move(joiner), now);
}

void Joining::drop_charge(const Joiner& joiner) { (void)state_.charge(joiner.operation, {}); }

/// One for everybody could not be had after all: then one for the joiner.
void Joining::image_failed(JoinerPointer joiner, const Error& error, Instant now)
{
    drop_charge(*joiner);
    const ImageRecord* image = images_.find(joiner->image, now);
    if (joiner->making == Joiner::Making::successor && image) return make_copy(std::move(joiner), *image, now);
    const Result<Held> refused =
        fail(error.code, "it cannot use the image: {}; and a copy failed: {}", joiner->misfit.view(), error.reason.view());
    finish(std::move(joiner), refused, now);
}

void Joining::image_filled(JoinerPointer joiner, const Result<Copied>& copied, Instant now)
{
    if (!operations_.is_wanted(joiner->operation)) return finish(std::move(joiner), std::unexpected(Error{}), now);
    if (was_overtaken(*joiner)) return start_again(std::move(joiner), now);
    if (!copied) return image_failed(std::move(joiner), copied.error(), now);
    const Result<Held> held = add_joined(*joiner, *copied, now);
    finish(std::move(joiner), held, now);
}

/// The new image enters the books, and its holder with it.
Result<Held> Joining::add_joined(Joiner& joiner, const Copied& copied, Instant now)
{
    const ImageRecord* source = images_.find(joiner.image, now);
    if (!source) return fail(Errc::not_found, "the image is gone");
    const bool is_copy = joiner.making == Joiner::Making::copy;
    if (const Rung demanded = joiner.party.demands.minimum_rung; is_copy && copied.route.rung() < demanded)
        return fail(Errc::no_backend,
                    "it cannot use the image: {}; and a copy through the CPU is below the rung {} that it demands",
                    joiner.misfit.view(), name(demanded));
    Allocated memory = std::move(*joiner.outcome.memory);
    CopyState copy;
    if (is_copy) copy = {source->id, {1, copied.cost_ns, copied.cost_ns}, memory.desc.rung};
    if (is_copy) memory.desc.rung = copied.route.rung();
    DecisionRecord decision{.id = state_.new_decision_id(), .memory = memory.desc};
    decision.note.assign(fmt::format("{} {}x{}, rung {}: {}; {}", shape(memory.desc), memory.desc.size.width,
                                     memory.desc.size.height, name(memory.desc.rung),
                                     is_copy ? fmt::format("a copy of image {}", source->id.value)
                                             : fmt::format("replaces image {}", source->id.value),
                                     joiner.misfit.view()));
    drop_charge(joiner);
    const ClientId client = joiner.operation.client;
    Wish wanted{joiner.outcome.wish.spec, {}, joiner.outcome.wish.parties};
    const ImageId id = TRY(images_.add(client, std::move(memory), {source->label, 0, now}, std::move(wanted), copy));
    decision.image = id;
    state_.set_decision(id, deciding_.note(client, std::move(decision), std::move(joiner.outcome), source->label, now));
    if (is_copy) remember(id, source->id, copied.route);
    Result<Held> held = hold_joined(joiner, id, now);
    if (!held) images_.free_if_unused(id, now);
    else if (!is_copy) replace(*source, id);
    return held;
}

void Joining::replace(const ImageRecord& old, ImageId successor)
{
    state_.set_successor(old.id, successor);
    const RequestId decision = state_.at(successor).decision;
    for (const HoldId& hold : old.holds) events_.image_replaced(hold.client, hold.handle, successor, decision);
}

/// The token is looked at once more: it may have been used, revoked or expired since.
Result<Held> Joining::hold_joined(const Joiner& joiner, ImageId image, Instant now)
{
    const ClientId client = joiner.operation.client;
    const TokenRecord* token = TRY(images_.find_token(client, joiner.token, now));
    const Grant grant{joiner.rights, joiner.party.demands.usage, token->enforced, token->lineage};
    Held held = TRY(images_.hold_as(client, image, grant, Said::itself, std::make_shared<const Party>(joiner.party)));
    images_.use_up(*token);
    return held;
}

void Joining::finish(JoinerPointer joiner, const Result<Held>& held, Instant now)
{
    const OperationId operation = joiner->operation;
    if (!operations_.is_wanted(operation)) return operations_.finish(operation, {std::unexpected(Error{}), {}});
    if (held) return operations_.finish(operation, {std::vector{*held}, held->request});
    DecisionRecord refused{.id = state_.new_decision_id(), .note = held.error().reason};
    const RequestId request = refused.id;
    if (joiner->outcome.wish.parties.empty()) joiner->outcome.wish.parties.push_back(joiner->party);
    deciding_.note(operation.client, std::move(refused), std::move(joiner->outcome), {}, now);
    operations_.finish(operation, {std::unexpected(held.error()), request});
}

// --- afterwards ------------------------------------------------------------------------------------

CopyEnd Joining::end_of(const ImageDesc& desc, const ImageFds& fds) const
{
    const Offer* offer = allocations_.offer_of(desc);
    return {&desc, &fds, offer ? allocations_.allocator_of(*offer).helper() : nullptr};
}

Result<Held> Joining::move(ClientId id, HandleId handle, Instant now)
{
    const Hold old = *TRY(images_.find_hold(id, handle));
    const ImageRecord& left = state_.at(image_of(old.object));
    const ImageRecord& successor = images_.latest(left, now);
    if (&left == &successor) return fail(Errc::not_found, "the image has no successor; it is as good as ever");
    if (left.revoked || successor.revoked || state_.is_revoked(old.origin))
        return fail(Errc::token_revoked, "the image, or the token it was opened with, was revoked; what is held remains");
    return images_.hold_as(id, successor.id, {old.rights, old.usage, old.enforced, old.origin}, old.said, old.party);
}

/// Of a copy: where its pixels are now.
Result<ImageId> Joining::source_of(ClientId id, HandleId handle, Instant now)
{
    const Hold& hold = *TRY(images_.find_hold(id, handle));
    const ImageRecord& copy = state_.at(image_of(hold.object));
    if (copy.copy.source == ImageId{}) return fail(Errc::invalid_argument, "this image is no copy; it is always up to date");
    const ImageRecord* first = images_.find(copy.copy.source, now);
    if (!first) return fail(Errc::not_found, "the image that this is a copy of is gone");
    const ImageRecord& source = images_.latest(*first, now); // those who draw have moved there
    if (first->revoked || source.revoked || state_.is_revoked(hold.origin))
        return fail(Errc::token_revoked, "the image that this is a copy of, or the token it was joined with, was revoked");
    return source.id;
}

void Joining::refresh(const OperationId& operation, HandleId handle, Instant now)
{
    const Result<ImageId> source_id = source_of(operation.client, handle, now);
    if (!source_id) return operations_.finish(operation, {std::unexpected(source_id.error()), {}});
    const ImageRecord& copy = state_.at(image_of(state_.find(operation.client, handle)->object));
    const ImageRecord& source = state_.at(*source_id);
    if (source.id != copy.copy.source) state_.set_source(copy.id, source.id);
    // What waits in a worker's queue: both ends, by copies and on the way to it, and the pixels between them.
    const auto fds = static_cast<std::uint32_t>(2 * (source.fds.size() + copy.fds.size()) + 1);
    if (const auto charged = state_.charge(operation, {.bytes = source.desc.total_size(), .fds = fds}); !charged)
        return operations_.finish(operation, {std::unexpected(charged.error()), {}});
    copying_.run(end_of(source.desc, source.fds), end_of(copy.desc, copy.fds), route_of(copy.id, source.id), now,
                 [this, operation, copy_id = copy.id, source_id = source.id](const Result<Copied>& copied, Instant) {
                     if (!copied) return operations_.finish(operation, {std::unexpected(copied.error()), {}});
                     if (state_.find(copy_id)) {
                         remember(copy_id, source_id, copied->route);
                         state_.note_copied(copy_id, copied->cost_ns, copied->route.rung());
                     }
                     operations_.finish(operation, {std::vector<Held>(), {}, copied->cost_ns});
                 });
}

CopyRoute Joining::route_of(ImageId copy, ImageId source) const
{
    const auto found = routes_.find(copy);
    return found == routes_.end() || found->second.source != source ? CopyRoute{} : found->second.route;
}

void Joining::remember(ImageId copy, ImageId source, const CopyRoute& route)
{
    if (routes_.size() >= purge_at_) {
        std::erase_if(routes_, [&](const auto& entry) { return !state_.find(entry.first); });
        purge_at_ = 2 * routes_.size() + 64;
    }
    routes_[copy] = {source, route};
}

} // namespace dmb
