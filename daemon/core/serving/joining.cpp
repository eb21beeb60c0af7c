// SPDX-License-Identifier: MIT
// A participant that comes later. The image as it is, if its table has that layout and a trial does not say otherwise;
// else one image for everybody, if all holders said what they can import: they are told and may move; else a copy
// of its own. Between the steps anything may have ended, so each one looks up the client, the token and the
// image again. Nothing that exists is taken from anybody.
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

// --- does it fit? ----------------------------------------------------------------------------------

/// In words: why this image is nothing for the party. Empty when it fits.
BoundedText<160> Broker::misfit(const ImageRecord& image, const Party& party) const
{
    const ImageDesc& desc = image.memory.desc;
    const Offer* offer = allocations_.offer_of(desc);
    if (const auto broken = broken_rule(own_rules(party).value_or(party.demands.rules), desc); !broken.empty()) return broken;
    const Demands demands = broken_demands(party, properties(desc));
    if (demands == 0) return offer ? disproof(proofs_, *offer->device, &party, desc.format, desc.modifier, desc.size) : "";
    const DeviceInfo stranger{.id = desc.device, .backend = desc.backend, .name = "a client"};
    const FormatSupport row{0, desc.format, desc.modifier, static_cast<std::uint8_t>(desc.planes.size()), usable(desc)};
    const Offer shown{offer ? offer->device : &stranger, {&row, 1}, 0, 0};
    const wire::AllocateSpec spec{.size = desc.size, .format = desc.format};
    return reason_for({spec, {}, {&party, 1}, {&shown, 1}, {}, {}}, {0, &row, desc.rung, 2}, 1, first_of(demands));
}

/// True: a trial was started and goes on with the joining.
bool Broker::prove_for(JoiningPointer& joining, const ImageRecord& image, Instant now)
{
    const ImageDesc& desc = image.memory.desc;
    const Offer* offer = allocations_.offer_of(desc);
    if (joining->proven || !offer) return false;
    joining->proven = true;
    Trial trial{.allocator = &allocations_.allocator_of(*offer),
                .device = offer->index,
                .format = desc.format,
                .modifier = desc.modifier,
                .usage = desc.usage,
                .size = desc.size,
                .importers = {joining->party}};
    if (allocations_.proving().untried(trial).empty()) return false;
    allocations_.proving().run(std::move(trial), now, [this, joining = std::move(joining)](Instant at) mutable {
        join_image(std::move(joining), at);
    });
    return true;
}

// --- the steps -------------------------------------------------------------------------------------

Result<Broker::JoiningPointer> Broker::begin_joining(ClientId id, const wire::Join& request, Instant now)
{
    ClientRecord& record = client(id);
    if (tokens_.deadline() <= now) expire(now);
    const TokenRecord* token = find_token(request.token);
    if (!token) return std::unexpected(wrong_token(record, request.token));
    const ImageRecord& image = images_.at(token->image);
    TRY(check_token(*token, {request.token, request.rights, request.participant.usage}, image.memory.desc));
    auto joining = std::make_unique<Joining>();
    joining->client = id;
    joining->token = request.token;
    joining->rights = request.rights;
    joining->party = TRY(party_of(request.participant, &record));
    joining->image = image.id;
    return joining;
}

void Broker::join(ClientId id, const wire::Join& request, Instant now, AllocationDone done)
{
    auto joining = begin_joining(id, request, now);
    if (!joining) return done({std::unexpected(joining.error()), {}, {}});
    (*joining)->done = std::move(done);
    join_image(std::move(*joining), now);
}

void Broker::join_image(JoiningPointer joining, Instant now)
{
    if (!clients_.contains(joining->client)) return;
    const auto found = images_.find(joining->image);
    if (found == images_.end()) return finish_joining(std::move(joining), fail(Errc::not_found, "the image is gone"), now);
    ImageRecord& image = latest(found->second);
    if (image.revoked) return finish_joining(std::move(joining), fail(Errc::token_revoked, "the image was revoked"), now);
    joining->image = image.id;
    joining->misfit = misfit(image, joining->party);
    if (!joining->misfit.empty()) return renegotiate(std::move(joining), image, now);
    if (prove_for(joining, image, now)) return;
    Result<Held> held = hold_joined(*joining, image);
    finish_joining(std::move(joining), std::move(held), now);
}

/// Everybody who has to do with the image, if all of them are known. What it looks like stays.
std::optional<Wish> Broker::wish_of_all(const ImageRecord& image, const Party& joiner) const
{
    if (!image.decision || image.copy.source != ImageId{} || image.revoked) return std::nullopt;
    Wish wish = image.decision->wish;
    wish.spec.format = image.memory.desc.format;
    wish.spec.colour = image.memory.desc.colour;
    wish.alternatives.clear();
    std::erase_if(wish.parties, [&](const Party& p) { return p.client != ClientId{} && !clients_.contains(p.client); });
    for (const Hold* hold : image.holds) {
        if (!hold->party) return std::nullopt;
        if (hold->party->client != ClientId{}) add_party(wish.parties, *hold->party);
    }
    add_party(wish.parties, joiner);
    if (wish.parties.size() > limits::participants) return std::nullopt;
    return wish;
}

void Broker::renegotiate(JoiningPointer joining, ImageRecord& image, Instant now)
{
    std::optional<Wish> wish = wish_of_all(image, joining->party);
    if (!wish) return make_copy(std::move(joining), image, now);
    const Negotiation plan = allocations_.negotiated_now(*wish);
    if (plan.choices.empty() || !plan.copied.empty()) return make_copy(std::move(joining), image, now);
    joining->making = Joining::Making::successor;
    make_image(std::move(joining), image, std::move(*wish), now);
}

void Broker::make_copy(JoiningPointer joining, const ImageRecord& image, Instant now)
{
    const ImageDesc& desc = image.memory.desc;
    const auto refuse = [&](std::string_view why) {
        const std::string reason(joining->misfit.view());
        Result<Held> refused = fail(Errc::no_backend, "it cannot use the image ({}): {}; {}", shape(desc), reason, why);
        finish_joining(std::move(joining), std::move(refused), now);
    };
    if (joining->party.demands.minimum_rung > Rung::blit)
        return refuse(fmt::format("a copy is below the rung {} that it demands", name(joining->party.demands.minimum_rung)));
    if (joining->rights.has(Right::write)) return refuse("in a copy, what it writes would reach nobody");
    Wish wish{.spec = {.size = desc.size, .format = desc.format, .usage = joining->party.demands.usage, .colour = desc.colour},
              .alternatives = {},
              .parties = {for_a_copy(joining->party)}};
    joining->making = Joining::Making::copy;
    make_image(std::move(joining), image, std::move(wish), now);
}

void Broker::make_image(JoiningPointer joining, const ImageRecord& image, Wish wish, Instant now)
{
    ClientRecord& record = client(joining->client);
    const Amount amount{.bytes = image.memory.desc.total_size(), .images = 1, .fds = 1, .tokens = 0};
    Result<Charge> charge = Charge::take(record.account, record.uid_account, amount);
    if (!charge) return finish_joining(std::move(joining), std::unexpected(charge.error()), now);
    joining->charge = std::move(*charge);
    const ClientId id = joining->client;
    allocations_.start(id, std::move(wish), {}, now, [this, joining = std::move(joining)](Outcome outcome, Instant at) mutable {
        image_made(std::move(joining), std::move(outcome), at);
    });
}

/// Allocated; now the pixels.
void Broker::image_made(JoiningPointer joining, Outcome outcome, Instant now)
{
    const auto image = images_.find(joining->image);
    if (image == images_.end()) return finish_joining(std::move(joining), fail(Errc::not_found, "the image is gone"), now);
    if (!clients_.contains(joining->client)) return;
    if (was_overtaken(*joining)) return start_again(std::move(joining), now);
    joining->outcome = std::move(outcome);
    if (!joining->outcome.memory) {
        const Error error = joining->outcome.memory.error();
        return image_failed(std::move(joining), error, now);
    }
    const bool for_everybody = !joining->outcome.plan || joining->outcome.plan->copied.empty();
    if (!for_everybody) return image_failed(std::move(joining), {Errc::no_backend, "nothing serves everybody"}, now);
    const CopyEnd from = end_of(image->second.memory), to = end_of(*joining->outcome.memory);
    copying_.run(from, to, {}, now, [this, joining = std::move(joining)](const Result<Copied>& copied, Instant at) mutable {
        image_filled(std::move(joining), copied, at);
    });
}

/// Another joiner had the image replaced meanwhile. Its successor may do for this one, too; two of them would
/// part those who are to see the same pixels.
bool Broker::was_overtaken(const Joining& joining) const
{
    const auto image = images_.find(joining.image);
    return joining.making == Joining::Making::successor && image != images_.end() && images_.contains(image->second.successor);
}

void Broker::start_again(JoiningPointer joining, Instant now)
{
    joining->making = Joining::Making::nothing;
    joining->charge = {};
    joining->outcome = {std::unexpected(Error{}), {}, nullptr, {}};
    join_image(std::move(joining), now);
}

/// One for everybody could not be had after all: then one for the joiner.
void Broker::image_failed(JoiningPointer joining, const Error& error, Instant now)
{
    const auto image = images_.find(joining->image);
    joining->charge = {};
    if (joining->making == Joining::Making::successor && image != images_.end())
        return make_copy(std::move(joining), image->second, now);
    Result<Held> refused =
        fail(error.code, "it cannot use the image: {}; and a copy failed: {}", joining->misfit.view(), error.reason.view());
    finish_joining(std::move(joining), std::move(refused), now);
}

void Broker::image_filled(JoiningPointer joining, const Result<Copied>& copied, Instant now)
{
    if (!clients_.contains(joining->client)) return;
    if (was_overtaken(*joining)) return start_again(std::move(joining), now);
    if (!copied) return image_failed(std::move(joining), copied.error(), now);
    Result<Held> held = add_joined(*joining, *copied, now);
    finish_joining(std::move(joining), std::move(held), now);
}

/// The new image enters the books, and its holder with it.
Result<Held> Broker::add_joined(Joining& joining, const Copied& copied, Instant now)
{
    ClientRecord& record = client(joining.client);
    const auto found = images_.find(joining.image);
    if (found == images_.end()) return fail(Errc::not_found, "the image is gone");
    ImageRecord& source = found->second;
    const bool is_copy = joining.making == Joining::Making::copy;
    if (const Rung demanded = joining.party.demands.minimum_rung; is_copy && copied.route.rung() < demanded)
        return fail(Errc::no_backend,
                    "it cannot use the image: {}; and a copy through the CPU is below the rung {} that it demands",
                    joining.misfit.view(), name(demanded));
    Allocated memory = std::move(*joining.outcome.memory);
    const Rung memory_rung = memory.desc.rung;
    if (is_copy) memory.desc.rung = copied.route.rung();
    const Order order{source.label, 0, now};
    DecisionRecord decision{.id = decisions_.next_id(), .memory = memory.desc};
    decision.note.assign(fmt::format("{} {}x{}, rung {}: {}; {}", shape(memory.desc), memory.desc.size.width,
                                     memory.desc.size.height, name(memory.desc.rung),
                                     is_copy ? fmt::format("a copy of image {}", source.id.value)
                                             : fmt::format("replaces image {}", source.id.value),
                                     joining.misfit.view()));
    ImageRecord* image = TRY(add_image(record, std::move(memory), std::move(joining.charge), order));
    std::vector<wire::Candidate> candidates = joining.outcome.candidates; // for the answer
    image->decision = decide(record, std::move(decision), std::move(joining.outcome), order, image->id);
    joining.outcome.candidates = std::move(candidates);
    if (is_copy) image->copy = {joining.image, copied.route, {1, copied.cost_ns, copied.cost_ns}, memory_rung};
    Result<Held> held = hold_joined(joining, *image);
    if (!held) free_if_unused(*image, now);
    else if (!is_copy) replace(source, *image);
    return held;
}

void Broker::replace(ImageRecord& old, const ImageRecord& successor)
{
    old.successor = successor.id;
    for (const Hold* hold : old.holds) events_.image_replaced(hold->client, hold->handle, successor.id, successor.decision->id);
}

/// The token is looked at once more: it may have been used, revoked or expired since.
Result<Held> Broker::hold_joined(const Joining& joining, ImageRecord& image)
{
    ClientRecord& record = client(joining.client);
    const TokenRecord* token = find_token(joining.token);
    if (!token) return std::unexpected(wrong_token(record, joining.token));
    Held held = TRY(hold_as(record, image, {joining.rights, joining.party.demands.usage, token->enforced, token->lineage}));
    record.holds.at(held.handle).party = std::make_shared<const Party>(joining.party);
    if (token->one_shot) end_token(images_.at(token->image), joining.token, TokenEnd::used);
    return held;
}

void Broker::finish_joining(JoiningPointer joining, Result<Held> held, Instant now)
{
    const auto found = clients_.find(joining->client);
    if (found == clients_.end()) return;
    AllocationAnswer answer{std::move(held), std::move(joining->outcome.candidates), {}};
    if (answer.held) answer.request = answer.held->request;
    else {
        DecisionRecord refused{.id = decisions_.next_id(), .note = answer.held.error().reason};
        answer.request = refused.id;
        if (joining->outcome.wish.parties.empty()) joining->outcome.wish.parties.push_back(joining->party);
        joining->outcome.candidates = answer.candidates;
        decide(found->second, std::move(refused), std::move(joining->outcome), {{}, 0, now}, {});
    }
    joining->done(answer);
}

// --- afterwards ------------------------------------------------------------------------------------

CopyEnd Broker::end_of(const Allocated& memory) const
{
    const Offer* offer = allocations_.offer_of(memory.desc);
    return {&memory.desc, &memory.fds, offer ? allocations_.allocator_of(*offer).helper() : nullptr};
}

Result<Held> Broker::move(ClientId id, const wire::Move& request, Instant)
{
    ClientRecord& record = client(id);
    const auto found = record.holds.find(request.handle);
    if (found == record.holds.end()) return fail(Errc::not_found, "no such handle");
    const Hold old = found->second;
    ImageRecord& left = images_.at(old.image);
    ImageRecord& successor = latest(left);
    if (&left == &successor) return fail(Errc::not_found, "the image has no successor; it is as good as ever");
    if (left.revoked || successor.revoked || is_revoked(old.origin.get()))
        return fail(Errc::token_revoked, "the image, or the token it was opened with, was revoked; what is held remains");
    Held held = TRY(hold_as(record, successor, {old.rights, old.usage, old.enforced, old.origin}));
    record.holds.at(held.handle).party = old.party;
    return held;
}

void Broker::refresh(ClientId id, const wire::Refresh& request, Instant now, RefreshDone done)
{
    ClientRecord& record = client(id);
    const auto found = record.holds.find(request.handle);
    if (found == record.holds.end()) return done(fail(Errc::not_found, "no such handle"));
    const ImageId copy_id = found->second.image;
    ImageRecord& copy = images_.at(copy_id);
    if (copy.copy.source == ImageId{})
        return done(fail(Errc::invalid_argument, "this image is no copy; it is always up to date"));
    const auto first = images_.find(copy.copy.source);
    if (first == images_.end()) return done(fail(Errc::not_found, "the image that this is a copy of is gone"));
    ImageRecord& source = latest(first->second); // those who draw have moved there
    if (first->second.revoked || source.revoked || is_revoked(found->second.origin.get()))
        return done(
            fail(Errc::token_revoked, "the image that this is a copy of, or the token it was joined with, was revoked"));
    if (source.id != copy.copy.source) copy.copy.source = source.id, copy.copy.route = {};
    copying_.run(end_of(source.memory), end_of(copy.memory), copy.copy.route, now,
                 [this, id, copy_id, done = std::move(done)](const Result<Copied>& copied, Instant) mutable {
                     if (const auto image = images_.find(copy_id); copied && image != images_.end()) {
                         CopyInfo& info = image->second.copy.info;
                         image->second.copy.route = copied->route;
                         ++info.count;
                         info.last_ns = copied->cost_ns;
                         info.total_ns += copied->cost_ns;
                         image->second.memory.desc.rung = copied->route.rung();
                     }
                     if (!clients_.contains(id)) return;
                     if (copied) done(copied->cost_ns);
                     else done(std::unexpected(copied.error()));
                 });
}

} // namespace dmb
