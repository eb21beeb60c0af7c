// SPDX-License-Identifier: MIT
// Owner of all records. An image lives while somebody holds it or its lease runs; when neither is so, its
// tokens end and its memory goes to the pool or back to the kernel. Registration and inspection are in
// registration.cpp and report.cpp. Whoever asks about what it may not see is told what it would be told
// if that did not exist.
#include "daemon/core/serving/broker.hpp"

#include "daemon/alloc/memfd.hpp"
#include "proto/image/fd_identity.hpp"
#include "proto/image/format_table.hpp"

#include <algorithm>
#include <cassert>
#include <fcntl.h>
#include <utility>

namespace dmb {
namespace {

Result<> check_label(std::string_view label)
{
    if (is_printable(label)) return {};
    return fail(Errc::invalid_argument, "names and labels must be printable UTF-8 without control or direction characters");
}

/// Bytes of tightly packed contents.
std::uint64_t packed_size(const wire::AllocateSpec& spec)
{
    const FormatInfo& format = *find_format(spec.format);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < format.plane_count; ++i)
        sum += row_bytes(format, i, spec.size.width) * plane_extent(format, i, spec.size).height;
    return sum;
}

Result<> check_contents(const wire::AllocateSpec& spec, const UniqueFd& contents)
{
    if (!contents) return {};
    const FdIdentity found = identify(contents.get(), FdUse::contents);
    if (found.type != FdType::sealed_memfd)
        return fail(Errc::bad_descriptor, "initial contents must come in a sealed memfd, this is: {}",
                    found.type == FdType::dma_buf ? "a dma-buf" : found.problem.view());
    if (const std::uint64_t needed = packed_size(spec); found.size < needed)
        return fail(Errc::bad_layout, "initial contents have {} bytes, the image needs {} tightly packed", found.size, needed);
    return {};
}

/// What a request costs before it is known who serves it.
Result<Amount> estimate(const wire::Allocate& request)
{
    TRY(check_label(request.label));
    TRY(check_label(request.spec.device));
    TRY(check_colour(request.spec.colour, request.spec.format));
    Amount amount{.bytes = 0, .images = 1, .fds = 1, .tokens = 0};
    amount.bytes = TRY(linear_layout(request.spec.size, request.spec.format)).total_size();
    const auto is_buffer = [](FourCC format) { return format == buffer_format; };
    if (std::ranges::any_of(request.alternatives, is_buffer) ||
        (is_buffer(request.spec.format) && !request.alternatives.empty()))
        return fail(Errc::invalid_argument, "a buffer is no alternative to a picture, and has none");
    for (const FourCC format : request.alternatives)
        amount.bytes = std::max(amount.bytes, TRY(linear_layout(request.spec.size, format)).total_size());
    return amount;
}

Error cut_for_guessing() { return {Errc::too_many_requests, "too many tokens that do not exist; the connection is cut"}; }

bool is_broker_memfd(const ImageDesc& desc) { return desc.kind == MemoryKind::memfd && desc.backend == Backend::memfd; }

} // namespace

/// A reader that cannot be kept from writing in another way, and needs no GPU.
bool Broker::may_be_read_only(const wire::Open& request, const ImageDesc& desc)
{
    return !request.rights.has(Right::write) && Usage(UsageFlag::cpu_read).has(request.usage) && is_broker_memfd(desc);
}

Broker::Broker(const Limits& limits, std::vector<Allocator*> allocators, Pool& pool, Proofs& proofs, const Helpers& helpers,
               EventSink& events)
    : limits_(limits),
      pool_(pool),
      events_(events),
      proofs_(proofs),
      allocations_(std::move(allocators), pool, proofs, helpers),
      copying_(helpers.system, allocations_.allocators()),
      users_(limits.uid)
{
}

// --- clients ---------------------------------------------------------------------------------------

ClientRecord& Broker::client(ClientId id)
{
    const auto found = clients_.find(id);
    assert(found != clients_.end());
    return found->second;
}

Result<> Broker::connect(ClientId id, const Peer& peer, bool manager, const wire::Name& name)
{
    TRY(check_label(name));
    ClientRecord record{.id = id, .peer = peer, .name = name, .manager = manager};
    record.account = std::make_shared<Account>("this client", limits_.client);
    record.uid_account = users_.of(account_key(peer, id.value));
    clients_.emplace(id, std::move(record));
    return {};
}

void Broker::disconnect(ClientId id, Instant now)
{
    const auto found = clients_.find(id);
    if (found == clients_.end()) return;
    allocations_.forget(id);
    ClientRecord& record = found->second;
    while (!record.holds.empty()) drop(record, record.holds.begin()->second, now);
    pool_.forget(id);
    clients_.erase(found);
}

// --- images ----------------------------------------------------------------------------------------

void Broker::allocate(ClientId id, const wire::Allocate& request, UniqueFd contents, Instant now, AllocationDone done)
{
    ClientRecord& record = client(id);
    Wish wish;
    auto charge = [&]() -> Result<Charge> {
        wish = TRY(wish_of(request));
        const Amount amount = TRY(estimate(request));
        TRY(check_contents(request.spec, contents));
        return Charge::take(record.account, record.uid_account, amount);
    }();
    if (!charge) return done({std::unexpected(charge.error()), {}, {}});
    const Order order{request.label, request.lease_ns, now};
    allocations_.start(
        id, std::move(wish), std::move(contents), now,
        [this, id, order, charge = std::move(*charge), done = std::move(done)](Outcome outcome, Instant) mutable {
            allocated(id, order, std::move(charge), std::move(outcome), std::move(done));
        });
}

void Broker::allocated(ClientId id, const Order& order, Charge charge, Outcome outcome, AllocationDone done)
{
    const auto found = clients_.find(id);
    if (found == clients_.end()) return; // it left meanwhile; the memory goes with this call
    AllocationAnswer answer{std::unexpected(Error{}), outcome.candidates, decisions_.next_id()};
    DecisionRecord decision{.id = answer.request};
    answer.held = [&]() -> Result<Held> {
        Allocated memory = TRY(std::move(outcome.memory));
        const bool contents_written = memory.contents_written;
        decision.memory = memory.desc;
        ImageRecord* image = TRY(add_image(found->second, std::move(memory), std::move(charge), order));
        image->decision = decide(found->second, std::move(decision), std::move(outcome), order, image->id);
        Result<Held> held = hold(found->second, *image, Rights::all(), {});
        if (!held) {
            free_if_unused(*image, order.now);
            return held;
        }
        held->contents_written = contents_written;
        // Who names participants has said whatever it has to say of itself.
        if (!image->decision->wish.parties.empty())
            found->second.holds.at(held->handle).party = std::make_shared<const Party>();
        return held;
    }();
    if (!answer.held && outcome.plan) {
        if (decision.memory) decision.note = answer.held.error().reason;
        decision.memory.reset();
        decide(found->second, std::move(decision), std::move(outcome), order, {});
    }
    done(answer);
}

Result<ImageRecord*> Broker::add_image(ClientRecord& owner, Allocated memory, Charge charge, const Order& order)
{
    TRY(charge.resize({.bytes = memory.desc.total_size(), .images = 1, .fds = memory.fd_count(), .tokens = 0}));
    const ImageId id{++last_image_};
    ImageRecord& image = images_[id];
    image.id = id;
    image.owner = owner.id;
    image.owner_uid = owner.peer.uid;
    image.may_reopen = owner.peer.may_reopen;
    image.charge = std::move(charge);
    image.memory = std::move(memory);
    image.label = order.label;
    image.created = order.now;
    memory_.add(image.memory.keys, image.memory.desc.backend == Backend::client ? owner.id : ClientId{});
    change_lease(image, order.lease_ns == 0 ? Instant{} : after(order.now, order.lease_ns));
    return &image;
}

Result<Held> Broker::hold(ClientRecord& record, ImageRecord& image, Rights rights, LineagePointer origin)
{
    if (record.holds.size() >= limits_.handles_per_client || record.last_handle == UINT32_MAX)
        return fail(Errc::quota_exceeded, "this client holds {} handles; close some", record.holds.size());
    const HandleId handle{++record.last_handle};
    Hold& added = record.holds[handle];
    added = {.handle = handle, .client = record.id, .image = image.id, .rights = rights, .origin = std::move(origin)};
    added.position = image.holds.size();
    image.holds.push_back(&added);
    return describe(added, image);
}

Held Broker::describe(const Hold& hold, const ImageRecord& image) const
{
    Held out{.handle = hold.handle, .image = image.id, .rights = hold.rights, .desc = &image.memory.desc, .fds = {}};
    if (image.decision) out.request = image.decision->id;
    out.source = image.copy.source;
    for (const UniqueFd& fd : image.memory.fds) out.fds.push_back(fd.get());
    return out;
}

void Broker::drop(ClientRecord& record, Hold& hold, Instant now)
{
    ImageRecord& image = images_.at(hold.image);
    Hold* const last = image.holds.back();
    last->position = hold.position;
    image.holds[hold.position] = last;
    image.holds.pop_back();
    record.holds.erase(record.holds.find(hold.handle));
    free_if_unused(image, now);
}

Result<> Broker::release(ClientId id, HandleId handle, Instant now)
{
    ClientRecord& record = client(id);
    const auto found = record.holds.find(handle);
    if (found == record.holds.end())
        return fail(Errc::protocol_violation, "released handle {}, which it does not have", handle.value);
    drop(record, found->second, now);
    return {};
}

ImageRecord& Broker::latest(ImageRecord& image)
{
    ImageRecord* out = &image;
    for (auto next = images_.find(out->successor); next != images_.end(); next = images_.find(out->successor))
        out = &next->second;
    return *out;
}

/// What led to an image leads to its successor once it is gone.
void Broker::hand_over(ImageRecord& image)
{
    const auto successor = images_.find(image.successor);
    if (successor == images_.end() || image.revoked) return;
    for (auto& [_, other] : images_)
        if (other.successor == image.id) other.successor = image.successor;
    for (auto& [_, other] : images_)
        if (other.copy.source == image.id) other.copy.source = image.successor, other.copy.route = {};
    for (const Token& token : std::exchange(image.tokens, {})) {
        tokens_.lead(token, image.successor);
        successor->second.tokens.push_back(token);
    }
}

void Broker::free_if_unused(ImageRecord& image, Instant now)
{
    if (!image.holds.empty() || image.has_lease(now)) return;
    hand_over(image);
    end_all_tokens(image, image.revoked ? TokenEnd::revoked : TokenEnd::image_gone);
    change_lease(image, {});
    memory_.remove(image.memory.keys);
    image.read_only.reset();
    Allocated memory = std::move(image.memory);
    if (image.copy.source != ImageId{}) memory.desc.rung = image.copy.memory_rung;
    const Pool::Past past{clients_.contains(image.owner) ? image.owner : ClientId{}, image.was_shared, image.may_reopen};
    images_.erase(image.id);
    if (memory.desc.backend != Backend::client) pool_.put(past, std::move(memory), now);
}

// --- leases and time -------------------------------------------------------------------------------

void Broker::change_lease(ImageRecord& image, Instant end)
{
    const auto is_timed = [](Instant t) { return t != Instant{} && t != never; };
    if (is_timed(image.lease_end)) leases_.erase({image.lease_end, image.id});
    image.lease_end = end;
    if (is_timed(end)) leases_.insert({end, image.id});
}

Result<> Broker::set_lease(ClientId id, const wire::SetLease& request, Instant now)
{
    ClientRecord& record = client(id);
    const auto found = record.holds.find(request.handle);
    if (found == record.holds.end()) return fail(Errc::not_found, "no such handle");
    ImageRecord& image = images_.at(found->second.image);
    if (!found->second.rights.has(Right::manage))
        return fail(Errc::denied, "setting the lease needs the right to manage the image");
    if (image.revoked) return fail(Errc::token_revoked, "the image was revoked; it ends with its last holder");
    change_lease(image, request.lease_ns == 0 ? Instant{} : after(now, request.lease_ns));
    return {};
}

Instant Broker::deadline() const
{
    const Instant lease = leases_.empty() ? never : leases_.begin()->first;
    return std::min({lease, tokens_.deadline(), pool_.deadline()});
}

void Broker::expire(Instant now)
{
    for (const auto& [id, token] : tokens_.expire(now)) std::erase(images_.at(id).tokens, token);
    while (!leases_.empty() && leases_.begin()->first <= now) {
        ImageRecord& image = images_.at(leases_.begin()->second);
        change_lease(image, {});
        free_if_unused(image, now);
    }
    pool_.trim(now);
}

// --- tokens ----------------------------------------------------------------------------------------

Result<wire::TokenReply> Broker::mint(ClientId id, const wire::MintToken& request, Instant now)
{
    ClientRecord& record = client(id);
    const auto found = record.holds.find(request.handle);
    if (found == record.holds.end()) return fail(Errc::not_found, "no such handle");
    const Hold& hold = found->second;
    ImageRecord& image = images_.at(hold.image);
    if (image.revoked || is_revoked(hold.origin.get()))
        return fail(Errc::token_revoked, "the image, or the token it was opened with, was revoked; it cannot be passed on");
    if (request.rights.empty()) return fail(Errc::invalid_argument, "a token needs at least one right");
    if (!hold.rights.has(request.rights))
        return fail(Errc::denied, "this hold has {}; it cannot pass on {}", to_string(hold.rights), to_string(request.rights));
    const std::uint32_t depth = hold.origin ? hold.origin->depth + 1 : 0;
    if (depth > most_depth)
        return fail(Errc::denied, "this right was passed on {} times already; ask nearer to its owner", most_depth);
    TokenRecord token{.lineage = std::make_shared<Lineage>(hold.origin, depth),
                      .image = image.id,
                      .rights = request.rights,
                      .one_shot = request.one_shot,
                      .enforced = request.enforced,
                      .charge = {}};
    if (request.lifetime_ns != 0) token.expires = after(now, request.lifetime_ns);
    token.charge = TRY(Charge::take(record.account, record.uid_account, {.tokens = 1}));
    const Token minted = TRY(tokens_.add(std::move(token)));
    image.tokens.push_back(minted);
    return wire::TokenReply{minted, request.rights};
}

Error Broker::wrong_token(ClientRecord& record, const Token& token)
{
    bool existed = false;
    Error error = tokens_.explain(token, existed);
    if (!existed && ++record.wrong_tokens > limits::wrong_tokens) return cut_for_guessing();
    return error;
}

Result<> Broker::check_token(const TokenRecord& token, const wire::Open& request, const ImageDesc& desc)
{
    if (request.rights.empty()) return fail(Errc::invalid_argument, "ask for at least one right");
    if (!token.rights.has(request.rights))
        return fail(Errc::denied, "the token gives {}, not {}; ask its owner for one that does", to_string(token.rights),
                    to_string(request.rights));
    const bool reader = !request.rights.has(Right::write);
    if (token.enforced && reader && !may_be_read_only(request, desc))
        return fail(Errc::denied,
                    "the token wants readers kept from writing, which the kernel can do only for the broker's memfds used by "
                    "the CPU, not for {} used for {}",
                    name(desc.kind), to_string(request.usage));
    return {};
}

/// Null when it opens nothing. Revoking a token ends its descendants with its own image; those of a successor or a copy
/// are found here.
const TokenRecord* Broker::find_token(const Token& token)
{
    const TokenRecord* found = tokens_.find(token);
    if (!found || !is_revoked(found->lineage.get())) return found;
    end_token(images_.at(found->image), token, TokenEnd::revoked);
    return nullptr;
}

Result<Held> Broker::open(ClientId id, const wire::Open& request, Instant now)
{
    ClientRecord& record = client(id);
    if (tokens_.deadline() <= now) expire(now);
    const TokenRecord* token = find_token(request.token);
    if (!token) return std::unexpected(wrong_token(record, request.token));
    ImageRecord& image = images_.find(token->image)->second;
    TRY(check_token(*token, request, image.memory.desc));
    Held held = TRY(hold_as(record, image, {request.rights, request.usage, token->enforced, token->lineage}));
    if (token->one_shot) end_token(image, request.token, TokenEnd::used);
    return held;
}

/// For whoever did not make it. A reader gets a descriptor that cannot write where there is such a thing, and
/// nothing else where that is enforced. In a copy of its own it may do what it likes.
Result<Held> Broker::hold_as(ClientRecord& record, ImageRecord& image, const Grant& grant)
{
    const bool possible = may_be_read_only({{}, grant.rights, grant.usage}, image.memory.desc);
    const bool read_only = possible && open_read_only(image);
    if (grant.enforced && !grant.rights.has(Right::write) && !read_only && image.copy.source == ImageId{})
        return possible ? fail(Errc::out_of_memory, "no descriptor left for a read-only copy; try again later")
                        : fail(Errc::denied, "the token wants readers kept from writing, which is not possible for this image");
    Held held = TRY(hold(record, image, grant.rights, grant.origin));
    Hold& added = record.holds.at(held.handle);
    added.usage = grant.usage;
    added.enforced = grant.enforced;
    if (read_only) {
        held.fds[0] = image.read_only.get();
        held.protection = Protection::read_only_descriptor;
    }
    image.was_shared |= record.id != image.owner;
    image.may_reopen |= record.peer.may_reopen;
    return held;
}

/// The readers' descriptor, once per image and charged to its owner. False: it cannot be had.
bool Broker::open_read_only(ImageRecord& image)
{
    if (image.read_only) return true;
    Amount amount = image.charge.amount();
    ++amount.fds;
    if (!image.charge.resize(amount)) return false;
    Result<UniqueFd> opened = reopen(image.memory.keeper.get(), O_RDONLY);
    if (opened) image.read_only = std::move(*opened);
    else --amount.fds;
    [[maybe_unused]] const auto same_or_less = image.charge.resize(amount);
    return static_cast<bool>(image.read_only);
}

void Broker::end_token(ImageRecord& image, const Token& token, TokenEnd why)
{
    tokens_.end(token, why);
    const auto found = std::ranges::find(image.tokens, token);
    assert(found != image.tokens.end());
    *found = image.tokens.back();
    image.tokens.pop_back();
}

void Broker::end_all_tokens(ImageRecord& image, TokenEnd why)
{
    for (const Token& token : std::exchange(image.tokens, {})) tokens_.end(token, why);
}

void Broker::end_revoked_tokens(ImageRecord& image)
{
    for (std::size_t i = image.tokens.size(); i-- > 0;) {
        const Token token = image.tokens[i];
        if (is_revoked(tokens_.find(token)->lineage.get())) end_token(image, token, TokenEnd::revoked);
    }
}

bool Broker::may_manage(const ClientRecord& record, const ImageRecord& image) const
{
    if (record.manager) return true;
    return std::ranges::any_of(image.holds,
                               [&](const Hold* h) { return h->client == record.id && h->rights.has(Right::manage); });
}

Result<> Broker::revoke(ClientId id, const wire::RevokeToken& request, Instant)
{
    ClientRecord& record = client(id);
    const auto image = images_.find(tokens_.image_of(request.token));
    // One answer and one price, whether the token exists or this client may not know it.
    if (image == images_.end() || !may_manage(record, image->second)) {
        if (!record.manager && ++record.wrong_tokens > limits::wrong_tokens) return std::unexpected(cut_for_guessing());
        return fail(Errc::not_found, "no token of an image that this client may manage");
    }
    tokens_.lineage_of(request.token)->revoked = true;
    end_revoked_tokens(image->second);
    return {};
}

Result<> Broker::revoke(ClientId id, const wire::RevokeImage& request, Instant now)
{
    const auto found = images_.find(request.image);
    if (found == images_.end() || !may_manage(client(id), found->second))
        return fail(Errc::not_found, "no image {} that this client may manage", request.image.value);
    ImageRecord& image = found->second;
    end_all_tokens(image, TokenEnd::revoked);
    image.revoked = true;
    change_lease(image, {});
    for (const Hold* hold : image.holds) events_.image_revoked(hold->client, hold->handle);
    free_if_unused(image, now);
    return {};
}

} // namespace dmb
