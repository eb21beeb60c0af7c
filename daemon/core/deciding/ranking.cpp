// SPDX-License-Identifier: MIT
// The order of layouts, for negotiate(): a Rank per layout, compared member by member. Ranks of several participants
// are summed, which is why the order in which they are listed does not matter. Software drivers come last, because what
// they allocate is system memory anyway. A new backend needs its place in gpu_preference().
#include "daemon/core/deciding/ranking.hpp"

#include <algorithm>

namespace dmb {
namespace {

int gpu_preference(Backend backend)
{
    switch (backend) {
    case Backend::gbm: return 0;
    case Backend::vulkan: return 1;
    case Backend::vulkan_opaque: return 2;
    case Backend::udmabuf: return 3;
    case Backend::dma_heap: return 4;
    case Backend::memfd: return 5;
    case Backend::client: return 9;
    }
    return 9;
}

/// Position in a list of preferences; 0 without a list.
template <class List, class T> std::size_t position(const List& list, const T& value)
{
    return list.empty() ? 0 : static_cast<std::size_t>(std::ranges::find(list, value) - list.begin());
}

std::size_t format_rank(const Question& question, FourCC format)
{
    std::size_t sum = format == question.spec.format ? 0 : 1 + position(question.alternatives, format);
    for (const Party& party : question.parties) sum += position(party.demands.formats, format);
    return sum;
}

std::size_t modifier_rank(const Question& question, Modifier modifier)
{
    std::size_t sum = position(question.spec.modifiers, modifier);
    for (const Party& party : question.parties) sum += position(party.demands.modifiers, modifier);
    return sum;
}

/// Smaller is better.
struct Rank {
    std::size_t format = 0;
    int place = 0; ///< hardware, system memory, software driver
    int rung = 0;
    int preference = 0;
    std::size_t modifier = 0;
    std::size_t offer = 0;
    std::size_t row = 0;
    friend auto operator<=>(const Rank&, const Rank&) = default;
};

Rank rank(const Question& question, const Layout& layout, std::size_t row, bool cpu_only)
{
    const Exporter& device = *question.offers[layout.offer].device;
    const int preferred = preference(device, cpu_only);
    const bool hardware = !device.software && !is_system(device.backend);
    return {.format = format_rank(question, layout.row->format),
            .place = hardware        ? 0
                     : preferred < 0 ? -1
                     : preferred < 6 ? 1
                                     : 2,
            .rung = hardware ? -static_cast<int>(layout.rung) : 0,
            .preference = preferred,
            .modifier = modifier_rank(question, layout.row->modifier),
            .offer = layout.offer,
            .row = row};
}

} // namespace

bool is_cpu_only(Usage usage) { return !usage.empty() && usage_cpu.has(usage); }

int preference(const Exporter& device, bool cpu_only)
{
    const int gpu = gpu_preference(device.backend);
    if (cpu_only && device.backend == Backend::memfd) return -20;
    if (cpu_only && is_system(device.backend)) return gpu - 20;
    return device.software && !is_system(device.backend) ? gpu + 6 : gpu;
}

std::vector<std::size_t> ranked(const Question& question, const Layouts& layouts, bool cpu_only)
{
    std::vector<std::pair<Rank, std::size_t>> ranks;
    ranks.reserve(layouts.all().size());
    for (std::size_t i = 0; i < layouts.all().size(); ++i) ranks.emplace_back(rank(question, layouts.all()[i], i, cpu_only), i);
    std::ranges::sort(ranks);
    std::vector<std::size_t> order;
    order.reserve(ranks.size());
    for (const auto& [_, i] : ranks) order.push_back(i);
    return order;
}

} // namespace dmb
