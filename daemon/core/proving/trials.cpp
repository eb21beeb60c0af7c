// SPDX-License-Identifier: MIT
// Trials, a member of Allocations. A job is one pair: allocate, fill with the pattern (where the allocator did not),
// ask a prover. Each importer gets an image of its own, since the one before may have drawn into it. Jobs with a device
// in common run one after the other: a GPU that is reset takes down whatever else runs on it, and a driver that hangs
// would let the second one wait for the first. So what crashes or hangs did so by itself, and is noted like any other
// result, which is why it is never asked again. A job that waited may find its question answered by the one before it.
//
// What no client waits for gives way to what one does: its prover is killed, and it begins anew later. If the client's
// goes wrong just then, that may be its predecessor's doing, and it is tried once more. A worker that restarts may have
// other devices: then there is nothing to find out about the one that was meant.
#include "daemon/core/proving/trials.hpp"

#include "daemon/alloc/memfd.hpp"
#include "proto/image/proof_pattern.hpp"

#include <algorithm>
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

BoundedVector<int, max_planes> borrow(const ImageFds& fds)
{
    BoundedVector<int, max_planes> out;
    for (const UniqueFd& fd : fds) out.push_back(fd.get());
    return out;
}

/// What is known of a device by which another one may be the same.
struct Place {
    const DeviceId* id = nullptr;
    std::string_view node, driver;
};
/// Of one trial.
using Places = BoundedVector<Place, 2>;

/// Not as careful as is_same(): two drivers of one GPU are one place, and so is a driver of which nothing else is known.
bool is_one(const Place& a, const Place& b)
{
    if (a.id->device_uuid != Uuid{} && a.id->device_uuid == b.id->device_uuid) return true;
    if (a.id->render_node != 0 && a.id->render_node == b.id->render_node) return true;
    if (a.id->pci != 0 && a.id->pci == b.id->pci) return true;
    if (!a.node.empty() || !b.node.empty()) return a.node == b.node;
    return *a.id == DeviceId{} && *b.id == DeviceId{} && a.driver == b.driver;
}

/// System memory and the CPU are nobody's device.
Places places(const Exporter& exporter, const Capabilities& importer)
{
    Places out;
    if (!is_system(exporter.backend)) out.push_back({&exporter.id, exporter.node.view(), exporter.driver.view()});
    const Device& device = importer.device;
    if (importer.api != Api::cpu) out.push_back({&device.id, device.node.view(), device.driver.view()});
    return out;
}

} // namespace

std::vector<Party> Trials::untried(const Trial& trial) const
{
    std::vector<Party> out;
    if (helpers_.provers.empty() || trial.device >= trial.allocator->exports().size()) return out;
    const Exporter& exporter = trial.allocator->exports()[trial.device].exporter;
    if (proofs_.find(exporter_key(exporter, trial.format, trial.modifier, trial.size))) return out;
    for (const Party& party : trial.importers)
        if (can_be_tried(party) && !proofs_.find(pair_key(exporter, party, trial.format, trial.modifier, trial.size)))
            out.push_back(party);
    return out;
}

Batch Trials::run(std::vector<Trial> trials, Instant now, Done done, Urgency urgency)
{
    const Batch batch{++last_batch_};
    Waiting waiting{std::move(done), 0};
    for (Trial& trial : trials)
        for (Party& importer : untried(trial)) {
            auto job = std::make_unique<Job>();
            job->batch = batch;
            job->urgency = urgency;
            job->trial = trial;
            job->trial.importers.clear();
            job->importer = std::move(importer);
            job->exporter = trial.allocator->exports()[trial.device].exporter;
            (urgency == Urgency::now ? waiting_ : background_).push_back(std::move(job));
            ++waiting.left;
        }
    if (waiting.left == 0) waiting.done(now);
    else batches_.emplace(batch, std::move(waiting));
    next(now);
    return batch;
}

void Trials::cancel(Batch batch)
{
    batches_.erase(batch);
    for (Queue* queue : {&waiting_, &background_})
        std::erase_if(*queue, [&](const JobPointer& job) { return job->batch == batch; });
}

// --- whose turn it is ------------------------------------------------------------------------------

/// Or the one worker that both need for allocating, or, without any device, perhaps the very same question.
bool Trials::have_common_device(const Job& a, const Job& b)
{
    const Api api = a.importer.table->api;
    const bool in_driver = !is_system(a.exporter.backend), in_neither = api == Api::cpu && b.importer.table->api == api;
    if (a.trial.allocator == b.trial.allocator && (in_driver || in_neither)) return true;
    const Places others = places(b.exporter, *b.importer.table);
    return std::ranges::any_of(places(a.exporter, *a.importer.table), [&](const Place& place) {
        return std::ranges::any_of(others, [&](const Place& other) { return is_one(place, other); });
    });
}

/// A client's waits for other clients' only, all others for everybody.
bool Trials::may_begin(const Job& job) const
{
    const bool is_waited_for = job.urgency == Urgency::now;
    const auto stays = [&](const Job* other) { return !is_waited_for || other->urgency == Urgency::now; };
    const auto holds_up = [&](const Job* other) { return stays(other) && have_common_device(job, *other); };
    if (std::cmp_equal(std::ranges::count_if(running_, stays), helpers_.provers.size())) return false;
    if (std::ranges::any_of(running_, holds_up)) return false;
    return is_waited_for || std::ranges::none_of(waiting_, holds_up, &JobPointer::get);
}

/// The result is not known yet, and the exporter is the one that was meant.
bool Trials::is_open(const Job& job) const
{
    const Trial& trial = job.trial;
    const auto exports = trial.allocator->exports();
    return trial.device < exports.size() && exports[trial.device].exporter == job.exporter &&
           !proofs_.find(exporter_key(job.exporter, trial.format, trial.modifier, trial.size)) &&
           !proofs_.find(pair_key(job.exporter, job.importer, trial.format, trial.modifier, trial.size));
}

/// Null: all have a job.
Helper* Trials::free_prover() const
{
    for (Helper* prover : helpers_.provers)
        if (std::ranges::find(running_, prover, &Job::prover) == running_.end()) return prover;
    return nullptr;
}

/// Null: none.
Trials::JobPointer Trials::take_next()
{
    for (Queue* queue : {&waiting_, &background_}) {
        const auto found = std::ranges::find_if(*queue, [&](const JobPointer& job) { return may_begin(*job); });
        if (found == queue->end()) continue;
        JobPointer job = std::move(*found);
        queue->erase(found);
        return job;
    }
    return nullptr;
}

void Trials::next(Instant now)
{
    if (std::exchange(choosing_, true)) return;
    while (JobPointer job = take_next()) begin(std::move(job), now);
    choosing_ = false;
}

void Trials::begin(JobPointer job, Instant now)
{
    if (!is_open(*job)) return finish(std::move(job), now);
    if (job->urgency == Urgency::now) make_way(*job, now);
    job->prover = free_prover();
    running_.push_back(job.get());
    allocate(std::move(job), now);
}

void Trials::make_way(Job& first, Instant now)
{
    std::vector<Job*> in_the_way;
    std::ranges::copy_if(running_, std::back_inserter(in_the_way), [&](Job* job) { return have_common_device(first, *job); });
    first.doubtful = !in_the_way.empty();
    if (in_the_way.empty() && !free_prover())
        in_the_way.push_back(*std::ranges::find(running_, Urgency::background, &Job::urgency));
    for (Job* job : in_the_way) give_way(*job, now);
}

/// While it is being allocated it only loses its place: what its exporter does, it does for everybody in turn.
void Trials::give_way(Job& job, Instant now)
{
    std::erase(running_, &job);
    job.gave_way = true;
    if (job.asking) job.prover->abandon(now); // and the job is queued again
}

void Trials::begin_again(JobPointer job, Instant now)
{
    std::erase(running_, job.get());
    job->gave_way = job->doubtful = job->asking = false;
    job->fds.clear();
    if (batches_.contains(job->batch)) (job->urgency == Urgency::now ? waiting_ : background_).push_front(std::move(job));
    next(now);
}

void Trials::finish(JobPointer job, Instant now)
{
    std::erase(running_, job.get());
    const auto batch = batches_.find(job->batch);
    job.reset();
    if (batch != batches_.end() && --batch->second.left == 0) {
        Done done = std::move(batch->second.done);
        batches_.erase(batch);
        done(now);
    }
    next(now);
}

// --- the steps -------------------------------------------------------------------------------------

void Trials::allocate(JobPointer job, Instant now)
{
    const Trial& trial = job->trial;
    job->began = now;
    const AllocateSpec spec{.size = trial_size(trial.format, size_class(trial.size)),
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

void Trials::allocated(JobPointer job, Result<Allocated> made, Instant now)
{
    if (!made && job->doubtful) return begin_again(std::move(job), now);
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
void Trials::fill(JobPointer job, Instant now)
{
    Result<UniqueFd> contents = pattern(job->desc.format, job->desc.size);
    if (!contents || !helpers_.system) return finish(std::move(job), now);
    auto fds = borrow(job->fds);
    fds.push_back(contents->get());
    const ImageDesc desc = job->desc;
    helpers_.system->write(desc, {fds.data(), fds.size()}, now,
                           [this, job = std::move(job)](Result<std::uint64_t> written, Instant at) mutable {
                               if (written) return ask(std::move(job), at);
                               finish(std::move(job), at); // the helper's failure, not the exporter's
                           });
}

void Trials::ask(JobPointer job, Instant now)
{
    if (job->gave_way) return begin_again(std::move(job), now);
    const Importer importer{job->importer.table->api, job->importer.table->device, job->importer.demands.usage};
    const ImageDesc desc = job->desc;
    const auto fds = borrow(job->fds);
    job->began = now;
    job->asking = true;
    job->prover->prove(
        importer, desc, {fds.data(), fds.size()}, now,
        [this, job = std::move(job)](Result<Proven> proof, Instant at) mutable { answered(std::move(job), proof, at); });
}

void Trials::answered(JobPointer job, const Result<Proven>& proof, Instant now)
{
    if (!proof && (job->gave_way || job->doubtful)) return begin_again(std::move(job), now);
    if (proof) note(*job, proof->result, proof->reason.view(), now);
    else if (!says_nothing(proof.error().code)) note(*job, result_of(proof.error().code), proof.error().reason.view(), now);
    finish(std::move(job), now);
}

/// It could not even be allocated. When that took the driver down, it does so whoever would import it.
void Trials::note_exporter(const Job& job, const Error& error, Instant now)
{
    if (says_nothing(error.code)) return;
    const std::string reason = fmt::format("allocating it: {}", error.reason.view());
    if (result_of(error.code) == ProofResult::refused) return note(job, ProofResult::refused, reason, now);
    proofs_.add({.key = exporter_key(job.exporter, job.trial.format, job.trial.modifier, job.trial.size),
                 .result = result_of(error.code),
                 .reason = std::string_view(reason)});
}

void Trials::note(const Job& job, ProofResult result, std::string_view reason, Instant now)
{
    Proof proof{.key = pair_key(job.exporter, job.importer, job.trial.format, job.trial.modifier, job.trial.size),
                .result = result,
                .reason = reason,
                .cost_ns = time_left(job.began, now)};
    if (!job.desc.planes.empty()) proof.pitch = job.desc.planes[0].stride;
    proofs_.add(proof);
}

} // namespace dmb
