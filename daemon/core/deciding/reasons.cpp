// SPDX-License-Identifier: MIT
// All sentences about negotiations, for the person who has to mend what they say: names, modifiers by name, numbers
// with units, and what to change. One per fact, in a bounded text, so long lists are cut with their number. They are
// made on demand from the Question and its layouts; nothing here decides, and nobody reads a sentence to decide.
#include "daemon/core/deciding/reasons.hpp"

#include "proto/image/modifier_name.hpp"

#include <algorithm>
#include <bit>

namespace dmb {
namespace {

template <class... Args> Reason text(fmt::format_string<Args...> format, Args&&... args)
{
    return std::string_view(fmt::format(format, std::forward<Args>(args)...));
}

std::string place(const Exporter& device)
{
    if (is_system(device.backend)) return std::string(name(device.backend));
    const std::string_view where = device.node.empty() ? device.name.view() : device.node.view();
    return where.empty() ? std::string(name(device.backend)) : fmt::format("{} on {}", name(device.backend), where);
}

constexpr std::size_t shortest_modifier = 8, longest_modifier = 40, longest_list = 60, longest_changes = 100;

/// Some vendors' names are longer than a sentence may be: the first words of those, and the number.
std::string brief(Modifier modifier)
{
    const std::string whole = describe(modifier);
    if (whole.size() <= longest_modifier) return whole;
    const std::size_t comma = whole.rfind(',', longest_modifier);
    return fmt::format("{}.. {}", whole.substr(0, comma == std::string::npos ? longest_modifier : comma), to_string(modifier));
}

std::string rules_text(const LayoutRules& rules)
{
    std::string out;
    const auto add = [&](const std::string& more) { out += (out.empty() ? "" : ", ") + more; };
    if (rules.stride_alignment > 1) add(fmt::format("stride a multiple of {}", rules.stride_alignment));
    if (rules.offset_alignment > 1) add(fmt::format("offsets multiples of {}", rules.offset_alignment));
    if (rules.contiguous) add("contiguous memory");
    return out;
}

std::string extent_text(Extent size) { return fmt::format("{}x{}", size.width, size.height); }

Extent smallest(Extent a, Extent b)
{
    const auto side = [](std::uint32_t x, std::uint32_t y) { return x == 0 || y == 0 ? std::max(x, y) : std::min(x, y); };
    return {side(a.width, b.width), side(a.height, b.height)};
}

Reason request_reason(const Question& question, const Layout& layout, Demand demand)
{
    const AllocateSpec& spec = question.spec;
    const std::string format = to_string(layout.row->format);
    switch (demand) {
    case Demand::modifier: return text("has {}, with none of the {} modifiers asked for", format, spec.modifiers.size());
    case Demand::usage: return text("{} there cannot serve {}", format, to_string(spec.usage));
    case Demand::memory_kind: return "opaque memory cannot be mapped by the CPU";
    case Demand::rung:
        return text("gives rung {} at best, {} or better was asked for", name(layout.rung), name(spec.minimum_rung));
    case Demand::proof:
        return question.disproof(question.offers[layout.offer], nullptr, layout.row->format, layout.row->modifier);
    default: return unwanted_reason(spec, demand);
    }
}

/// What the importer's table says of the format, when not this modifier.
std::string what_it_has(const Party& party, MemoryKind kind, FourCC format)
{
    std::string out;
    std::size_t more = 0;
    for (const Capability& row : party.table->rows) {
        if (row.kind != kind || row.format != format) continue;
        if (more == 0 && out.size() + shortest_modifier < longest_list)
            if (const std::string next = brief(row.modifier); out.empty() || out.size() + next.size() <= longest_list) {
                out += (out.empty() ? "" : ", ") + next;
                continue;
            }
        ++more;
    }
    return more == 0 ? out : fmt::format("{} and {} more", out, more);
}

Reason device_reason(const Party& party, const Layout& layout, const Exporter& device)
{
    const bool opaque = layout.row->kind == MemoryKind::opaque;
    return text("{} is known to its own driver only; that is {}, not {}{}",
                opaque ? "opaque memory" : "the implicit layout (INVALID)", place(device), title(party.table->device).view(),
                opaque ? " (their UUIDs differ)" : "");
}

Reason usage_reason(const Party& party, const Layout& layout, const Exporter& device)
{
    const Capability* row =
        party.table ? find_row(*party.table, layout.row->kind, layout.row->format, layout.row->modifier) : nullptr;
    const bool importer = row && !row->usage.empty() && !row->usage.has(party.demands.usage);
    return text("{} {} cannot be {} for {}", to_string(layout.row->format), brief(layout.row->modifier),
                importer ? "imported" : fmt::format("allocated by {}", place(device)), to_string(party.demands.usage));
}

Reason size_reason(const Question& question, const Party& party, const Layout& layout)
{
    Extent most = party.demands.max_size;
    if (party.table)
        if (const Capability* row = find_row(*party.table, layout.row->kind, layout.row->format, layout.row->modifier))
            most = smallest(most, row->max_size);
    return text("takes {} at most, the image has {}", extent_text(most), extent_text(question.spec.size));
}

Reason rules_reason(const Party& party)
{
    const LayoutRules rules = own_rules(party).value_or(party.demands.rules);
    if (rules.contiguous) return "needs physically contiguous memory, which no allocator here promises";
    return text("{} cannot be met together with the others' alignments", rules_text(rules));
}

Reason party_reason(const Question& question, const Layout& layout, const Party& party, Demand demand)
{
    const Offer& offer = question.offers[layout.offer];
    const Exporter& device = *offer.device;
    const MemoryKind kind = layout.row->kind;
    const std::string format = to_string(layout.row->format);
    const auto modifier = [&] { return brief(layout.row->modifier); };
    switch (demand) {
    case Demand::format: return text("cannot import {} as {}", format, name(kind));
    case Demand::modifier:
        if (const auto& list = party.demands.modifiers;
            !list.empty() && std::ranges::find(list, layout.row->modifier) == list.end())
            return text("{} is not among its {} acceptable modifiers", modifier(), list.size());
        return text("cannot import {} {}; it can: {}", format, modifier(), what_it_has(party, kind, layout.row->format));
    case Demand::memory_kind: return text("cannot import {} memory", name(kind));
    case Demand::device: return device_reason(party, layout, device);
    case Demand::usage: return usage_reason(party, layout, device);
    case Demand::external_only:
        return text("{} {} can only be sampled as GL_TEXTURE_EXTERNAL_OES there, it wants {}", format, modifier(),
                    party.demands.no_external_only ? "sampler2D" : to_string(party.demands.usage));
    case Demand::size: return size_reason(question, party, layout);
    case Demand::rules: return rules_reason(party);
    case Demand::protection: return "needs protected memory, which no allocator here makes";
    case Demand::rung: return text("rung {}, it demands {} or better", name(layout.rung), name(party.demands.minimum_rung));
    case Demand::proof: return question.disproof(offer, &party, layout.row->format, layout.row->modifier);
    case Demand::backend: break;
    }
    return {};
}

std::string demand_words(Demand demand)
{
    switch (demand) {
    case Demand::backend: return "backends";
    case Demand::device: return "device";
    case Demand::format: return "formats";
    case Demand::modifier: return "modifiers";
    case Demand::memory_kind: return "kind of memory";
    case Demand::usage: return "usage";
    case Demand::external_only: return "refusal of external textures";
    case Demand::size: return "size limit";
    case Demand::rules: return "layout rules";
    case Demand::protection: return "protected memory";
    case Demand::rung: return "minimum rung";
    case Demand::proof: return "failed trial";
    }
    return {};
}

std::string change_for(const Question& question, const Layouts& layouts, std::size_t index, Who who)
{
    const Layout& layout = layouts.all()[index];
    if (who > 0 && layout.unable & 1u << who) return fmt::format("leave {} out", who_is(question, who).view());
    std::string dropped;
    for (Demands left = layouts.demands(index, who); left != 0; left = static_cast<Demands>(left & (left - 1))) {
        const bool by_cpu = who == 0 && first_of(left) == Demand::memory_kind;
        dropped += (dropped.empty() ? "" : " and ") + (by_cpu ? "CPU access" : demand_words(first_of(left)));
    }
    const std::string whose = who == 0 ? "the request's" : fmt::format("{}'s", who_is(question, who).view());
    return fmt::format("drop {} {}", whose, dropped);
}

} // namespace

BoundedText<64> who_is(const Question& question, Who who)
{
    if (who == 0) return {};
    const Name& own = question.parties[who - 1].demands.name;
    return own.empty() ? BoundedText<64>(std::string_view(fmt::format("participant {}", who))) : BoundedText<64>(own.view());
}

Reason unwanted_reason(const AllocateSpec& spec, Demand demand)
{
    if (demand == Demand::backend) return "not among the backends asked for";
    return text("not the device asked for ({})", spec.device.view());
}

Reason reason_for(const Question& question, const Layout& layout, Who who, Demand demand)
{
    if (who == 0) return request_reason(question, layout, demand);
    return party_reason(question, layout, question.parties[who - 1], demand);
}

Removal removal(const Question& question, const Layouts& layouts, std::size_t index, Who who)
{
    const Layout& layout = layouts.all()[index];
    const Demand demand = first_of(layouts.demands(index, who));
    return {who_is(question, who),
            demand,
            question.offers[layout.offer].device->backend,
            layout.row->format,
            layout.row->modifier,
            reason_for(question, layout, who, demand)};
}

std::string describe(const Exporter& device, FourCC format, Modifier modifier)
{
    return fmt::format("{} {} from {}", to_string(format), brief(modifier), place(device));
}

BoundedText<240> nearest_change(const Question& question, const Layouts& layouts, std::size_t index)
{
    const Layout& layout = layouts.all()[index];
    std::string changes;
    int more = 0;
    for (Who who = 0; who < layouts.who_count(); ++who) {
        if (!(layout.blockers & 1u << who)) continue;
        if (changes.size() > longest_changes) ++more;
        else changes += (changes.empty() ? "" : ", ") + change_for(question, layouts, index, who);
    }
    if (more > 0) changes += fmt::format(", and {} more", more);
    return std::string_view(fmt::format(
        "{} -> {}, rung {}", changes, describe(*question.offers[layout.offer].device, layout.row->format, layout.row->modifier),
        name(layout.rung)));
}

Reason wants(const Party& party)
{
    const Participant& want = party.demands;
    std::string out = to_string(want.usage);
    const auto add = [&](const std::string& more) { out += ", " + more; };
    const LayoutRules rules = own_rules(party).value_or(want.rules);
    if (const std::string text = rules_text(rules); !text.empty()) add(text);
    if (!want.formats.empty()) add(fmt::format("one of {} formats", want.formats.size()));
    if (!want.modifiers.empty()) add(fmt::format("one of {} modifiers", want.modifiers.size()));
    if (want.max_size != Extent{}) add("at most " + extent_text(want.max_size));
    if (want.no_external_only) add("no external texture");
    if (want.is_protected) add("protected memory");
    if (want.minimum_rung > Rung::copy) add(fmt::format("rung {} or better", name(want.minimum_rung)));
    return std::string_view(out);
}

PartyView view(const Party& party, std::span<const FourCC> formats)
{
    PartyView out{.name = party.demands.name.view(), .pid = party.pid, .api = Api::other, .device = {}, .modifiers = {}};
    out.any = !party.table;
    out.wants = wants(party);
    if (!party.table) return out;
    out.api = party.table->api;
    out.device = title(party.table->device);
    for (const Capability& row : party.table->rows) {
        if (std::ranges::find(formats, row.format) == formats.end()) continue;
        ++out.pair_count;
        const bool known = std::ranges::find(out.modifiers, row.modifier) != out.modifiers.end();
        if (row.format == formats.front() && !known && !out.modifiers.full()) out.modifiers.push_back(row.modifier);
    }
    return out;
}

} // namespace dmb
