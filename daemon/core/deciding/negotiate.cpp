// SPDX-License-Identifier: MIT
// negotiate(), a pure function of its Question. Layouts that nobody blocks become choices, in the order of ranking.cpp.
// Where every layout is blocked, the one with the fewest blockers says whom to blame and what to change, and whoever
// could be served by a copy is named. The result does not depend on the order of the participants. It allocates nothing
// and tries nothing: what trials found comes in with the Question.
#include "daemon/core/deciding/negotiate.hpp"

#include "daemon/core/deciding/ranking.hpp"
#include "daemon/core/deciding/reasons.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <map>
#include <numeric>
#include <tuple>

namespace dmb {
namespace {

constexpr std::size_t most_removals = 16;
constexpr std::size_t most_common = 32;

/// Everybody takes whatever the driver prefers: it need not be told a list.
bool takes_any(const Question& question)
{
    if (!question.spec.modifiers.empty() || question.spec.minimum_rung > Rung::system_dma_buf) return false;
    return std::ranges::all_of(question.parties, [](const Party& party) {
        return !party.table && party.demands.modifiers.empty() && party.demands.minimum_rung <= Rung::system_dma_buf;
    });
}

/// The driver's own choice among several layouts: what participants state in tables was ranked for them, and what crashed
/// while choosing is told its choice.
bool may_choose(const Question& question, const Layout& layout)
{
    if (std::ranges::any_of(question.parties, [](const Party& p) { return p.table != nullptr; })) return false;
    if (!question.disproof) return true;
    return question.disproof(question.offers[layout.offer], nullptr, layout.row->format, modifier_invalid).empty();
}

/// `without`: bit per Who that it does not serve.
void add_choice(Plan& out, const Question& question, const Layout& layout, bool any, std::uint32_t without = 0)
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
                               !may_choose(question, layout),
                               exporter_usage(question, *offer.device, without)});
        found = out.choices.end() - 1;
    }
    auto& modifiers = found->modifiers;
    const bool known = std::ranges::find(modifiers, layout.row->modifier) != modifiers.end();
    if ((!any || found->settled) && !known && !modifiers.full()) modifiers.push_back(layout.row->modifier);
}

/// Whoever cannot be served because a trial failed is blocked. True when there is somebody. What cannot even be allocated
/// is nobody's fault: then the participants are not asked.
bool ask_proofs(const Question& question, Layouts& layouts, std::size_t index)
{
    if (!question.disproof) return false;
    const Layout layout = layouts.all()[index];
    const auto failed = [&](const Party* party) {
        return !question.disproof(question.offers[layout.offer], party, layout.row->format, layout.row->modifier).empty();
    };
    if (failed(nullptr)) {
        const bool known = layouts.demands(index, 0) & demand_bit(Demand::proof);
        layouts.block(index, 0, Demand::proof);
        return !known;
    }
    bool found = false;
    for (Who who = 1; who < layouts.who_count(); ++who) {
        if (layout.unable & 1u << who || !failed(&question.parties[who - 1])) continue;
        layouts.block(index, who, Demand::proof);
        found = true;
    }
    return found;
}

/// What was tried and did not work is not tried again. True when there is such a thing.
bool ask_proofs(const Question& question, Layouts& layouts)
{
    bool found = false;
    for (std::size_t i = 0; question.disproof && i < layouts.all().size(); ++i)
        if (layouts.all()[i].blockers == 0) found |= ask_proofs(question, layouts, i);
    return found;
}

struct PartyRules {
    Who who = 0;
    std::optional<LayoutRules> own;
    bool stated = false; ///< none are of its table
};

/// Small alignments come first: then the order of the participants does not matter, and it is the few with large alignments
/// whom contradicting() finds not to fit, instead of the many with small ones.
std::vector<PartyRules> all_rules(const Question& question)
{
    std::vector<PartyRules> out;
    for (Who who = 1; who <= question.parties.size(); ++who) {
        const Party& party = question.parties[who - 1];
        out.push_back({who, own_rules(party), !party.table || party.table->rules == LayoutRules{}});
    }
    std::ranges::sort(out, {}, [](const PartyRules& rules) {
        const auto [stride, offset, _] = rules.own.value_or(LayoutRules{});
        return std::tuple(std::max(stride, offset), stride, offset, rules.who);
    });
    return out;
}

/// Whose rules cannot be met together with the others', when those in `gone` are left out: one whose leaving is enough, else
/// all that did not fit when they were added. Of several that would do, the last one of the list.
std::uint32_t contradicting(std::span<const PartyRules> rules, std::uint32_t gone)
{
    const auto too_much = [&](std::uint32_t left_out) {
        LayoutRules all;
        std::uint32_t out = 0;
        for (const auto& [who, own, _] : rules) {
            if (left_out & 1u << who) continue;
            const auto both = own ? combine(all, *own) : std::nullopt;
            if (both) all = *both;
            else out |= 1u << who;
        }
        return out;
    };
    const std::uint32_t several = too_much(gone);
    if (std::popcount(several) < 2) return several;
    for (std::size_t i = rules.size(); i-- > 0;)
        if (too_much(gone | 1u << rules[i].who) == 0) return 1u << rules[i].who;
    return several;
}

/// Alignments that have no common multiple. Those who are unable to live with a layout do not count for it, and who
/// would have to change anyway is named before others.
void block_contradicting(const Question& question, Layouts& layouts)
{
    const std::vector<PartyRules> rules = all_rules(question);
    if (contradicting(rules, 0) == 0) return;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> known;
    for (std::size_t i = 0; i < layouts.all().size(); ++i) {
        const std::uint32_t blockers = layouts.all()[i].blockers, unable = layouts.all()[i].unable;
        const auto [entry, is_new] = known.try_emplace({blockers, unable}, 0u);
        if (is_new) {
            std::vector<PartyRules> ordered = rules;
            std::ranges::stable_partition(ordered, [&](const PartyRules& one) { return !(blockers & 1u << one.who); });
            entry->second = contradicting(ordered, unable);
        }
        for (const PartyRules& one : rules)
            if (entry->second & 1u << one.who) layouts.block(i, one.who, Demand::rules, one.stated);
    }
}

/// Of the request and of all but those in `without`; as far as they can be combined.
void sum_up(const Question& question, std::span<const Who> without, Plan& out)
{
    out.usage = question.spec.usage;
    for (Who who = 1; who <= question.parties.size(); ++who) {
        if (std::ranges::find(without, who) != without.end()) continue;
        const Party& party = question.parties[who - 1];
        out.usage = out.usage | party.demands.usage;
        const auto own = own_rules(party);
        out.rules = own ? combine(out.rules, *own).value_or(out.rules) : out.rules;
    }
}

Usage usage_of_all(const Question& question)
{
    Usage usage = question.spec.usage;
    for (const Party& party : question.parties) usage = usage | party.demands.usage;
    return usage;
}

// --- verdicts on offers ----------------------------------------------------------------------------

Reason no_format_reason(const Question& question)
{
    const std::string format = to_string(question.spec.format);
    if (question.alternatives.empty()) return std::string_view(fmt::format("{} could not be allocated there", format));
    return std::string_view(
        fmt::format("neither {} nor its {} alternatives could be allocated there", format, question.alternatives.size()));
}

/// Of those who block a layout, the one to name: the request, then whose demand is asked first, then by name.
Who foremost(const Question& question, const Layouts& layouts, std::size_t index)
{
    const std::uint32_t blockers = layouts.all()[index].blockers;
    Who best = static_cast<Who>(std::countr_zero(blockers));
    const auto rank = [&](Who who) {
        return std::tuple(first_of(layouts.demands(index, who)), question.parties[who - 1].demands.name.view());
    };
    for (Who who = best + 1; best > 0 && who < layouts.who_count(); ++who)
        if (blockers & 1u << who && rank(who) < rank(best)) best = who;
    return best;
}

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
    if (best == layouts.all().size()) return no_format_reason(question);
    const Who who = foremost(question, layouts, best);
    return reason_for(question, layouts.all()[best], who, first_of(layouts.demands(best, who)));
}

/// Every offer that is no choice, with its reason.
void judge_offers(const Question& question, const Layouts& layouts, bool cpu_only, Plan& out)
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
        if (reason.empty()) reason = layouts_reason(question, layouts, i);
        out.refused.push_back(candidate(*offer.device, Verdict::refused, reason.view()));
        if (wanted && !chosen) out.passed_over.push_back(out.refused.back());
    }
}

// --- why -------------------------------------------------------------------------------------------

/// For whom, in which format, a copy could be made: they accept the rung, only read, and alone there is a layout for them.
class Copyable {
public:
    Copyable(const Question& question, const Layouts& layouts)
    {
        for (Who who = 1; who < layouts.who_count(); ++who) {
            const Party& party = question.parties[who - 1];
            if (party.demands.minimum_rung > Rung::blit || writes(party)) continue;
            const Demands mended = mended_by_copy(party);
            for (std::size_t i = 0; i < layouts.all().size(); ++i)
                if (!(layouts.demands(i, who) & ~mended)) parties_in(layouts.all()[i].row->format) |= 1u << who;
        }
    }
    /// All who block the layout could have a copy of an image in it.
    bool serves(const Layout& layout) const
    {
        const auto found = std::ranges::find(parties_, layout.row->format, &std::pair<FourCC, std::uint32_t>::first);
        return (layout.blockers & ~(found == parties_.end() ? 0u : found->second)) == 0;
    }

private:
    /// Into a copy, that would reach nobody.
    static bool writes(const Party& party)
    {
        return party.demands.usage.has_any(UsageFlag::cpu_write | UsageFlag::render | Usage(UsageFlag::storage));
    }
    /// What stands in the way of one image for everybody, but not of one for this party alone.
    static Demands mended_by_copy(const Party& party)
    {
        const auto own = own_rules(party);
        return own && !own->contiguous ? demand_bit(Demand::rules) : Demands{0};
    }
    std::uint32_t& parties_in(FourCC format)
    {
        const auto found = std::ranges::find(parties_, format, &std::pair<FourCC, std::uint32_t>::first);
        return found != parties_.end() ? found->second : parties_.emplace_back(format, 0u).second;
    }
    std::vector<std::pair<FourCC, std::uint32_t>> parties_;
};

/// How much would have to change for a layout: who is in the way, who of them would have to leave, all that they
/// demand. Then rank.
struct Cost {
    int blockers = 0;
    int leaving = 0;
    int demands = 0;
    std::size_t position = 0;
    friend auto operator<=>(const Cost&, const Cost&) = default;
};

Cost cost(const Layout& layout, std::size_t position)
{
    return {std::popcount(layout.blockers), std::popcount(layout.unable), layout.demand_count, position};
}

/// The cheapest of those that `serves` accepts, after asking whether it is known not to work.
template <class Serves>
std::optional<std::size_t> nearest_layout(const Question& question, Layouts& layouts, std::span<const std::size_t> order,
                                          Serves serves)
{
    std::vector<Cost> costs; // a heap, the cheapest on top
    for (std::size_t p = 0; p < order.size(); ++p)
        if (serves(layouts.all()[order[p]])) costs.push_back(cost(layouts.all()[order[p]], p));
    std::ranges::make_heap(costs, std::greater());
    while (!costs.empty()) {
        std::ranges::pop_heap(costs, std::greater());
        const std::size_t p = costs.back().position, i = order[p];
        costs.pop_back();
        const bool allocatable = !(layouts.demands(i, 0) & demand_bit(Demand::proof));
        if (allocatable && !ask_proofs(question, layouts, i)) return i;
        if (!allocatable || !serves(layouts.all()[i])) continue;
        costs.push_back(cost(layouts.all()[i], p));
        std::ranges::push_heap(costs, std::greater());
    }
    return std::nullopt;
}

/// A layout that the request and all who cannot have a copy can live with, for as many as possible.
void serve_by_copies(const Question& question, Layouts& layouts, std::span<const std::size_t> order, Plan& out)
{
    if (question.spec.minimum_rung > Rung::blit) return;
    const Copyable copyable(question, layouts);
    const auto serves = [&](const Layout& l) { return copyable.serves(l); };
    const auto nearest = nearest_layout(question, layouts, order, serves);
    if (!nearest) return;
    const std::uint32_t blocked = layouts.all()[*nearest].blockers;
    for (const std::size_t i : order) {
        const Layout& layout = layouts.all()[i];
        if (layout.blockers != blocked || !serves(layout) || ask_proofs(question, layouts, i)) continue;
        add_choice(out, question, layout, false, blocked);
    }
    for (Who who = 1; who < layouts.who_count(); ++who)
        if (blocked & 1u << who) out.copied.push_back(who);
}

/// The sentence is about this very layout, and not about all of its format there.
bool names_layout(Who who, Demand demand)
{
    switch (demand) {
    case Demand::modifier:
    case Demand::device:
    case Demand::usage:
    case Demand::external_only:
    case Demand::size: return who != 0;
    case Demand::proof: return true;
    default: return false;
    }
}

/// Adds whose demand removed the layout, unless a removal that says the same is there already. The sentence is made last,
/// because most removals are not added.
void add_removal(const Question& question, const Layouts& layouts, std::size_t index, Who who, Plan& out)
{
    if (out.removals.size() >= most_removals) return;
    const Layout& layout = layouts.all()[index];
    const Backend backend = question.offers[layout.offer].device->backend;
    const auto same = [&, name = who_is(question, who), demand = first_of(layouts.demands(index, who))](const Removal& r) {
        if (r.demand != demand || r.format != layout.row->format || r.who != name) return false;
        return names_layout(who, demand) ? r.modifier == layout.row->modifier : r.backend == backend;
    };
    if (std::ranges::none_of(out.removals, same)) out.removals.push_back(removal(question, layouts, index, who));
}

void add_removals(const Question& question, const Layouts& layouts, std::size_t index, Plan& out)
{
    for (Who who = 0; who < layouts.who_count(); ++who)
        if (layouts.all()[index].blockers & 1u << who) add_removal(question, layouts, index, who, out);
}

/// The culprits are those of a layout that the request itself allows: without them there would be an image. The nearest
/// change may be to the request.
void blame(const Question& question, Layouts& layouts, std::span<const std::size_t> order, Plan& out)
{
    const auto allowed = [](const Layout& l) { return !(l.blockers & 1u); };
    const auto culpable = nearest_layout(question, layouts, order, allowed);
    for (Who who = 1; culpable && who < layouts.who_count(); ++who)
        if (layouts.all()[*culpable].blockers & 1u << who) out.culprits.push_back(who);
    const auto nearest = nearest_layout(question, layouts, order, [](const Layout&) { return true; });
    if (culpable) add_removals(question, layouts, *culpable, out);
    if (nearest && nearest != culpable) add_removals(question, layouts, *nearest, out);
    if (nearest) out.nearest = nearest_change(question, layouts, *nearest);
}

/// What removed the layouts that come before the first choice; on failure, all of them.
void explain(const Question& question, const Layouts& layouts, std::span<const std::size_t> order, Plan& out)
{
    for (const std::size_t i : order) {
        const Layout& layout = layouts.all()[i];
        if (out.common.size() == most_common) break;
        if (layout.is_common && std::ranges::find(out.common, layout.row->modifier) == out.common.end())
            out.common.push_back(layout.row->modifier);
    }
    for (const std::size_t i : order) {
        const Layout& layout = layouts.all()[i];
        if (layout.blockers == 0 || out.removals.size() >= most_removals) break;
        add_removal(question, layouts, i, foremost(question, layouts, i), out);
    }
}

} // namespace

Candidate candidate(const Exporter& device, Verdict verdict, std::string_view reason)
{
    Candidate out{.backend = device.backend, .device = {}, .verdict = verdict, .reason = reason};
    out.device = device.node.empty() && !is_system(device.backend) ? device.name.view() : device.node.view();
    return out;
}

Plan negotiate(const Question& question)
{
    Plan out;
    const bool cpu_only = is_cpu_only(usage_of_all(question));
    Layouts layouts(question);
    block_contradicting(question, layouts);
    const bool disproved = ask_proofs(question, layouts);
    const std::vector<std::size_t> order = ranked(question, layouts, cpu_only);
    const bool any = !disproved && takes_any(question);
    for (const std::size_t i : order)
        if (layouts.all()[i].blockers == 0) add_choice(out, question, layouts.all()[i], any);
    if (out.choices.empty()) {
        blame(question, layouts, order, out);
        if (!question.parties.empty()) serve_by_copies(question, layouts, order, out);
    }
    sum_up(question, out.copied, out);
    judge_offers(question, layouts, cpu_only, out);
    if (!question.parties.empty()) explain(question, layouts, order, out);
    return out;
}

} // namespace dmb
