// SPDX-License-Identifier: MIT
// History, a member of State: a ring of the last decisions, whatever came of them; an image keeps its own beyond that,
// by a shared pointer. What is kept is what was found, and never changes afterwards. Most of it is never asked for, so
// the sentences (describe, summary) are made only when somebody asks. One of an earlier life of the broker comes in
// words already (`told`).
#include "daemon/core/deciding/history.hpp"

#include "daemon/core/deciding/reasons.hpp"
#include "proto/image/modifier_name.hpp"

#include <algorithm>

namespace dmb {
namespace {

constexpr std::size_t most_decisions = 256;
using Sentence = BoundedText<240>;

std::string copied_names(const Wish& wish, const Plan& plan)
{
    std::string out;
    for (const Who who : plan.copied) {
        const std::string_view own = wish.parties[who - 1].demands.name.view();
        out += (out.empty() ? "" : ", ") + (own.empty() ? fmt::format("participant {}", who) : std::string(own));
    }
    return out;
}

Sentence chosen(const Wish& wish, const Plan& plan, const ImageDesc& image)
{
    std::string text = fmt::format("{} {} {}x{} from {}, rung {}", to_string(image.format), describe(image.modifier),
                                   image.size.width, image.size.height, name(image.backend), name(image.rung));
    if (!plan.copied.empty()) text += fmt::format("; {} cannot import it and gets a copy", copied_names(wish, plan));
    return std::string_view(text);
}

Sentence refused(const Wish& wish, const Plan& plan)
{
    const AllocateSpec& spec = wish.spec;
    const std::string shape = fmt::format("{} {}x{}", to_string(spec.format), spec.size.width, spec.size.height);
    if (!plan.choices.empty()) return std::string_view(fmt::format("{}: every allocation that could serve failed", shape));
    const bool alone = wish.parties.empty();
    return std::string_view(
        fmt::format("{} ({})", alone ? "nothing here can serve it" : "no image that everyone can use", shape));
}

void add_plan(Decision& out, const DecisionRecord& record)
{
    const Plan& plan = *record.plan;
    out.usage = plan.usage;
    out.outcome = record.memory ? chosen(record.wish, plan, *record.memory) : refused(record.wish, plan);
    if (!plan.copied.empty()) out.rung = Rung::copy;
    out.common = plan.common;
    out.removals = plan.removals;
    out.nearest = plan.nearest;
    if (record.memory) return;
    for (const Who who : plan.culprits) out.culprits.push_back(out.participants[who - 1].name);
}

} // namespace

void History::add(DecisionPointer decision)
{
    last_ones_.push_back(std::move(decision));
    if (last_ones_.size() > most_decisions) last_ones_.pop_front();
}

DecisionPointer History::find(RequestId id) const
{
    const auto found = std::ranges::find(last_ones_, id, [](const DecisionPointer& d) { return d->id; });
    return found == last_ones_.end() ? nullptr : *found;
}

Decision describe(const DecisionRecord& record, Instant now)
{
    if (record.told) {
        Decision out = *record.told;
        out.age_ns = time_left(record.made, now);
        return out;
    }
    const Wish& wish = record.wish;
    Decision out{.id = record.id, .image = record.image, .pid = record.pid, .label = record.label.view()};
    out.age_ns = time_left(record.made, now);
    out.size = wish.spec.size;
    out.formats.push_back(wish.spec.format);
    out.formats.insert(out.formats.end(), wish.alternatives.begin(), wish.alternatives.end());
    for (const Party& party : wish.parties) out.participants.push_back(view(party, out.formats));
    out.candidates = record.candidates;
    out.usage = wish.spec.usage;
    if (record.memory) out.rung = record.memory->rung;
    if (record.plan) add_plan(out, record);
    if (!record.note.empty()) out.outcome = record.note;
    return out;
}

std::string summary(const Decision& decision)
{
    std::string out(decision.outcome.view());
    if (!decision.removals.empty()) {
        const Removal& first = decision.removals.front();
        out += fmt::format("; not {} {}: {}{}{}", to_string(first.format), describe(first.modifier), first.who.view(),
                           first.who.empty() ? "" : ": ", first.reason.view());
    }
    if (!decision.nearest.empty()) out += fmt::format("; nearest: {}", decision.nearest.view());
    return out;
}

} // namespace dmb
