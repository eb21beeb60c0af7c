// SPDX-License-Identifier: MIT
// The rules about images, a member of the Broker. An image lives while somebody holds it or its lease runs; when
// neither is so, its tokens end and its memory goes to the pool or back to the kernel. What is over but not swept yet
// is over for everybody who asks. Revoking takes nothing from holders. State keeps the records; who may ask is decided
// by the callers in broker.cpp and joining.cpp.
#include "daemon/core/serving/images.hpp"

#include "daemon/alloc/memfd.hpp"

#include <algorithm>
#include <fcntl.h>

namespace dmb {
namespace {

/// A reader that cannot be kept from writing in another way, and needs no GPU.
bool may_be_read_only(Rights rights, Usage usage, const ImageDesc& desc)
{
    const bool is_broker_memfd = desc.kind == MemoryKind::memfd && desc.backend == Backend::memfd;
    return !rights.has(Right::write) && Usage(UsageFlag::cpu_read).has(usage) && is_broker_memfd;
}

} // namespace

Result<> check_label(std::string_view label)
{
    if (is_printable(label)) return {};
    return fail(Errc::invalid_argument, "names and labels must be printable UTF-8 without control or direction characters");
}

Instant lease_end(Instant now, std::uint64_t lease_ns) { return lease_ns == 0 ? Instant{} : after(now, lease_ns); }

// --- images ----------------------------------------------------------------------------------------

Result<ImageId> Images::add(ClientId owner, Allocated memory, const Order& order, std::optional<Wish> wanted,
                            const CopyState& copy)
{
    const ClientRecord& client = state_.at(owner);
    ImageState image;
    image.owner = client.payer();
    image.owner_uid = client.peer.uid;
    image.may_reopen = client.peer.may_reopen;
    image.label = order.label;
    image.created = order.now;
    image.lease_end = lease_end(order.now, order.lease_ns);
    image.wanted = std::move(wanted);
    image.copy = copy;
    return state_.add_image(std::move(image), std::move(memory));
}

const ImageRecord* Images::find(ImageId id, Instant now)
{
    const ImageRecord* image = state_.find(id);
    if (!image || !image->holds.empty() || image->has_lease(now)) return image;
    free_if_unused(id, now);
    return nullptr;
}

const ImageRecord& Images::latest(const ImageRecord& image, Instant now)
{
    const ImageRecord* out = &image;
    for (;;) {
        const ImageId successor = out->successor;
        if (const ImageRecord* next = find(successor, now)) out = next;
        else if (out->successor == successor) return *out; // else that one is over, and has handed on
    }
}

/// What led to an image leads to its successor once it is gone.
void Images::hand_over(const ImageRecord& image)
{
    for (const ImageId other : state_.replaced_by(image.id)) state_.set_successor(other, image.successor);
    for (const ImageId copy : state_.copies_of(image.id)) state_.set_source(copy, image.successor);
    state_.lead_tokens(object_of(image.id), object_of(image.successor));
}

void Images::free_if_unused(ImageId id, Instant now)
{
    const ImageRecord& image = state_.at(id);
    if (!image.holds.empty() || image.has_lease(now)) return;
    const TokenEnd why = image.revoked ? TokenEnd::revoked : TokenEnd::object_gone;
    if (state_.find(image.successor) && !image.revoked) hand_over(image);
    else state_.end_tokens(object_of(id), why);
    const ClientId owner = state_.find(image.owner.client) ? image.owner.client : ClientId{};
    const Pool::Past past{owner, image.was_shared, image.may_reopen};
    const CopyState copy = image.copy;
    Allocated memory = state_.remove_image(id);
    if (copy.source != ImageId{}) memory.desc.rung = copy.memory_rung;
    if (memory.desc.backend != Backend::client) pool_.put(past, std::move(memory), now);
}

// --- holds -----------------------------------------------------------------------------------------

Held Images::describe(const Hold& hold) const
{
    const ImageRecord& image = state_.at(image_of(hold.object));
    Held out{.handle = hold.handle, .image = image.id, .rights = hold.rights, .desc = &image.desc, .fds = {}};
    out.request = image.decision;
    out.source = image.copy.source;
    for (const UniqueFd& fd : image.fds) out.fds.push_back(fd.get());
    if (hold.read_only) {
        out.fds[0] = image.read_only.get();
        out.protection = Protection::read_only_descriptor;
    }
    return out;
}

Result<const Hold*> Images::find_hold(ClientId id, HandleId handle) const
{
    const Hold* hold = state_.find(id, handle);
    if (!hold || hold->object.kind != ObjectKind::image) return fail(Errc::not_found, "no such handle");
    return hold;
}

Result<Held> Images::hold_own(ClientId id, ImageId image, Said said)
{
    return describe(*TRY(state_.add_hold({.client = id, .object = object_of(image), .rights = Rights::all(), .said = said})));
}

/// A reader gets a descriptor that cannot write where there is such a thing, and nothing else where that is enforced. In
/// a copy of its own it may do what it likes.
Result<Held> Images::hold_as(ClientId id, ImageId image_id, const Grant& grant, Said said, std::shared_ptr<const Party> party)
{
    const ImageRecord& image = state_.at(image_id);
    const bool possible = may_be_read_only(grant.rights, grant.usage, image.desc);
    const bool read_only = possible && open_read_only(image_id);
    if (grant.enforced && !grant.rights.has(Right::write) && !read_only && image.copy.source == ImageId{})
        return possible ? fail(Errc::out_of_memory, "no descriptor left for a read-only copy; try again later")
                        : fail(Errc::denied, "the token wants readers kept from writing, which is not possible for this image");
    const Hold* hold = TRY(state_.add_hold({.client = id,
                                            .object = object_of(image_id),
                                            .rights = grant.rights,
                                            .origin = grant.origin,
                                            .usage = grant.usage,
                                            .enforced = grant.enforced,
                                            .read_only = read_only,
                                            .said = said,
                                            .party = std::move(party)}));
    if (id != image.owner.client) state_.mark_shared(image_id, state_.at(id).peer.may_reopen);
    return describe(*hold);
}

/// The readers' descriptor, once per image and charged to its owner. False: it cannot be had.
bool Images::open_read_only(ImageId id)
{
    const ImageRecord& image = state_.at(id);
    if (image.read_only) return true;
    return state_.add_read_only(id, [&] { return reopen(image.keeper.get(), O_RDONLY); }).has_value();
}

void Images::drop(ClientId id, HandleId handle, Instant now)
{
    const ImageId image = image_of(state_.find(id, handle)->object);
    state_.remove_hold(id, handle);
    free_if_unused(image, now);
}

void Images::discard(ImageId id, Instant now)
{
    state_.set_lease(id, {});
    for (const HoldId& hold : std::vector(state_.at(id).holds)) state_.remove_hold(hold.client, hold.handle);
    free_if_unused(id, now);
}

// --- tokens ----------------------------------------------------------------------------------------

Error Images::guessed(ClientId id, Error error)
{
    state_.count_wrong_token(id);
    if (state_.at(id).wrong_tokens <= limits::wrong_tokens) return error;
    return {Errc::too_many_requests, "too many tokens that do not exist; the connection is cut"};
}

Result<const TokenRecord*> Images::find_token(ClientId id, const Token& token, Instant now)
{
    while (const TokenRecord* found = state_.live(token, now))
        if (find(image_of(found->object), now)) return found;
    if (const EndedToken* ended = state_.tokens().find_ended(token)) return std::unexpected(dmb::describe(ended->why));
    if (is_from_earlier_life(state_.life(), token))
        return fail(Errc::broker_restarted, "the broker restarted since this token was made; ask for a new one");
    return std::unexpected(guessed(id, {Errc::not_found, "no image has this token; check that it was copied whole"}));
}

Result<> Images::check_token(const TokenRecord& token, Rights wanted, Usage usage, const ImageDesc& desc)
{
    if (wanted.empty()) return fail(Errc::invalid_argument, "ask for at least one right");
    if (!token.rights.has(wanted))
        return fail(Errc::denied, "the token gives {}, not {}; ask its owner for one that does", to_string(token.rights),
                    to_string(wanted));
    const bool reader = !wanted.has(Right::write);
    if (token.enforced && reader && !may_be_read_only(wanted, usage, desc))
        return fail(Errc::denied,
                    "the token wants readers kept from writing, which the kernel can do only for the broker's memfds used by "
                    "the CPU, not for {} used for {}",
                    name(desc.kind), to_string(usage));
    return {};
}

void Images::use_up(const TokenRecord& token)
{
    if (token.one_shot) state_.end_token(token.token, TokenEnd::used);
}

bool Images::may_manage(ClientId id, ImageId image) const
{
    if (state_.at(id).manager) return true;
    return std::ranges::any_of(state_.at(image).holds, [&](const HoldId& h) {
        return h.client == id && state_.find(h.client, h.handle)->rights.has(Right::manage);
    });
}

void Images::revoke(ImageId id, Instant now)
{
    state_.end_tokens(object_of(id), TokenEnd::revoked);
    state_.mark_revoked(id);
    state_.set_lease(id, {});
    for (const HoldId& hold : state_.at(id).holds) events_.image_revoked(hold.client, hold.handle);
    free_if_unused(id, now);
}

} // namespace dmb
