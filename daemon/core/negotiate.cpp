// SPDX-License-Identifier: MIT
// Layouts that nobody blocks are ranked: formats as the participants prefer them, then a GPU's own memory for
// a GPU and plain memory for the CPU, then the better rung, then modifiers as preferred. Ranks of several
// participants are summed, which is why their order does not matter. Software drivers come last,
// because what they allocate is system memory anyway. Where every layout is blocked, the one with the
// fewest blockers tells whom to blame and what to change.
#include "daemon/core/negotiate.hpp"

#include "daemon/core/reasons.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <tuple>

namespace dmb {
namespace {

constexpr std::size_t most_removals = 16;
constexpr std::size_t most_common = 32;

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

int preference(const DeviceInfo& device, bool cpu_only)
{
    const int gpu = gpu_preference(device.backend);
    if (cpu_only && device.backend == Backend::memfd) return -20;
    if (cpu_only && is_system(device.backend)) return gpu - 20;
    return device.software && !is_system(device.backend) ? gpu + 6 : gpu;
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
    const DeviceInfo& device = *question.offers[layout.offer].device;
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

/// All layouts, best first.
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

/// Everybody takes whatever the driver prefers: it need not be told a list.
bool takes_any(const Question& question)
{
    if (!question.spec.modifiers.empty() || question.spec.minimum_rung > Rung::system_dma_buf) return false;
    return std::ranges::all_of(question.parties, [](const Party& party) {
        return !party.table && party.demands.modifiers.empty() && party.demands.minimum_rung <= Rung::system_dma_buf;
    });
}

void add_choice(Negotiation& out, const Question& question, const Layout& layout, bool any)
{
    const Offer& offer = question.offers[layout.offer];
    auto found = std::ranges::find_if(
        out.choices, [&](const Choice& c) { return c.offer == layout.offer && c.format == layout.row->format; });
    if (found == out.choices.end()) {
        out.choices.push_back({offer.allocator,
                               offer.index,
                               layout.offer,
                               layout.row->format,
                               {},
                               exporter_usage(question, *offer.device, layout.blockers)});
        found = out.choices.end() - 1;
    }
    auto& modifiers = found->modifiers;
    const bool known = std::ranges::find(modifiers, layout.row->modifier) != modifiers.end();
    if (!any && !known && !modifiers.full()) modifiers.push_back(layout.row->modifier);
}

/// Of every offer: why this request is hopeless there, or empty.
std::vector<Reason> refusals(const Question& question)
{
    std::vector<Reason> out(question.offers.size());
    for (std::size_t i = 0; question.refusal && i < out.size(); ++i) out[i] = question.refusal(question.offers[i]);
    return out;
}

/// What was tried and did not work is not tried again. True when there is such a thing.
bool ask_proofs(const Question& question, Layouts& layouts)
{
    bool found = false;
    for (std::size_t i = 0; question.disproof && i < layouts.all().size(); ++i) {
        const Layout& layout = layouts.all()[i];
        if (layouts.demands(i, 0) != 0) continue;
        for (Who who = 0; who < layouts.who_count(); ++who) {
            if (layouts.demands(i, who) != 0) continue;
            const Party* party = who == 0 ? nullptr : &question.parties[who - 1];
            if (question.disproof(question.offers[layout.offer], party, layout.row->format, layout.row->modifier).empty())
                continue;
            layouts.block(i, who, Demand::proof);
            found = true;
        }
    }
    return found;
}

/// Alignments that have no common multiple: everybody who has one is to blame.
void combine_rules(const Question& question, Layouts& layouts, Negotiation& out)
{
    bool possible = true;
    for (const Party& party : question.parties) {
        for (const LayoutRules& rules : {party.demands.rules, party.table ? party.table->rules : LayoutRules{}}) {
            const auto combined = combine(out.rules, rules);
            possible = possible && combined;
            if (combined) out.rules = *combined;
        }
    }
    if (possible) return;
    for (std::size_t i = 0; i < layouts.all().size(); ++i)
        for (Who who = 1; who < layouts.who_count(); ++who) {
            const Party& party = question.parties[who - 1];
            const LayoutRules own = party.table ? party.table->rules : LayoutRules{};
            if (party.demands.rules != LayoutRules{} || own != LayoutRules{}) layouts.block(i, who, Demand::rules);
        }
}

Usage usage_of_all(const Question& question)
{
    Usage usage = question.spec.usage;
    for (const Party& party : question.parties) usage = usage | party.demands.usage;
    return usage;
}

// --- verdicts on offers ----------------------------------------------------------------------------

/// The layout of this offer that came furthest names the reason.
Reason layouts_reason(const Question& question, const Layouts& layouts, std::size_t offer)
{
    std::size_t best = layouts.all().size();
    const auto fewer = [&](std::size_t a, std::size_t b) {
        const Layout &x = layouts.all()[a], &y = layouts.all()[b];
        const auto step = [&](std::size_t i) { return layouts.demands(i, 0) ? first_of(layouts.demands(i, 0)) : Demand{100}; };
        return std::tuple(-static_cast<int>(step(a)), std::popcount(x.blockers)) <
               std::tuple(-static_cast<int>(step(b)), std::popcount(y.blockers));
    };
    for (std::size_t i = 0; i < layouts.all().size(); ++i)
        if (layouts.all()[i].offer == offer && (best == layouts.all().size() || fewer(i, best))) best = i;
    if (best == layouts.all().size())
        return std::string_view(fmt::format("{} could not be allocated there", to_string(question.spec.format)));
    const Layout& layout = layouts.all()[best];
    const Who who = static_cast<Who>(std::countr_zero(layout.blockers));
    return reason_for(question, layout, who, first_of(layouts.demands(best, who)));
}

/// Every offer that is no choice, with its reason.
void judge_offers(const Question& question, const Layouts& layouts, const std::vector<Reason>& refused, bool cpu_only,
                  Negotiation& out)
{
    std::vector<std::size_t> order(question.offers.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return preference(*question.offers[i].device, cpu_only); });
    bool chosen = false;
    for (const std::size_t i : order) {
        const Offer& offer = question.offers[i];
        if (std::ranges::find(out.choices, i, &Choice::offer) != out.choices.end()) {
            chosen = true;
            continue;
        }
        const Demands unfit = unwanted(question.spec, *offer.device);
        const bool wanted = unfit == 0;
        Reason reason = unfit ? unwanted_reason(question.spec, first_of(unfit)) : offer.device->problem;
        const bool passes =
            std::ranges::any_of(layouts.all(), [&](const Layout& l) { return l.offer == i && l.blockers == 0; });
        if (reason.empty()) reason = passes ? refused[i] : layouts_reason(question, layouts, i);
        out.refused.push_back(candidate(*offer.device, wire::Verdict::refused, reason.view()));
        if (wanted && !chosen) out.passed_over.push_back(out.refused.back());
    }
}

// --- why -------------------------------------------------------------------------------------------

/// What somebody writes into a copy reaches nobody.
bool accepts_a_copy(const Party& party)
{
    const bool writes = party.demands.usage.has_any(UsageFlag::cpu_write | UsageFlag::render | Usage(UsageFlag::storage));
    return party.demands.minimum_rung <= Rung::blit && !party.demands.is_protected && !writes;
}

/// Fewest blockers, then fewest demands, then the better rank.
std::size_t nearest_layout(const Layouts& layouts, std::span<const std::size_t> order)
{
    const auto cost = [&](std::size_t i) {
        int demands = 0;
        for (Who who = 0; who < layouts.who_count(); ++who) demands += std::popcount(layouts.demands(i, who));
        return std::pair(std::popcount(layouts.all()[i].blockers), demands);
    };
    return *std::ranges::min_element(order, {}, cost);
}

/// The best layout that the request and all who accept no copy can live with, for as many as possible.
void serve_by_copies(const Question& question, const Layouts& layouts, std::span<const std::size_t> order,
                     const std::vector<Reason>& refused, Negotiation& out)
{
    if (question.spec.minimum_rung > Rung::blit) return;
    std::uint32_t strict = 1;
    for (std::size_t i = 0; i < question.parties.size(); ++i)
        if (!accepts_a_copy(question.parties[i])) strict |= 1u << (i + 1);
    std::vector<std::size_t> possible;
    for (const std::size_t i : order)
        if (!(layouts.all()[i].blockers & strict) && refused[layouts.all()[i].offer].empty()) possible.push_back(i);
    if (possible.empty()) return;
    const std::uint32_t blocked = layouts.all()[nearest_layout(layouts, possible)].blockers;
    for (const std::size_t i : possible)
        if (layouts.all()[i].blockers == blocked) add_choice(out, question, layouts.all()[i], false);
    for (Who who = 1; who < layouts.who_count(); ++who)
        if (blocked & 1u << who) out.copied.push_back(who);
}

void blame(const Question& question, const Layouts& layouts, std::span<const std::size_t> order, Negotiation& out)
{
    const std::size_t nearest = nearest_layout(layouts, order);
    for (Who who = 0; who < layouts.who_count(); ++who) {
        if (!(layouts.all()[nearest].blockers & 1u << who)) continue;
        if (who > 0) out.culprits.push_back(who);
        out.removals.push_back(removal(question, layouts, nearest, who));
    }
    out.nearest = nearest_change(question, layouts, nearest);
}

/// What removed the layouts that come before the first choice; on failure, all of them.
void explain(const Question& question, const Layouts& layouts, std::span<const std::size_t> order, Negotiation& out)
{
    for (const std::size_t i : order) {
        const Layout& layout = layouts.all()[i];
        if (out.common.size() == most_common) break;
        if (layouts.is_common(i) && std::ranges::find(out.common, layout.row->modifier) == out.common.end())
            out.common.push_back(layout.row->modifier);
    }
    for (const std::size_t i : order) {
        const std::uint32_t blockers = layouts.all()[i].blockers;
        if (blockers == 0 || out.removals.size() >= most_removals) break;
        const Removal found = removal(question, layouts, i, static_cast<Who>(std::countr_zero(blockers)));
        const auto same = [&](const Removal& r) {
            return r.who == found.who && r.demand == found.demand && r.modifier == found.modifier && r.format == found.format;
        };
        if (std::ranges::none_of(out.removals, same)) out.removals.push_back(found);
    }
}

} // namespace

bool is_cpu_only(Usage usage) { return !usage.empty() && usage_cpu.has(usage); }

wire::Candidate candidate(const DeviceInfo& device, wire::Verdict verdict, std::string_view reason)
{
    wire::Candidate out{.backend = device.backend, .device = {}, .verdict = verdict, .reason = reason};
    out.device = device.node.empty() && !is_system(device.backend) ? device.name.view() : device.node.view();
    return out;
}

Negotiation negotiate(const Question& question)
{
    Negotiation out;
    out.usage = usage_of_all(question);
    const bool cpu_only = is_cpu_only(out.usage);
    Layouts layouts(question);
    combine_rules(question, layouts, out);
    const bool disproved = ask_proofs(question, layouts);
    const std::vector<std::size_t> order = ranked(question, layouts, cpu_only);
    const std::vector<Reason> refused = refusals(question);
    const bool any = !disproved && takes_any(question);
    for (const std::size_t i : order)
        if (layouts.all()[i].blockers == 0 && refused[layouts.all()[i].offer].empty())
            add_choice(out, question, layouts.all()[i], any);
    if (out.choices.empty() && !question.parties.empty() && !order.empty()) {
        blame(question, layouts, order, out);
        serve_by_copies(question, layouts, order, refused, out);
    }
    judge_offers(question, layouts, refused, cpu_only, out);
    if (!question.parties.empty()) explain(question, layouts, order, out);
    return out;
}

} // namespace dmb
