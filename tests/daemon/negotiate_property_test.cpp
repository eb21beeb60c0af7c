// SPDX-License-Identifier: MIT
// What must hold for any tables and demands. A World is made from a seed; whether a layout serves a participant is decided
// a second time here, slowly and straight from the protocol's words. Every run has fixed seeds and one of its own;
// a failure prints the seed, and DMABROKER_SEED=N repeats that one.
#include "tests/daemon/scenario.hpp"

#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>
#include <numeric>
#include <random>
#include <set>

namespace dmb::test {
namespace {

constexpr std::uint64_t fixed_seeds = 2500, own_seeds = 500;

const std::vector<FourCC> some_formats{fourcc("XR24"), fourcc("AR24"), fourcc("NV12")};
const std::vector<Modifier> some_modifiers{modifier_linear, modifier_invalid, Modifier{0x0100000000000001},
                                           Modifier{0x0100000000000008}, Modifier{0xfedcba9876543210}};
const std::vector<Extent> some_sizes{{}, {256, 256}, {4096, 64}, {64, 0}};
const std::vector<std::uint32_t> some_alignments{0, 1, 4, 64, 96, 1 << 20, 1048573};
const std::vector<Usage> some_usages{UsageFlag::sample,   UsageFlag::render,  UsageFlag::sample | UsageFlag::render,
                                     UsageFlag::cpu_read, UsageFlag::scanout, Usage()};

class World {
public:
    explicit World(std::uint64_t seed) : random_(seed), seed_(seed)
    {
        situation.spec.size = {256, 128};
        situation.spec.usage = one_in(3) ? pick(some_usages) : Usage();
        if (one_in(2)) situation.alternatives = {fourcc("AR24"), fourcc("NV12")};
        if (one_in(5)) situation.spec.modifiers = {pick(some_modifiers)};
        if (one_in(5)) situation.spec.minimum_rung = static_cast<Rung>(number(1, 5));
        if (one_in(10)) situation.spec.backends.add(Backend::gbm);
        for (std::uint64_t i = number(1, 4); i > 0; --i) add_offer();
        for (std::uint64_t i = number(1, 6); i > 0; --i) add_party();
        if (one_in(3)) disprove();
    }
    Situation situation;
    void shuffle_parties() { std::ranges::shuffle(situation.parties, random_); }

private:
    std::uint64_t number(std::uint64_t from, std::uint64_t to)
    {
        return std::uniform_int_distribution<std::uint64_t>(from, to)(random_);
    }
    bool one_in(std::uint64_t n) { return number(1, n) == 1; }
    template <class T> T pick(const std::vector<T>& from) { return from[number(0, from.size() - 1)]; }
    DeviceId some_device()
    {
        DeviceId out;
        const auto which = static_cast<std::uint8_t>(number(1, 3));
        if (one_in(2)) out.device_uuid[0] = which;
        if (one_in(2)) out.driver_uuid[0] = static_cast<std::uint8_t>(number(1, 2));
        if (!one_in(3)) out.render_node = which;
        if (one_in(3)) out.pci = which;
        return out;
    }
    LayoutRules some_rules() { return {pick(some_alignments), one_in(3) ? pick(some_alignments) : 0, one_in(12)}; }
    template <class List, class T> void some_of(List& out, std::vector<T> from)
    {
        std::ranges::shuffle(from, random_);
        from.resize(number(1, from.size()));
        for (const T& value : from) out.push_back(value);
    }

    void add_offer()
    {
        const auto backend = static_cast<Backend>(number(1, 6));
        std::vector<Capability> rows;
        for (const FourCC format : some_formats)
            for (const Modifier modifier : some_modifiers)
                if (one_in(2))
                    rows.push_back(
                        {.format = format, .modifier = modifier, .usage = one_in(3) ? pick(some_usages) : Usage::all()});
        std::ranges::shuffle(rows, random_);
        const char* problem = one_in(12) ? "broken" : "";
        Exporter device{{.id = some_device(), .node = "node", .software = one_in(3)}, backend, {}, problem};
        situation.offer(backend, std::move(device), std::move(rows));
    }
    TablePointer some_table()
    {
        Capabilities table;
        table.device.id = some_device();
        table.device.driver = "driver";
        if (one_in(4)) table.rules = some_rules();
        for (std::uint8_t kind = 1; kind <= 3; ++kind)
            for (const FourCC format : some_formats)
                for (const Modifier modifier : some_modifiers)
                    if (!one_in(3))
                        table.rows.push_back({static_cast<MemoryKind>(kind), format, modifier, 1, one_in(5),
                                              one_in(3) ? pick(some_usages) : Usage(),
                                              one_in(6) ? pick(some_sizes) : Extent()});
        make_canonical(table);
        return std::make_shared<const Capabilities>(std::move(table));
    }
    void add_party()
    {
        const std::string name = "p" + std::to_string(situation.parties.size());
        Participant& want = situation.party(name, one_in(5) ? nullptr : some_table(), pick(some_usages));
        if (one_in(5)) some_of(want.formats, some_formats);
        if (one_in(5)) some_of(want.modifiers, some_modifiers);
        if (one_in(3)) want.minimum_rung = static_cast<Rung>(number(1, 5));
        if (one_in(5)) want.rules = some_rules();
        if (one_in(8)) want.max_size = pick(some_sizes);
        want.no_external_only = one_in(6);
        want.is_protected = one_in(25);
    }
    /// By names, so that leaving somebody out does not change what is known of the others.
    void disprove()
    {
        const std::uint64_t gone = number(0, 9);
        situation.disproof = [seed = seed_, gone](const Offer& o, const Party* p, FourCC format,
                                                  Modifier m) -> BoundedText<160> {
            if (!p && o.allocator == gone) return "tried: crashed";
            const std::string who(p ? p->demands.name.view() : std::string_view());
            const std::uint64_t key = (seed ^ m.value * 31 ^ format.value ^ o.allocator << 40) * 0x9e3779b97f4a7c15;
            return (key ^ std::hash<std::string>{}(who)) % 7 == 0 ? "tried: wrong pixels" : "";
        };
    }

    std::mt19937_64 random_;
    std::uint64_t seed_;
};

// --- the oracle ------------------------------------------------------------------------------------

/// An offer by its place, a row by what it says.
struct Way {
    std::size_t offer;
    FourCC format;
    Modifier modifier;
    friend auto operator<=>(const Way&, const Way&) = default;
};
struct Row {
    Way way;
    Usage usage;
};

template <class List, class T> bool contains(const List& list, const T& value)
{
    return std::find(list.begin(), list.end(), value) != list.end();
}

/// What the exporter must be asked for on behalf of a participant.
Usage asked_for(const Party& party, const Exporter& device)
{
    const bool other_device = party.table && !is_same(party.table->device.id, device.id);
    return other_device ? party.demands.usage & usage_cpu : party.demands.usage;
}

bool within(Extent size, Extent most)
{
    return (most.width == 0 || size.width <= most.width) && (most.height == 0 || size.height <= most.height);
}

bool table_takes(const Party& party, const Row& row, const Exporter& device, Extent size)
{
    const bool own_driver_only = device.backend == Backend::vulkan_opaque || row.way.modifier == modifier_invalid;
    if (own_driver_only && !is_same(party.table->device.id, device.id)) return false;
    for (const Capability& entry : party.table->rows) {
        if (entry.kind != kind_of(device.backend) || entry.format != row.way.format || entry.modifier != row.way.modifier)
            continue;
        const bool draws = party.demands.usage.has_any(UsageFlag::render | UsageFlag::storage);
        return (entry.usage.empty() || entry.usage.has(party.demands.usage)) && within(size, entry.max_size) &&
               !(entry.external_only && (draws || party.demands.no_external_only));
    }
    return false;
}

bool party_takes(const Situation& s, const Party& party, const Row& row)
{
    const Offer& offer = s.offers[row.way.offer];
    const Participant& want = party.demands;
    const bool opaque = offer.device->backend == Backend::vulkan_opaque;
    if (!want.formats.empty() && !contains(want.formats, row.way.format)) return false;
    if (!want.modifiers.empty() && !contains(want.modifiers, row.way.modifier)) return false;
    if (opaque && want.usage.has_any(usage_cpu)) return false;
    if (!row.usage.has(asked_for(party, *offer.device)) || !within(s.spec.size, want.max_size)) return false;
    if (best_rung(*offer.device, row.way.format, row.way.modifier) < want.minimum_rung || want.is_protected ||
        want.rules.contiguous)
        return false;
    if (s.disproof && !s.disproof(offer, &party, row.way.format, row.way.modifier).empty()) return false;
    if (!party.table) return true;
    return !party.table->rules.contiguous && table_takes(party, row, *offer.device, s.spec.size);
}

bool request_takes(const Situation& s, const Row& row)
{
    const Offer& offer = s.offers[row.way.offer];
    const Exporter& device = *offer.device;
    if (!device.problem.empty()) return false;
    if (row.way.format != s.spec.format && !contains(s.alternatives, row.way.format)) return false;
    if (!s.spec.modifiers.empty() && !contains(s.spec.modifiers, row.way.modifier)) return false;
    if (!s.spec.backends.empty() && !s.spec.backends.has(device.backend)) return false;
    if (device.backend == Backend::vulkan_opaque && s.spec.usage.has_any(usage_cpu)) return false;
    if (s.disproof && !s.disproof(offer, nullptr, row.way.format, row.way.modifier).empty()) return false;
    return row.usage.has(s.spec.usage) && best_rung(device, row.way.format, row.way.modifier) >= s.spec.minimum_rung;
}

bool alignments_agree(const std::vector<Party>& parties)
{
    std::uint64_t stride = 1, offset = 1;
    const auto add = [](std::uint64_t& all, std::uint32_t one) {
        if (all <= 1 << 20) all = std::lcm(all, std::uint64_t{std::max(one, 1u)});
    };
    for (const Party& party : parties)
        for (const LayoutRules& rules : {party.demands.rules, party.table ? party.table->rules : LayoutRules{}})
            add(stride, rules.stride_alignment), add(offset, rules.offset_alignment);
    return stride <= 1 << 20 && offset <= 1 << 20;
}

/// All ways that serve everybody.
std::set<Way> oracle(const Situation& s)
{
    std::set<Way> out;
    if (!alignments_agree(s.parties)) return out;
    for (std::size_t i = 0; i < s.offers.size(); ++i)
        for (const Capability& support : s.offers[i].rows) {
            const Row row{{i, support.format, support.modifier}, support.usage};
            const auto takes = [&](const Party& party) { return party_takes(s, party, row); };
            if (request_takes(s, row) && std::ranges::all_of(s.parties, takes)) out.insert(row.way);
        }
    return out;
}

// --- what negotiate() says -------------------------------------------------------------------------

/// A choice without modifiers leaves them to the driver: all that are there.
std::set<Way> ways(const Situation& s, const Plan& out)
{
    std::set<Way> found;
    for (const Choice& choice : out.choices) {
        for (const Modifier modifier : choice.modifiers) found.insert({choice.offer, choice.format, modifier});
        if (!choice.modifiers.empty()) continue;
        for (const Capability& row : s.offers[choice.offer].rows)
            if (row.format == choice.format && row.usage.has(choice.usage))
                found.insert({choice.offer, choice.format, row.modifier});
    }
    return found;
}

Situation without(Situation s, std::vector<Who> gone)
{
    std::ranges::sort(gone, std::greater());
    for (const Who who : gone) s.parties.erase(s.parties.begin() + static_cast<std::ptrdiff_t>(who - 1));
    return s;
}

bool serves_all(const Plan& out) { return !out.choices.empty() && out.copied.empty(); }

std::vector<std::string> split(std::string_view text, std::string_view by)
{
    std::vector<std::string> out;
    for (std::size_t at = text.find(by); at != std::string_view::npos; at = text.find(by)) {
        out.emplace_back(text.substr(0, at));
        text.remove_prefix(at + by.size());
    }
    out.emplace_back(text);
    return out;
}

void drop(Participant& want, const std::string& what)
{
    if (what == "formats") want.formats.clear();
    else if (what == "modifiers") want.modifiers.clear();
    else if (what == "refusal of external textures") want.no_external_only = false;
    else if (what == "size limit") want.max_size = {};
    else if (what == "layout rules") want.rules = {};
    else if (what == "protected memory") want.is_protected = false;
    else if (what == "minimum rung") want.minimum_rung = Rung::copy;
    else ADD_FAILURE() << "a participant cannot drop its " << what;
}

void drop(AllocateSpec& spec, const std::string& what)
{
    if (what == "backends") spec.backends = {};
    else if (what == "device") spec.device = {};
    else if (what == "modifiers") spec.modifiers.clear();
    else if (what == "usage") spec.usage = {};
    else if (what == "CPU access") spec.usage = spec.usage & Usage::from_bits(~usage_cpu.bits);
    else if (what == "minimum rung") spec.minimum_rung = Rung::copy;
    else ADD_FAILURE() << "a request cannot drop its " << what;
}

/// Does what a sentence proposes: "drop the request's minimum rung, leave p3 out -> ...".
void follow(Situation& s, std::string_view nearest)
{
    for (const std::string& clause : split(nearest.substr(0, nearest.find(" -> ")), ", ")) {
        const bool leaves = clause.starts_with("leave ");
        const std::size_t begin = leaves ? 6 : 5, end = clause.find(leaves ? " out" : "'s ");
        ASSERT_NE(end, std::string::npos) << clause;
        const std::string who = clause.substr(begin, end - begin);
        const auto named = [&](const Party& party) { return party.demands.name.view() == who; };
        const auto party = std::ranges::find_if(s.parties, named);
        ASSERT_TRUE(who == "the request" || party != s.parties.end()) << clause;
        if (leaves) {
            s.parties.erase(party);
            continue;
        }
        for (const std::string& what : split(clause.substr(end + 3), " and "))
            if (who == "the request") drop(s.spec, what);
            else drop(party->demands, what);
    }
}

// --- the properties --------------------------------------------------------------------------------

class NegotiateProperty : public ::testing::Test {
protected:
    template <class Check> static void for_all(Check check)
    {
        if (const char* one = std::getenv("DMABROKER_SEED")) return run(std::strtoull(one, nullptr, 10), check);
        const std::uint64_t own = std::random_device{}() | std::uint64_t{1} << 32;
        for (std::uint64_t i = 0; i < fixed_seeds + own_seeds && !HasFailure(); ++i) run(i < fixed_seeds ? i : own + i, check);
    }

private:
    template <class Check> static void run(std::uint64_t seed, Check check)
    {
        SCOPED_TRACE("DMABROKER_SEED=" + std::to_string(seed));
        World world(seed);
        check(world);
    }
};

std::ostream& operator<<(std::ostream& out, const Way& way)
{
    return out << "offer " << way.offer << ' ' << to_string(way.format) << ' ' << to_string(way.modifier);
}

TEST_F(NegotiateProperty, exactly_what_serves_everybody_is_chosen_from)
{
    std::size_t served = 0, copied = 0, refused = 0;
    for_all([&](const World& world) {
        const Situation& s = world.situation;
        const Plan out = s.negotiate();
        const std::set<Way> expected = oracle(s);
        (serves_all(out) ? served : out.choices.empty() ? refused : copied) += 1;
        EXPECT_EQ(out.copied.empty() ? ways(s, out) : std::set<Way>{}, expected);
    });
    if (std::getenv("DMABROKER_SEED")) return;
    for (const std::size_t count : {served, copied, refused}) EXPECT_GE(count, fixed_seeds / 40) << "the worlds are too alike";
}

TEST_F(NegotiateProperty, with_copies_the_rest_is_served_and_each_copy_can_be_made)
{
    for_all([](const World& world) {
        const Situation& s = world.situation;
        const Plan out = s.negotiate();
        if (out.copied.empty()) return;
        const Situation rest = without(s, out.copied);
        const std::set<Way> possible = oracle(rest);
        EXPECT_TRUE(std::ranges::includes(possible, ways(s, out)));
        EXPECT_EQ(out.usage, rest.negotiate().usage);
        EXPECT_EQ(out.rules, rest.negotiate().rules);
        EXPECT_LE(s.spec.minimum_rung, Rung::blit);
        for (const Who who : out.copied) {
            Situation alone = s;
            alone.parties = {s.parties[who - 1]};
            EXPECT_LE(alone.parties[0].demands.minimum_rung, Rung::blit);
            EXPECT_FALSE(alone.parties[0].demands.usage.has_any(UsageFlag::render | UsageFlag::cpu_write)) << "it writes";
            alone.spec = {.size = s.spec.size, .format = out.choices[0].format};
            alone.alternatives.clear();
            alone.disproof = {};
            EXPECT_FALSE(oracle(alone).empty()) << "no copy for participant " << who;
        }
    });
}

TEST_F(NegotiateProperty, the_exporter_is_asked_for_what_it_can_do)
{
    for_all([](const World& world) {
        const Situation& s = world.situation;
        const Plan out = s.negotiate();
        for (const Choice& choice : out.choices) {
            Usage asked = s.spec.usage;
            for (Who who = 1; who <= s.parties.size(); ++who)
                if (!contains(out.copied, who)) asked = asked | asked_for(s.parties[who - 1], *s.offers[choice.offer].device);
            EXPECT_EQ(choice.usage, asked);
            const auto able = [&](const Capability& row) {
                return row.format == choice.format && row.usage.has(asked) &&
                       (choice.modifiers.empty() || row.modifier == choice.modifiers[0]);
            };
            EXPECT_TRUE(std::ranges::any_of(s.offers[choice.offer].rows, able));
        }
    });
}

TEST_F(NegotiateProperty, one_more_participant_never_enlarges_the_set)
{
    for_all([](const World& world) {
        Situation s = world.situation;
        const auto all = [&] {
            const Plan out = s.negotiate();
            return out.copied.empty() ? ways(s, out) : std::set<Way>{};
        };
        std::set<Way> before = all();
        while (!s.parties.empty()) {
            s.parties.pop_back();
            std::set<Way> after = all();
            EXPECT_TRUE(std::ranges::includes(after, before)) << "with " << s.parties.size() + 1 << " there was more";
            before = std::move(after);
        }
    });
}

TEST_F(NegotiateProperty, the_order_of_participants_does_not_matter)
{
    for_all([](World& world) {
        Situation& s = world.situation;
        const auto result = [&] {
            const Plan out = s.negotiate();
            std::vector<std::string> text;
            for (const Choice& c : out.choices)
                for (const Modifier m : c.modifiers)
                    text.push_back(std::to_string(c.offer) + to_string(c.format) + to_string(m));
            const auto add = [&](std::vector<std::string> names) {
                std::ranges::sort(names);
                for (std::string& name : names) text.push_back(std::move(name));
                text.emplace_back("-");
            };
            add(s.names(out.copied));
            add(s.names(out.culprits));
            std::vector<std::string> removals;
            for (const Removal& r : out.removals)
                removals.push_back(std::string(r.who.view()) + ": " + std::string(r.reason.view()));
            add(std::move(removals));
            for (const Candidate& c : out.refused) text.emplace_back(c.reason.view());
            text.push_back(std::string(split(out.nearest.view(), " -> ").back()));
            return text;
        };
        const std::vector<std::string> before = result();
        for (int i = 0; i < 3; ++i) {
            world.shuffle_parties();
            EXPECT_EQ(result(), before);
        }
    });
}

TEST_F(NegotiateProperty, without_the_culprits_it_works_and_no_single_one_would_do_instead_of_several)
{
    for_all([](const World& world) {
        const Situation& s = world.situation;
        const Plan out = s.negotiate();
        if (serves_all(out)) {
            EXPECT_TRUE(out.culprits.empty());
            return;
        }
        std::vector<Who> everybody(s.parties.size());
        std::iota(everybody.begin(), everybody.end(), Who{1});
        EXPECT_EQ(out.culprits.empty(), oracle(without(s, everybody)).empty()) << "the request itself is in the way, or not";
        if (!out.culprits.empty()) {
            EXPECT_FALSE(oracle(without(s, out.culprits)).empty());
        }
        if (s.disproof && !alignments_agree(s.parties)) return; // who was tried in vain is found after whom rules exclude
        for (const Who who : out.culprits.size() > 1 ? everybody : std::vector<Who>{}) {
            EXPECT_TRUE(oracle(without(s, {who})).empty()) << "participant " << who << " alone";
        }
    });
}

TEST_F(NegotiateProperty, what_is_proposed_works)
{
    std::size_t followed = 0;
    for_all([&](const World& world) {
        Situation s = world.situation;
        const Plan out = s.negotiate();
        const std::string_view nearest = out.nearest.view();
        if (nearest.empty() || nearest.find(" more -> ") != std::string_view::npos) return;
        follow(s, nearest);
        ++followed;
        EXPECT_FALSE(oracle(s).empty()) << nearest;
    });
    if (std::getenv("DMABROKER_SEED")) return;
    EXPECT_GE(followed, fixed_seeds / 10) << "the worlds are too alike";
}

TEST_F(NegotiateProperty, every_removal_and_every_refused_offer_has_its_reason)
{
    for_all([](const World& world) {
        const Situation& s = world.situation;
        const Plan out = s.negotiate();
        for (const Removal& r : out.removals) EXPECT_FALSE(r.reason.empty()) << r.who.view() << ' ' << name(r.demand);
        for (const Candidate& c : out.refused) EXPECT_FALSE(c.reason.empty());
        std::set<std::size_t> chosen;
        for (const Choice& c : out.choices) chosen.insert(c.offer);
        EXPECT_EQ(chosen.size() + out.refused.size(), s.offers.size());
    });
}

TEST_F(NegotiateProperty, the_same_question_has_the_same_answer)
{
    for_all([](const World& world) {
        const Plan a = world.situation.negotiate(), b = world.situation.negotiate();
        EXPECT_TRUE(a.removals == b.removals && a.refused == b.refused && a.passed_over == b.passed_over);
        EXPECT_TRUE(a.common == b.common && a.culprits == b.culprits && a.copied == b.copied && a.nearest == b.nearest);
        EXPECT_TRUE(a.rules == b.rules && a.usage == b.usage && ways(world.situation, a) == ways(world.situation, b));
    });
}

} // namespace
} // namespace dmb::test
