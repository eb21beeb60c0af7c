// SPDX-License-Identifier: MIT
// One Job per request. It waits while a worker that could serve it is still starting, then tries the
// negotiated choices in order: pooled memory first, else the allocator. A failure becomes a candidate
// with its reason and the next choice is tried. A job with a worker is owned by its completion; if the
// worker never answers, the worker's own deadline completes it.
#include "daemon/core/allocation.hpp"

#include <algorithm>
#include <utility>

namespace dmb {
namespace {

/// What came back must be what was asked for: a worker is a driver's host and may answer nonsense.
Result<> check_answer(const wire::AllocateSpec& spec, const DeviceInfo& device, const Allocated& memory)
{
    const ImageDesc& desc = memory.desc;
    if (desc.size != spec.size || desc.format != spec.format || desc.backend != device.backend)
        return fail(Errc::backend_failed, "the driver made another image than was asked for");
    const auto& wanted = spec.modifiers;
    if (!wanted.empty() && std::ranges::find(wanted, desc.modifier) == wanted.end())
        return fail(Errc::backend_failed, "the driver chose the modifier {}, which was not asked for",
                    to_string(desc.modifier));
    if (desc.rung < spec.minimum_rung)
        return fail(Errc::backend_failed, "the image came out as rung {}, {} or better was asked for", name(desc.rung),
                    name(spec.minimum_rung));
    return {};
}

bool better_known(Errc code)
{
    return code == Errc::timed_out || code == Errc::out_of_memory || code == Errc::bad_layout || code == Errc::bad_descriptor;
}

} // namespace

Allocations::Allocations(std::vector<Allocator*> allocators, Pool& pool) : allocators_(std::move(allocators)), pool_(pool)
{
    devices_changed({});
}

void Allocations::devices_changed(Instant now)
{
    offers_.clear();
    last_plan_.reset();
    for (std::size_t a = 0; a < allocators_.size(); ++a) {
        const auto devices = allocators_[a]->devices();
        for (std::size_t i = 0; i < devices.size(); ++i)
            offers_.push_back({&devices[i], allocators_[a]->formats(), static_cast<std::uint8_t>(i), a});
    }
    for (JobPointer& job : std::exchange(waiting_, {})) {
        job->now = now;
        plan(std::move(job));
    }
}

void Allocations::start(ClientId client, const wire::AllocateSpec& spec, UniqueFd contents, Instant now, Done done)
{
    if (!contents && serve_from_pool(client, spec, done)) return;
    auto job = std::make_unique<Job>();
    job->client = client;
    job->spec = spec;
    job->contents = std::move(contents);
    job->now = now;
    job->done = std::move(done);
    plan(std::move(job));
}

void Allocations::forget(ClientId client)
{
    std::erase_if(waiting_, [&](const JobPointer& job) { return job->client == client; });
}

bool Allocations::must_wait(const wire::AllocateSpec& spec) const
{
    if (is_cpu_only(spec.usage) && spec.backends.empty() && spec.device.empty()) return false;
    return std::ranges::any_of(allocators_, [&](const Allocator* a) {
        return a->starting() && (spec.backends.empty() || (spec.backends.bits & a->offers().bits) != 0);
    });
}

void Allocations::plan(JobPointer job)
{
    if (must_wait(job->spec)) {
        waiting_.push_back(std::move(job));
        return;
    }
    job->plan = negotiated(job->spec);
    attempt(std::move(job));
}

std::shared_ptr<const Negotiation> Allocations::negotiated(const wire::AllocateSpec& spec)
{
    if (last_plan_ && last_spec_ == spec) return last_plan_;
    const auto refusal = [&](const Offer& o) { return allocators_[o.allocator]->refusal(o.index, spec); };
    last_plan_ = std::make_shared<Negotiation>(negotiate(spec, offers_, refusal));
    last_spec_ = spec;
    return last_plan_;
}

/// The short way: the best choice has memory lying ready.
bool Allocations::serve_from_pool(ClientId client, const wire::AllocateSpec& spec, Done& done)
{
    if (pool_.empty() || must_wait(spec)) return false;
    const auto plan = negotiated(spec);
    if (plan->choices.empty()) return false;
    const Choice& choice = plan->choices.front();
    const DeviceInfo& device = allocators_[choice.allocator]->devices()[choice.device];
    auto pooled = pool_.take(client, device, spec);
    if (!pooled) return false;
    Outcome out{std::move(*pooled), plan->passed_over};
    out.candidates.push_back(candidate(device, wire::Verdict::chosen, "first choice that works; reused memory"));
    done(std::move(out));
    return true;
}

void Allocations::attempt(JobPointer job)
{
    if (job->next >= job->plan->choices.size()) return give_up(std::move(job));
    const Choice& choice = job->plan->choices[job->next];
    Allocator& allocator = *allocators_[choice.allocator];
    if (choice.device >= allocator.devices().size())
        return attempted(std::move(job), fail(Errc::backend_failed, "the device is gone"));
    if (!job->contents)
        if (auto pooled = pool_.take(job->client, allocator.devices()[choice.device], job->spec))
            return succeed(std::move(job), std::move(*pooled), "first choice that works; reused memory");
    wire::AllocateSpec spec = job->spec;
    spec.modifiers = choice.modifiers;
    const int contents = job->contents.get();
    const Instant now = job->now;
    allocator.allocate(choice.device, spec, contents, now, [this, job = std::move(job)](Result<Allocated> made) mutable {
        attempted(std::move(job), std::move(made));
    });
}

DeviceInfo Allocations::device_of(const Job& job) const
{
    const Choice& choice = job.plan->choices[job.next];
    const auto devices = allocators_[choice.allocator]->devices();
    return choice.device < devices.size() ? devices[choice.device] : DeviceInfo{};
}

void Allocations::attempted(JobPointer job, Result<Allocated> made)
{
    const DeviceInfo device = device_of(*job);
    Result<> good = made ? check_answer(job->spec, device, *made) : Result<>(std::unexpected(made.error()));
    if (good) return succeed(std::move(job), std::move(*made), "first choice that works");
    last_plan_.reset(); // what failed may be refused from now on
    job->last_error = good.error().code;
    job->failed.push_back(candidate(device, wire::Verdict::failed, good.error().reason.view()));
    ++job->next;
    attempt(std::move(job));
}

void Allocations::succeed(JobPointer job, Allocated memory, const char* reason)
{
    Outcome out{std::move(memory), job->plan->passed_over};
    out.candidates.insert(out.candidates.end(), job->failed.begin(), job->failed.end());
    out.candidates.push_back(candidate(device_of(*job), wire::Verdict::chosen, reason));
    job->done(std::move(out));
}

void Allocations::give_up(JobPointer job)
{
    Outcome out{std::unexpected(Error{}), job->failed};
    out.candidates.insert(out.candidates.end(), job->plan->refused.begin(), job->plan->refused.end());
    const wire::AllocateSpec& spec = job->spec;
    const std::string shape =
        fmt::format("{} {}x{} for {}", to_string(spec.format), spec.size.width, spec.size.height, to_string(spec.usage));
    if (job->failed.empty())
        out.memory = fail(Errc::no_backend, "nothing on this machine can serve {}; the candidates say why", shape);
    else
        out.memory = fail(better_known(job->last_error) ? job->last_error : Errc::backend_failed,
                          "every way to make {} failed, at last: {}", shape, job->failed.back().reason.view());
    job->done(std::move(out));
}

} // namespace dmb
