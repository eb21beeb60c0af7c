// SPDX-License-Identifier: MIT
// Tables are sorted, so the layouts are walked in the same order and each table once: the cost is that of a
// merge, not of a search per layout. INVALID, LINEAR and every other modifier are different keys and
// nothing turns one into another; INVALID and opaque memory moreover belong to one driver on one device.
#include "daemon/core/deciding/layouts.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <tuple>

namespace dmb {
namespace {

/// Where a table has, or would have, a row.
struct Found {
    const Capability* row = nullptr;
    bool kind = false;   ///< the table has this kind of memory
    bool format = false; ///< and this format in it
};

auto key(const Capability& row) { return std::tuple(row.kind, row.format, row.modifier); }
auto key(const Properties& p) { return std::tuple(p.kind, p.format, p.modifier); }

/// `from`: an index not beyond the row looked for; becomes that of the row, or of the first one after it.
Found find_from(std::span<const Capability> rows, const Properties& wanted, std::size_t& from)
{
    for (std::size_t next = from; next < std::min(from + 2, rows.size()); ++next) {
        if (rows[next].modifier != wanted.modifier || key(rows[next]) != key(wanted)) continue;
        from = next; // most often: tables of one driver go in step
        return {&rows[next], true, true};
    }
    const auto before = [&](const Capability& row) { return key(row) < key(wanted); };
    std::size_t step = 1, end = from;
    while (end < rows.size() && before(rows[end])) {
        from = end + 1;
        end += step;
        step *= 2;
    }
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(from);
    const auto last = rows.begin() + static_cast<std::ptrdiff_t>(std::min(end, rows.size()));
    from = static_cast<std::size_t>(std::partition_point(first, last, before) - rows.begin());
    Found found;
    for (const std::size_t i : {from, from - 1}) {
        if (i >= rows.size() || rows[i].kind != wanted.kind) continue;
        found.kind = true;
        found.format |= rows[i].format == wanted.format;
    }
    if (from < rows.size() && key(rows[from]) == key(wanted)) found.row = &rows[from];
    return found;
}

bool exceeds(Extent size, Extent most)
{
    return (most.width != 0 && size.width > most.width) || (most.height != 0 && size.height > most.height);
}

template <class List, class T> bool lacks(const List& list, const T& value)
{
    return !list.empty() && std::ranges::find(list, value) == list.end();
}

/// Memory whose layout or type only its own driver knows.
bool is_private(const Properties& p) { return p.kind == MemoryKind::opaque || p.modifier == modifier_invalid; }

Demands missing_row(const Found& found)
{
    if (!found.kind) return demand_bit(Demand::memory_kind);
    return demand_bit(found.format ? Demand::modifier : Demand::format);
}

/// Apart, because a program can drop what it states, but not what its driver cannot do.
struct Broken {
    Demands stated = 0;
    Demands unable = 0;
    Demands all() const { return stated | unable; }
};

/// `foreign`: the party's table is of another device.
void add_broken_by_row(Broken& out, const Party& party, const Capability& row, const Properties& p, bool foreign)
{
    const Usage usage = party.demands.usage;
    if (is_private(p) && foreign) out.unable |= demand_bit(Demand::device);
    if (!row.usage.empty() && !row.usage.has(usage)) out.unable |= demand_bit(Demand::usage);
    if (row.external_only && usage.has_any(UsageFlag::render | UsageFlag::storage))
        out.unable |= demand_bit(Demand::external_only);
    else if (row.external_only && party.demands.no_external_only) out.stated |= demand_bit(Demand::external_only);
    if (exceeds(p.size, row.max_size)) out.unable |= demand_bit(Demand::size);
}

bool is_foreign(const Party& party, const DeviceId& device) { return party.table && !is_same(party.table->device.id, device); }

Usage needed_of_exporter(const Party& party, bool foreign)
{
    return foreign ? party.demands.usage & usage_cpu : party.demands.usage;
}

Broken broken_without_table(const Party& party, const Properties& p, bool foreign)
{
    const Participant& want = party.demands;
    Broken out;
    if (lacks(want.formats, p.format)) out.stated |= demand_bit(Demand::format);
    if (lacks(want.modifiers, p.modifier)) out.stated |= demand_bit(Demand::modifier);
    if (p.kind == MemoryKind::opaque && want.usage.has_any(usage_cpu)) out.unable |= demand_bit(Demand::memory_kind);
    if (!p.exporter_usage.has(needed_of_exporter(party, foreign))) out.unable |= demand_bit(Demand::usage);
    if (exceeds(p.size, want.max_size)) out.stated |= demand_bit(Demand::size);
    if (p.rung < want.minimum_rung) out.stated |= demand_bit(Demand::rung);
    if (want.is_protected) out.stated |= demand_bit(Demand::protection);
    if (want.rules.contiguous) out.stated |= demand_bit(Demand::rules);
    if (party.table && party.table->rules.contiguous) out.unable |= demand_bit(Demand::rules);
    return out;
}

Properties properties(const Question& question, const Layout& layout)
{
    const Exporter& device = *question.offers[layout.offer].device;
    return {layout.row->kind,     device.backend,     device.id,   layout.row->format,
            layout.row->modifier, question.spec.size, layout.rung, layout.row->usage};
}

Demands broken_by_request(const AllocateSpec& spec, const Properties& p)
{
    Demands out = 0;
    if (lacks(spec.modifiers, p.modifier)) out |= demand_bit(Demand::modifier);
    if (!p.exporter_usage.has(spec.usage)) out |= demand_bit(Demand::usage);
    if (p.rung < spec.minimum_rung) out |= demand_bit(Demand::rung);
    if (p.kind == MemoryKind::opaque && spec.usage.has_any(usage_cpu)) out |= demand_bit(Demand::memory_kind);
    return out;
}

/// GPUs of one model share a name, and those without a DRM node have no other word but the UUID.
bool is_called(const Exporter& device, std::string_view wanted)
{
    if (wanted == device.node.view() || wanted == device.name.view()) return true;
    const auto uuid = parse_uuid(wanted);
    return uuid && *uuid != Uuid{} && *uuid == device.id.device_uuid;
}

} // namespace

Demands unwanted(const AllocateSpec& spec, const Exporter& device)
{
    Demands out = 0;
    if (!spec.backends.empty() && !spec.backends.has(device.backend)) out |= demand_bit(Demand::backend);
    if (!spec.device.empty() && !is_called(device, spec.device.view())) out |= demand_bit(Demand::device);
    return out;
}

Demand first_of(Demands demands) { return static_cast<Demand>(std::countr_zero(demands)); }

bool is_system(Backend backend)
{
    return backend == Backend::udmabuf || backend == Backend::dma_heap || backend == Backend::memfd;
}

Usage exporter_usage(const Question& question, const Exporter& device, std::uint32_t without)
{
    Usage usage = question.spec.usage;
    for (std::size_t i = 0; i < question.parties.size(); ++i)
        if (!(without & 2u << i))
            usage = usage | needed_of_exporter(question.parties[i], is_foreign(question.parties[i], device.id));
    return usage;
}

std::optional<LayoutRules> own_rules(const Party& party)
{
    return combine(party.demands.rules, party.table ? party.table->rules : LayoutRules{});
}

Rung best_rung(const Exporter& device, FourCC format, Modifier modifier)
{
    if (is_system(device.backend)) return Rung::system_dma_buf;
    if (format == buffer_format) return Rung::linear;
    const bool implicit_linear = modifier == modifier_invalid && device.software && device.backend != Backend::vulkan_opaque;
    return implicit_linear || modifier == modifier_linear ? Rung::linear : Rung::tiled;
}

Demands broken_demands(const Party& party, const Properties& p)
{
    const bool foreign = is_foreign(party, p.device);
    Broken out = broken_without_table(party, p, foreign);
    if (!party.table) return out.all();
    std::size_t from = 0;
    const Found found = find_from(party.table->rows, p, from);
    if (found.row) add_broken_by_row(out, party, *found.row, p, foreign);
    else out.unable |= missing_row(found);
    return out.all();
}

struct Layouts::Asked {
    std::size_t layout;
    Properties properties;
};

Layouts::Layouts(const Question& question) : who_count_(question.parties.size() + 1)
{
    collect(question);
    demands_.resize(layouts_.size() * who_count_);
    const std::vector<Asked> asked = sorted(question);
    ask_request(question, asked);
    for (Who who = 1; who < who_count_; ++who) ask_party(question, who, asked);
}

void Layouts::collect(const Question& question)
{
    const auto wanted = [&](FourCC f) {
        return f == question.spec.format || std::ranges::find(question.alternatives, f) != question.alternatives.end();
    };
    for (std::size_t i = 0; i < question.offers.size(); ++i) {
        const Offer& offer = question.offers[i];
        if (!offer.device->problem.empty()) continue;
        for (const Capability& row : offer.rows)
            if (wanted(row.format)) layouts_.push_back({i, &row, best_rung(*offer.device, row.format, row.modifier)});
    }
}

std::vector<Layouts::Asked> Layouts::sorted(const Question& question) const
{
    std::vector<Asked> out;
    out.reserve(layouts_.size());
    for (std::size_t i = 0; i < layouts_.size(); ++i) out.push_back({i, dmb::properties(question, layouts_[i])});
    if (!question.parties.empty()) std::ranges::sort(out, {}, [](const Asked& asked) { return key(asked.properties); });
    return out;
}

void Layouts::ask_request(const Question& question, std::span<const Asked> asked)
{
    for (const auto& [i, p] : asked) {
        const Demands unfit = unwanted(question.spec, *question.offers[layouts_[i].offer].device);
        demands_[i * who_count_] = unfit | broken_by_request(question.spec, p);
        layouts_[i].blockers = demands_[i * who_count_] != 0;
        layouts_[i].demand_count = std::popcount(demands_[i * who_count_]);
    }
}

void Layouts::ask_party(const Question& question, Who who, std::span<const Asked> asked)
{
    const Party& party = question.parties[who - 1];
    std::vector<char> foreign;
    for (const Offer& offer : question.offers) foreign.push_back(is_foreign(party, offer.device->id));
    std::size_t from = 0;
    for (const auto& [i, p] : asked) {
        Layout& layout = layouts_[i];
        Broken broken = broken_without_table(party, p, foreign[layout.offer] != 0);
        if (party.table) {
            const Found found = find_from(party.table->rows, p, from);
            const Demands missing = found.row ? Demands{0} : missing_row(found);
            broken.unable |= missing;
            if (found.row) add_broken_by_row(broken, party, *found.row, p, foreign[layout.offer] != 0);
            layout.is_common &= missing == 0 && !(broken.unable & demand_bit(Demand::device));
        }
        demands_[i * who_count_ + who] = broken.all();
        if (broken.all() == 0) continue;
        layout.blockers |= 1u << who;
        layout.demand_count += std::popcount(broken.all());
        if (broken.unable) layout.unable |= 1u << who;
    }
}

void Layouts::block(std::size_t layout, Who who, Demand demand, bool stated)
{
    Demands& demands = demands_[layout * who_count_ + who];
    layouts_[layout].demand_count += !(demands & demand_bit(demand));
    demands |= demand_bit(demand);
    layouts_[layout].blockers |= 1u << who;
    if (!stated) layouts_[layout].unable |= 1u << who;
}

} // namespace dmb
