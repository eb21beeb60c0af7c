// SPDX-License-Identifier: MIT
// A job walks for each importer: allocate, fill with the pattern (where the allocator did not), ask the prover.
// A job that waited may find its question answered by the one before it. What crashes or hangs is noted
// like any other result, which is why it is never asked again. A worker that restarts may have other devices: then
// there is nothing to find out about the one that was meant.
#include "daemon/core/proving/proving.hpp"

#include "daemon/alloc/memfd.hpp"
#include "proto/image/proof_pattern.hpp"

#include <fmt/format.h>
#include <utility>

namespace dmb {
namespace {

ProofResult result_of(Errc code)
{
    switch (code) {
    case Errc::disconnected: return ProofResult::crashed;
    case Errc::timed_out: return ProofResult::hung;
    default: return ProofResult::refused;
    }
}

/// It ended for reasons that have nothing to do with the images.
bool says_nothing(Errc code) { return code == Errc::shutting_down || code == Errc::out_of_memory || code == Errc::internal; }

Result<UniqueFd> pattern(FourCC code, Extent size)
{
    const FormatInfo* format = find_format(code);
    if (!format) return fail(Errc::unknown_format, "format {} is not known", to_string(code));
    return sealed_copy("dmabroker-proof", proof_contents(*format, size));
}

BoundedVector<int, limits::packet_fds> borrow(const ImageFds& fds)
{
    BoundedVector<int, limits::packet_fds> out;
    for (const UniqueFd& fd : fds) out.push_back(fd.get());
    return out;
}

} // namespace

std::vector<Party> Proving::untried(const Trial& trial) const
{
    std::vector<Party> out;
    if (!helpers_.prover || trial.device >= trial.allocator->devices().size()) return out;
    const DeviceInfo& exporter = trial.allocator->devices()[trial.device];
    if (proofs_.find(exporter_key(exporter, trial.format, trial.modifier, trial.size))) return out;
    for (const Party& party : trial.importers)
        if (can_be_tried(party) && !proofs_.find(pair_key(exporter, party, trial.format, trial.modifier, trial.size)))
            out.push_back(party);
    return out;
}

bool Proving::is_there(const Job& job)
{
    const auto devices = job.trial.allocator->devices();
    return job.trial.device < devices.size() && devices[job.trial.device] == job.exporter;
}

void Proving::run(Trial trial, Instant now, Done done, Urgency urgency)
{
    auto job = std::make_unique<Job>();
    if (const auto devices = trial.allocator->devices(); trial.device < devices.size()) job->exporter = devices[trial.device];
    job->trial = std::move(trial);
    job->done = std::move(done);
    (urgency == Urgency::now ? waiting_ : background_).push_back(std::move(job));
    if (!busy_) next(now);
}

/// Null: none.
Proving::JobPointer Proving::take_next()
{
    std::deque<JobPointer>& queue = waiting_.empty() ? background_ : waiting_;
    if (queue.empty()) return nullptr;
    JobPointer job = std::move(queue.front());
    queue.pop_front();
    return job;
}

void Proving::next(Instant now)
{
    while (!busy_) {
        JobPointer job = take_next();
        if (!job) return;
        job->trial.importers = is_there(*job) ? untried(job->trial) : std::vector<Party>();
        if (job->trial.importers.empty()) {
            job->done(now);
            continue;
        }
        busy_ = true;
        allocate(std::move(job), now);
    }
}

void Proving::finish(JobPointer job, Instant now)
{
    job->done(now);
    job.reset();
    busy_ = false;
    next(now);
}

void Proving::allocate(JobPointer job, Instant now)
{
    if (!is_there(*job)) return finish(std::move(job), now);
    const Trial& trial = job->trial;
    job->began = now;
    const wire::AllocateSpec spec{.size = trial_size(trial.format, size_class(trial.size)),
                                  .format = trial.format,
                                  .modifiers = {trial.modifier},
                                  .usage = trial.usage};
    Result<UniqueFd> contents = pattern(trial.format, spec.size);
    if (!contents) return finish(std::move(job), now);
    Allocator& allocator = *trial.allocator;
    const std::uint8_t device = trial.device;
    const LayoutRules rules = trial.rules;
    allocator.allocate(device, spec, rules, contents->get(), now,
                       [this, job = std::move(job)](Result<Allocated> made, Instant at) mutable {
                           allocated(std::move(job), std::move(made), at);
                       });
}

void Proving::allocated(JobPointer job, Result<Allocated> made, Instant now)
{
    if (!made) {
        note_exporter(*job, made.error(), now);
        return finish(std::move(job), now);
    }
    job->desc = made->desc;
    job->fds = std::move(made->fds);
    if (made->contents_written) return ask(std::move(job), now);
    fill(std::move(job), now);
}

/// System memory: nobody but a helper writes into it.
void Proving::fill(JobPointer job, Instant now)
{
    Result<UniqueFd> contents = pattern(job->desc.format, job->desc.size);
    if (!contents || !helpers_.system) return finish(std::move(job), now);
    auto fds = borrow(job->fds);
    fds.push_back(contents->get());
    const ImageDesc desc = job->desc;
    helpers_.system->write(desc, {fds.data(), fds.size()}, now,
                           [this, job = std::move(job)](Result<std::uint64_t> written, Instant at) mutable {
                               if (written) return ask(std::move(job), at);
                               note_exporter(*job, written.error(), at);
                               finish(std::move(job), at);
                           });
}

void Proving::ask(JobPointer job, Instant now)
{
    const Party& importer = job->trial.importers[job->next];
    const wire::WorkerProve request{importer.table->api, importer.table->device, importer.demands.usage, job->desc};
    const auto fds = borrow(job->fds);
    job->began = now;
    helpers_.prover->prove(request, {fds.data(), fds.size()}, now,
                           [this, job = std::move(job)](Result<wire::WorkerProof> proof, Instant at) mutable {
                               answered(std::move(job), proof, at);
                           });
}

void Proving::answered(JobPointer job, const Result<wire::WorkerProof>& proof, Instant now)
{
    const Party& importer = job->trial.importers[job->next++];
    if (proof) note(*job, importer, proof->result, proof->reason.view(), now);
    else if (!says_nothing(proof.error().code))
        note(*job, importer, result_of(proof.error().code), proof.error().reason.view(), now);
    if (job->next == job->trial.importers.size()) return finish(std::move(job), now);
    job->fds.clear();
    allocate(std::move(job), now); // the last one may have drawn into it
}

/// It could not even be allocated. When that took the driver down, it does so whoever would import it.
void Proving::note_exporter(const Job& job, const Error& error, Instant now)
{
    if (says_nothing(error.code)) return;
    const std::string reason = fmt::format("allocating it: {}", error.reason.view());
    if (result_of(error.code) == ProofResult::refused) {
        for (const Party& importer : job.trial.importers) note(job, importer, ProofResult::refused, reason, now);
        return;
    }
    proofs_.add({.key = exporter_key(job.exporter, job.trial.format, job.trial.modifier, job.trial.size),
                 .result = result_of(error.code),
                 .reason = std::string_view(reason)});
}

void Proving::note(const Job& job, const Party& importer, ProofResult result, std::string_view reason, Instant now)
{
    Proof proof{.key = pair_key(job.exporter, importer, job.trial.format, job.trial.modifier, job.trial.size),
                .result = result,
                .reason = reason,
                .cost_ns = time_left(job.began, now)};
    if (!job.desc.planes.empty()) proof.pitch = job.desc.planes[0].stride;
    proofs_.add(proof);
}

} // namespace dmb
