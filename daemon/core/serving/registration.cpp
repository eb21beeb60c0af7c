// SPDX-License-Identifier: MIT
// Images that clients made. Their memory is identified without ever blocking on it and never mapped; what
// the broker or another client already has under this identity is refused, so that a reader cannot turn
// its descriptor into an image of its own with all rights.
#include "daemon/core/serving/broker.hpp"

#include "proto/image/fd_identity.hpp"
#include "proto/image/format_colour.hpp"

#include <algorithm>

namespace dmb {
namespace {

/// Compression planes come with modifiers only; how many, the device that knows the modifier says.
Result<const Offer*> find_modifier(const ImageDesc& desc, const std::vector<Offer>& offers)
{
    if (desc.modifier == modifier_linear || desc.modifier == modifier_invalid) return nullptr;
    for (const Offer& offer : offers)
        for (const Capability& row : offer.rows)
            if (row.format == desc.format && row.modifier == desc.modifier) {
                if (row.plane_count == desc.planes.size()) return &offer;
                return fail(Errc::bad_layout, "{} with modifier {} has {} planes, the description has {}",
                            to_string(desc.format), to_string(desc.modifier), row.plane_count, desc.planes.size());
            }
    return fail(Errc::unknown_modifier, "no device here knows {} with modifier {}; `dmabrokerctl formats` lists those it knows",
                to_string(desc.format), to_string(desc.modifier));
}

Rung rung_of(const ImageDesc& desc, bool on_device)
{
    if (desc.kind == MemoryKind::memfd) return Rung::system_dma_buf;
    return on_device ? Rung::tiled : Rung::linear;
}

} // namespace

Result<Image> Broker::check_registration(ClientId id, ImageDesc desc, ImageFds fds, MemoryKeys& keys) const
{
    TRY(check_colour(desc.colour, desc.format));
    if (desc.kind == MemoryKind::opaque)
        return fail(Errc::bad_descriptor, "opaque memory cannot be checked; only dma-bufs and sealed memfds can be registered");
    desc.backend = Backend::client;
    // Not the client's word: software displays on a DRM node crash on memory of other devices, and their importer
    // decides by this. A liar could end whoever opens its image.
    desc.device = {};
    desc.opaque = {};
    for (const UniqueFd& fd : fds) {
        const FdIdentity found = identify(fd.get());
        keys.push_back({found.mount, found.inode});
    }
    Image image = TRY(Image::validate(desc, std::move(fds)));
    const Offer* device = TRY(find_modifier(desc, allocations_.offers()));
    if (!state_.may_register(keys, id))
        return fail(Errc::already_registered,
                    "this memory belongs to an image of the broker or of another client; open that by its token");
    desc = image.desc();
    if (device) desc.device = device->device->id;
    desc.rung = rung_of(desc, device != nullptr);
    return Image::adopt(desc, std::move(image).take_fds());
}

Result<Held> Broker::register_image(ClientId id, const ImageDesc& desc, ImageFds fds, const Order& order)
{
    TRY(check_label(order.label));
    MemoryKeys keys;
    Image image = TRY(check_registration(id, desc, std::move(fds), keys));
    Allocated memory;
    memory.desc = image.desc();
    memory.fds = std::move(image).take_fds();
    memory.keys = keys;
    const ImageId added = TRY(images_.add(id, std::move(memory), order, std::nullopt));
    Result<Held> held = images_.hold_own(id, added);
    if (!held) images_.free_if_unused(added, order.now);
    return held;
}

} // namespace dmb
