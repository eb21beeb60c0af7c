// SPDX-License-Identifier: MIT
// A list in order of age and an index by shape. Memory is judged when it is put back (reclaim) and
// cleared when it is taken by somebody else, so that the owner's own reuse costs no system call.
// That no descriptor is left does not mean that nobody comes back: an O_PATH descriptor is seen by no lease and opens a
// memfd anew for whoever may open the file. So what such a client had serves nobody else, and what it shared serves nobody.
// Dma-bufs never change hands: pages that a pipe or an importer pinned cannot be taken out of them, as out of a memfd.
// Nothing stays longer than `idle_ns`: what the broker holds is back to its baseline soon after its
// clients are, and an empty pool needs no timer.
#include "daemon/alloc/pool.hpp"

#include "daemon/alloc/exclusive.hpp"

#include <algorithm>

namespace dmb {
namespace {

constexpr std::uint64_t idle_ns = 1'000'000'000;
constexpr std::size_t most_images = 256;
/// Clearing runs on the broker's only thread; larger memory is not worth the wait of everybody else.
constexpr std::uint64_t most_bytes_to_clear = 32ULL << 20;

std::size_t shape_of(Backend backend, Extent size, FourCC format, Usage usage)
{
    std::size_t h = static_cast<std::size_t>(backend);
    for (const std::uint64_t part :
         {std::uint64_t{size.width}, std::uint64_t{size.height}, std::uint64_t{format.value}, std::uint64_t{usage.bits}})
        h = (h ^ part) * 0x9e3779b97f4a7c15;
    return h;
}

bool may_change_hands(const Pool::Past& past, const ImageDesc& desc)
{
    return !past.may_reopen && desc.backend == Backend::memfd && desc.total_size() <= most_bytes_to_clear;
}

bool fits(const ImageDesc& desc, const Exporter& device, const AllocateSpec& spec)
{
    const auto& wanted = spec.modifiers;
    return desc.backend == device.backend && desc.device == device.id && desc.size == spec.size && desc.format == spec.format &&
           desc.usage == spec.usage && desc.rung >= spec.minimum_rung &&
           (wanted.empty() || std::ranges::find(wanted, desc.modifier) != wanted.end());
}

} // namespace

Pool::Shapes::iterator Pool::find(ClientId client, std::size_t shape, const Exporter& device, const AllocateSpec& spec)
{
    auto best = shapes_.end();
    const auto [first, last] = shapes_.equal_range(shape);
    for (auto it = first; it != last; ++it) {
        const Entry& entry = *it->second;
        if (!fits(entry.memory.desc, device, spec)) continue;
        if (entry.owner == client) return it;
        if (entry.for_others) best = it;
    }
    return best;
}

std::optional<Allocated> Pool::take(ClientId client, const Exporter& device, const AllocateSpec& spec)
{
    const auto found = find(client, shape_of(device.backend, spec.size, spec.format, spec.usage), device, spec);
    if (found == shapes_.end()) return std::nullopt;
    const bool own = found->second->owner == client;
    Allocated memory = remove(found);
    if (!own && !clear(memory)) return std::nullopt;
    memory.desc.colour = spec.colour;
    return memory;
}

void Pool::put(const Past& past, Allocated memory, Instant now)
{
    const std::uint64_t size = memory.desc.total_size();
    const ClientId owner = past.was_shared ? ClientId{} : past.owner;
    const bool for_others = may_change_hands(past, memory.desc);
    if (size > limit_ || (owner == ClientId{} && !for_others) || !reclaim(memory)) return;
    memory.contents_written = false;
    while (!entries_.empty() && (bytes_ + size > limit_ || entries_.size() >= most_images)) remove(entries_.begin());
    const std::size_t shape = shape_of(memory.desc.backend, memory.desc.size, memory.desc.format, memory.desc.usage);
    entries_.push_back({std::move(memory), owner, for_others, now, shape});
    shapes_.emplace(shape, std::prev(entries_.end()));
    bytes_ += size;
}

void Pool::forget(ClientId client)
{
    for (auto it = entries_.begin(); it != entries_.end();) {
        const auto entry = it++;
        if (entry->owner != client) continue;
        entry->owner = {};
        if (!entry->for_others) remove(entry);
    }
}

Allocated Pool::remove(Shapes::iterator it)
{
    const Entries::iterator entry = it->second;
    Allocated memory = std::move(entry->memory);
    bytes_ -= memory.desc.total_size();
    shapes_.erase(it);
    entries_.erase(entry);
    return memory;
}

Allocated Pool::remove(Entries::iterator entry)
{
    auto it = shapes_.find(entry->shape);
    while (it->second != entry) ++it;
    return remove(it);
}

PoolInfo Pool::info() const { return {bytes_, static_cast<std::uint32_t>(entries_.size())}; }

Instant Pool::deadline() const { return entries_.empty() ? never : after(entries_.front().since, idle_ns); }

void Pool::trim(Instant now)
{
    while (!entries_.empty() && deadline() <= now) remove(entries_.begin());
}

} // namespace dmb
