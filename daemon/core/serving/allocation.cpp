// SPDX-License-Identifier: MIT
// One Job per request. It waits while a worker that could serve it is still starting, then tries the
// negotiated choices in order: pooled memory first, else the allocator. A choice whose participants can be
// asked is proven before it is used; what does not work changes the plan, and so do layouts that crash a driver and
// devices that come and go. A failure becomes a candidate with its reason and the next choice is tried. A job with a worker is
// owned by its completion; if the worker never answers, the worker's own deadline completes it.
#include "daemon/core/serving/allocation.hpp"

#include "daemon/core/deciding/ranking.hpp"
#include "daemon/core/deciding/reasons.hpp"
#include "proto/image/format_colour.hpp"

#include <algorithm>
#include <utility>

namespace dmb {
namespace {

/// Trials beyond this time are left out: an image that was not proven is better than no answer.
constexpr std::uint64_t proving_ns = 15'000'000'000;
/// So often one request is planned anew because of what happened meanwhile.
constexpr std::uint32_t most_replans = 4;

AllocateSpec spec_for(const Wish& wish, const Choice& choice)
{
    AllocateSpec spec = wish.spec;
    spec.format = choice.format;
    spec.colour = adapted(wish.spec.colour, wish.spec.format, choice.format);
    spec.usage = choice.usage;
    spec.modifiers = choice.modifiers;
    if (choice.settled && !spec.modifiers.empty()) spec.modifiers.resize(1);
    return spec;
}

/// What came back must be what was asked for: a worker is a driver's host and may answer nonsense.
Result<> check_answer(const AllocateSpec& spec, const LayoutRules& rules, const Exporter& device, const Allocated& memory)
{
    const ImageDesc& desc = memory.desc;
    if (desc.size != spec.size || desc.format != spec.format || desc.backend != device.backend)
        return fail(Errc::backend_failed, "the driver made another image than was asked for");
    if (desc.device != device.id) return fail(Errc::backend_failed, "it came from another device than was chosen");
    const auto& wanted = spec.modifiers;
    if (!wanted.empty() && std::ranges::find(wanted, desc.modifier) == wanted.end())
        return fail(Errc::backend_failed, "the driver chose the modifier {}, which was not asked for",
                    to_string(desc.modifier));
    if (desc.rung < spec.minimum_rung)
        return fail(Errc::backend_failed, "the image came out as rung {}, {} or better was asked for", name(desc.rung),
                    name(spec.minimum_rung));
    if (const auto broken = broken_rule(rules, desc); !broken.empty()) return fail(Errc::backend_failed, "{}", broken.view());
    return {};
}

/// What the driver was asked for; INVALID: its own choice among several. A worker that has ended may show fewer devices.
Modifier asked_layout(const AllocateSpec& spec, std::uint8_t device, std::span<const Exports> exports)
{
    BoundedVector<Modifier, limits::modifiers> asked = spec.modifiers;
    if (asked.empty() && device < exports.size())
        for (const Capability& row : exports[device].rows)
            if (row.format == spec.format && !asked.full()) asked.push_back(row.modifier);
    return asked.size() == 1 ? asked[0] : modifier_invalid;
}

bool better_known(Errc code)
{
    return code == Errc::timed_out || code == Errc::out_of_memory || code == Errc::bad_layout || code == Errc::bad_descriptor;
}

} // namespace

Allocations::Allocations(std::vector<Allocator*> allocators, Pool& pool, Proofs& proofs, const Helpers& helpers)
    : allocators_(std::move(allocators)), pool_(pool), proofs_(proofs), trials_(proofs, helpers)
{
    devices_changed({});
}

void Allocations::devices_changed(Instant now)
{
    offers_.clear();
    last_plan_.reset();
    for (std::size_t a = 0; a < allocators_.size(); ++a) {
        const auto exports = allocators_[a]->exports();
        for (std::size_t i = 0; i < exports.size(); ++i)
            offers_.push_back({&exports[i].exporter, exports[i].rows, static_cast<std::uint8_t>(i), a});
    }
    const auto is_known = [](const Offer& offer, const Exporter& device) { return *offer.device == device; };
    if (!std::ranges::equal(offers_, known_, is_known)) {
        ++generation_;
        known_.clear();
        for (const Offer& offer : offers_) known_.push_back(*offer.device);
    }
    for (JobPointer& job : std::exchange(waiting_, {})) plan(std::move(job), now);
}

const Offer* Allocations::offer_of(const ImageDesc& desc) const
{
    const auto found = std::ranges::find_if(
        offers_, [&](const Offer& o) { return o.device->backend == desc.backend && o.device->id == desc.device; });
    return found == offers_.end() ? nullptr : &*found;
}

void Allocations::start(const OperationId& operation, Wish wish, UniqueFd contents, Instant now, Done done)
{
    if (!contents && serve_from_pool(operation.client, wish, now, done)) return;
    auto job = std::make_unique<Job>();
    job->operation = operation;
    job->wish = std::move(wish);
    job->contents = std::move(contents);
    job->began = now;
    job->done = std::move(done);
    plan(std::move(job), now);
}

bool Allocations::forget(const OperationId& operation)
{
    return std::erase_if(waiting_, [&](const JobPointer& job) { return job->operation == operation; }) > 0;
}

bool Allocations::must_wait(const AllocateSpec& spec) const
{
    if (is_cpu_only(spec.usage) && spec.backends.empty() && spec.device.empty()) return false;
    return std::ranges::any_of(allocators_, [&](const Allocator* a) {
        return a->starting() && (spec.backends.empty() || (spec.backends.bits & a->offers().bits) != 0);
    });
}

void Allocations::plan(JobPointer job, Instant now)
{
    if (must_wait(job->wish.spec)) {
        waiting_.push_back(std::move(job));
        return;
    }
    job->plan = negotiated(job->wish);
    job->generation = generation_;
    job->next = 0;
    attempt(std::move(job), now);
}

Plan Allocations::negotiated_now(const Wish& wish) const
{
    const Disproof disproved = [&](const Offer& o, const Party* party, FourCC format, Modifier modifier) {
        return disproof(proofs_, *o.device, party, format, modifier, wish.spec.size);
    };
    return negotiate({wish.spec, wish.alternatives, wish.parties, offers_, proofs_.empty() ? Disproof() : disproved});
}

std::shared_ptr<const Plan> Allocations::negotiated(const Wish& wish)
{
    if (last_plan_ && last_wish_ == wish) return last_plan_;
    last_plan_ = std::make_shared<Plan>(negotiated_now(wish));
    last_wish_ = wish;
    return last_plan_;
}

std::optional<Allocated> Allocations::take_pooled(ClientId client, const Plan& plan, const Choice& choice, const Wish& wish)
{
    const Exporter& device = allocators_[choice.allocator]->exports()[choice.device].exporter;
    auto pooled = pool_.take(client, device, spec_for(wish, choice));
    if (pooled && !broken_rule(plan.rules, pooled->desc).empty()) return std::nullopt;
    return pooled;
}

/// The short way: the best choice has memory lying ready.
bool Allocations::serve_from_pool(ClientId client, Wish& wish, Instant now, Done& done)
{
    if (pool_.empty() || must_wait(wish.spec)) return false;
    const auto plan = negotiated(wish);
    if (plan->choices.empty()) return false;
    const Choice& choice = plan->choices.front();
    auto pooled = take_pooled(client, *plan, choice, wish);
    if (!pooled) return false;
    Outcome out{std::move(*pooled), plan->passed_over, plan, std::move(wish)};
    const Exporter& device = allocators_[choice.allocator]->exports()[choice.device].exporter;
    out.candidates.push_back(candidate(device, Verdict::chosen, "first choice that works; reused memory"));
    done(std::move(out), now);
    return true;
}

/// Starts a trial of the layout that would be used, if it is not known whether it works. Takes the job then.
bool Allocations::prove_first(JobPointer& job, Instant now)
{
    const Choice& choice = job->plan->choices[job->next];
    if (choice.modifiers.empty() || time_left(now, after(job->began, proving_ns)) == 0) return false;
    Trial trial{.allocator = allocators_[choice.allocator],
                .device = choice.device,
                .format = choice.format,
                .modifier = choice.modifiers[0],
                .usage = choice.usage,
                .rules = job->plan->rules,
                .size = job->wish.spec.size,
                .importers = job->wish.parties};
    for (std::size_t i = job->plan->copied.size(); i-- > 0;)
        trial.importers.erase(trial.importers.begin() + static_cast<std::ptrdiff_t>(job->plan->copied[i] - 1));
    if (trials_.untried(trial).empty() || !job->tried.insert({choice.offer, choice.modifiers[0]}).second) return false;
    trials_.run({std::move(trial)}, now, [this, job = std::move(job)](Instant at) mutable {
        last_plan_.reset();
        plan(std::move(job), at);
    });
    return true;
}

void Allocations::attempt(JobPointer job, Instant now)
{
    // Choices are positions in lists; those of other devices mean nothing.
    if (job->generation != generation_ && job->replans++ < most_replans) return plan(std::move(job), now);
    if (job->next >= job->plan->choices.size() || job->generation != generation_) return give_up(std::move(job), now);
    const Choice& choice = job->plan->choices[job->next];
    Allocator& allocator = *allocators_[choice.allocator];
    job->device = allocator.exports()[choice.device].exporter;
    if (prove_first(job, now)) return;
    if (!job->contents)
        if (auto pooled = take_pooled(job->operation.client, *job->plan, choice, job->wish))
            return succeed(std::move(job), std::move(*pooled), "first choice that works; reused memory", now);
    const AllocateSpec spec = spec_for(job->wish, choice);
    const LayoutRules rules = job->plan->rules;
    const int contents = job->contents.get();
    const std::uint8_t device = choice.device;
    allocator.allocate(device, spec, rules, contents, now,
                       [this, job = std::move(job)](Result<Allocated> made, Instant at) mutable {
                           attempted(std::move(job), std::move(made), at);
                       });
}

void Allocations::attempted(JobPointer job, Result<Allocated> made, Instant now)
{
    const AllocateSpec spec = spec_for(job->wish, job->plan->choices[job->next]);
    Result<> good = made ? check_answer(spec, job->plan->rules, job->device, *made) : Result<>(std::unexpected(made.error()));
    if (good) made->desc.colour = spec.colour; // the meaning of the numbers is no matter of drivers
    if (good) return succeed(std::move(job), std::move(*made), "first choice that works", now);
    const bool noted = note_crash(*job, good.error().code);
    last_plan_.reset(); // what failed may be refused from now on
    job->last_error = good.error().code;
    job->failed.push_back(candidate(job->device, Verdict::failed, good.error().reason.view()));
    ++job->next;
    if (noted && job->replans++ < most_replans) return plan(std::move(job), now); // it may have another layout
    attempt(std::move(job), now);
}

/// A layout that takes the driver down is never asked for again. Of several it is not known which one did: the driver's own
/// choice did, and from now on it is told what to choose.
bool Allocations::note_crash(const Job& job, Errc code)
{
    if (code != Errc::disconnected && code != Errc::timed_out) return false;
    const Choice& choice = job.plan->choices[job.next];
    const AllocateSpec spec = spec_for(job.wish, choice);
    const Modifier asked = asked_layout(spec, choice.device, allocators_[choice.allocator]->exports());
    const bool crashed = code == Errc::disconnected;
    proofs_.add({.key = exporter_key(job.device, choice.format, asked, spec.size),
                 .result = crashed ? ProofResult::crashed : ProofResult::hung,
                 .reason = crashed ? "its driver crashed while allocating it" : "its driver hung while allocating it"});
    return true;
}

void Allocations::succeed(JobPointer job, Allocated memory, const char* reason, Instant now)
{
    Outcome out{std::move(memory), job->plan->passed_over, job->plan, std::move(job->wish)};
    out.candidates.insert(out.candidates.end(), job->failed.begin(), job->failed.end());
    out.candidates.push_back(candidate(job->device, Verdict::chosen, reason));
    job->done(std::move(out), now);
}

void Allocations::give_up(JobPointer job, Instant now)
{
    Outcome out{std::unexpected(Error{}), job->failed, job->plan, {}};
    out.candidates.insert(out.candidates.end(), job->plan->refused.begin(), job->plan->refused.end());
    const AllocateSpec& spec = job->wish.spec;
    const std::string shape =
        fmt::format("{} {}x{} for {}", to_string(spec.format), spec.size.width, spec.size.height, to_string(job->plan->usage));
    if (!job->failed.empty())
        out.memory = fail(better_known(job->last_error) ? job->last_error : Errc::backend_failed,
                          "every way to make {} failed, at last: {}", shape, job->failed.back().reason.view());
    else if (!job->plan->nearest.empty())
        out.memory =
            fail(Errc::no_backend, "{} ({}); nearest: {}",
                 job->wish.parties.empty() ? "nothing on this machine can serve that" : "no image that everyone can use", shape,
                 job->plan->nearest.view());
    else
        out.memory =
            fail(Errc::no_backend, "nothing on this machine can serve {}; `dmabrokerctl why` says what was tried", shape);
    out.wish = std::move(job->wish);
    job->done(std::move(out), now);
}

/// Every layout of every device, for every importer that has it in its table.
Batch Allocations::warm_up(Instant now, std::vector<Party> importers, Trials::Done done)
{
    constexpr Extent size = {256, 256};
    std::vector<Trial> trials;
    for (const Offer& offer : offers_) {
        if (!offer.device->problem.empty()) continue;
        for (const Capability& row : offer.rows) {
            Trial trial{.allocator = allocators_[offer.allocator],
                        .device = offer.index,
                        .format = row.format,
                        .modifier = row.modifier,
                        .usage = row.usage & UsageFlag::sample,
                        .size = size};
            const Properties made{row.kind,
                                  offer.device->backend,
                                  offer.device->id,
                                  row.format,
                                  row.modifier,
                                  size,
                                  best_rung(*offer.device, row.format, row.modifier),
                                  row.usage};
            for (const Party& party : importers)
                if (broken_demands(party, made) == 0) trial.importers.push_back(party);
            if (!trial.importers.empty()) trials.push_back(std::move(trial));
        }
    }
    return trials_.run(std::move(trials), now, std::move(done), Urgency::background);
}

} // namespace dmb
