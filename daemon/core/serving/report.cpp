// SPDX-License-Identifier: MIT
// Broker::inspect: the state as a Snapshot, made anew for each request. A manager sees everything; anybody else sees
// itself, the images that it holds and the devices. Other holders of such an image appear by number and rights: what
// else they are it cannot look up. Tokens are secrets and never in it, only how many there are.
#include "daemon/core/serving/broker.hpp"

#include <algorithm>

namespace dmb {
namespace {

void add_holder(std::vector<HolderInfo>& holders, const Hold& hold)
{
    const auto found = std::ranges::find(holders, hold.client, &HolderInfo::client);
    if (found == holders.end()) {
        holders.push_back({hold.client, 1, hold.rights});
        return;
    }
    ++found->handles;
    found->rights = found->rights | hold.rights;
}

std::set<ImageId> images_held_by(const ClientRecord& record)
{
    std::set<ImageId> out;
    for (const auto& [_, hold] : record.holds) out.insert(image_of(hold.object));
    return out;
}

} // namespace

ImageInfo Broker::describe(const ImageRecord& image, Instant now) const
{
    ImageInfo out{.id = image.id, .owner_uid = image.owner_uid, .label = image.label, .desc = image.desc};
    if (state_.find(image.owner.client)) out.owner = image.owner.client;
    for (const HoldId& id : image.holds) add_holder(out.holders, *state_.find(id.client, id.handle));
    std::ranges::sort(out.holders, {}, &HolderInfo::client);
    out.tokens = static_cast<std::uint32_t>(state_.tokens().of(object_of(image.id)).size());
    out.lease_left_ns = time_left(now, image.lease_end);
    out.age_ns = time_left(image.created, now);
    out.request = image.decision;
    out.source = image.copy.source;
    out.copying = image.copy.info;
    return out;
}

ClientInfo Broker::describe(const ClientRecord& record) const
{
    const Amount used = state_.used(record.id);
    return {.id = record.id,
            .pid = record.peer.pid,
            .uid = record.peer.uid,
            .name = record.name,
            .manager = record.manager,
            .bytes = used.bytes,
            .images = used.images,
            .fds = used.fds};
}

Result<Snapshot> Broker::inspect(ClientId id, ImageId wanted, Instant now) const
{
    const ClientRecord& asking = state_.at(id);
    Snapshot out;
    out.pool = pool_.info();
    for (const auto& [_, record] : state_.clients())
        if (asking.manager || record.id == id) out.clients.push_back(describe(record));
    const auto add = [&](const ImageRecord& image) {
        const bool is_over = image.holds.empty() && !image.has_lease(now); // and not swept yet
        if (!is_over && (wanted == ImageId{} || wanted == image.id)) out.images.push_back(describe(image, now));
    };
    if (asking.manager)
        for (const auto& [_, image] : state_.images()) add(image);
    else
        for (const ImageId held : images_held_by(asking)) add(state_.at(held));
    if (wanted != ImageId{} && out.images.empty())
        return fail(Errc::not_found, "no image {} that this client may see", wanted.value);
    std::ranges::sort(out.clients, {}, &ClientInfo::id);
    std::ranges::sort(out.images, {}, &ImageInfo::id);
    for (const Offer& offer : allocations_.offers())
        out.exports.push_back({*offer.device, {offer.rows.begin(), offer.rows.end()}});
    if (asking.manager) out.proofs = proofs_.all();
    return out;
}

} // namespace dmb
