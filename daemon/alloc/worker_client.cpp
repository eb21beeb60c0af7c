// SPDX-License-Identifier: MIT
// A worker serves one request at a time; the others queue here. It answers in time or is killed: a driver
// that hangs costs one request, the one that was being served when the process ended. What is never asked again
// because of that is not decided here (core/proving/proofs). Restarts back off, and a worker that did not get as far as
// its hello is not waited for any more, and given up after a few starts.
#include "daemon/alloc/worker_client.hpp"

#include "proto/base/log.hpp"
#include "proto/image/fd_identity.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <utility>

namespace dmb {
namespace {

constexpr std::uint64_t first_backoff_ns = 100'000'000;
constexpr std::uint64_t last_backoff_ns = 5'000'000'000;
constexpr std::uint32_t most_failed_starts = 4;

/// Names come from drivers and end on terminals.
void make_printable(Exporter& device)
{
    if (!is_printable(device.node)) device.node = "?";
    if (!is_printable(device.driver)) device.driver = "?";
    if (!is_printable(device.version)) device.version = "?";
    if (!is_printable(device.name)) device.name = "?";
    if (!is_printable(device.problem)) device.problem = "the driver gave a reason that cannot be shown";
}

/// What a worker says for itself is never that it crashed or hung.
Error as_declined(const wire::ErrorReply& reply)
{
    const bool printable = is_printable(reply.reason);
    const bool claims = reply.code == Errc::disconnected || reply.code == Errc::timed_out || reply.code == Errc::shutting_down;
    return {claims ? Errc::backend_failed : reply.code,
            printable ? reply.reason : BoundedText<240>("the worker gave a reason that cannot be shown")};
}

Result<std::uint64_t> cost_of(wire::WorkerDone& done, wire::PacketFds&) { return done.cost_ns; }

} // namespace

WorkerClient::WorkerClient(std::string name, Exporter placeholder, BackendSet offers, WorkerLink& link, WorkerTiming timing,
                           std::function<void(Instant)> changed)
    : name_(std::move(name)),
      placeholder_(placeholder),
      offers_(offers),
      link_(link),
      timing_(timing),
      changed_(std::move(changed)),
      state_(timing.idle_ns != 0 ? State::idle : State::down),
      backoff_ns_(first_backoff_ns)
{
    placeholder_.problem = "its worker is still starting";
    if (timing.idle_ns == 0) exports_ = {{placeholder_, {}}};
}

void WorkerClient::start(Instant now)
{
    if (state_ != State::idle) launch(now);
}

void WorkerClient::launch(Instant now)
{
    if (const auto started = link_.start(); !started) return give_up(started.error(), now);
    state_ = State::hello;
    deadline_ = after(now, timing_.hello_ns);
}

// --- what the process says -------------------------------------------------------------------------

void WorkerClient::received(wire::Decoded<wire::WorkerReply>& packet, wire::PacketFds& fds, Instant now)
{
    if (auto* hello = std::get_if<wire::WorkerHello>(&packet.message)) {
        if (state_ == State::hello) return greeted(*hello, now);
        return lost("it sent a hello that makes no sense", WorkerEnd::killed, now);
    }
    if (state_ != State::busy || packet.serial != serial_)
        return lost("it answered what was not asked", WorkerEnd::crashed, now);
    if (const auto* error = std::get_if<wire::ErrorReply>(&packet.message))
        return answered(std::unexpected(as_declined(*error)), now);
    answered(Answer{packet.message, fds}, now);
}

void WorkerClient::greeted(wire::WorkerHello& hello, Instant now)
{
    exports_ = std::move(hello.exports);
    std::size_t rows = 0;
    for (Exports& found : exports_) {
        make_printable(found.exporter);
        rows += found.rows.size();
    }
    failed_starts_ = 0;
    if (exports_.empty() && timing_.idle_ns == 0) return dismiss(now);
    state_ = State::ready;
    deadline_ = end_of_idling(now);
    log::info("worker {}: {} devices, {} layouts", name_, exports_.size(), rows);
    changed_(now);
    next(now);
}

/// A driver for devices that are not here.
void WorkerClient::dismiss(Instant now)
{
    log::debug("worker {}: no device", name_);
    link_.kill();
    placeholder_.problem = "its driver has no device here";
    state_ = State::given_up;
    deadline_ = never;
    changed_(now);
    fail_all({Errc::shutting_down, placeholder_.problem.view()}, now);
}

/// The worker is ours, the driver in it is not: what it made is checked like a stranger's, except for
/// opaque memory, which nobody but its driver can judge.
Result<Allocated> WorkerClient::take(wire::WorkerImage& answer, wire::PacketFds& received)
{
    Allocated out;
    out.fds = wire::take_image_fds(received, 0, answer.desc.memories.size());
    const bool opaque = answer.desc.kind == MemoryKind::opaque;
    Image image =
        TRY(opaque ? Image::adopt(answer.desc, std::move(out.fds)) : Image::validate(answer.desc, std::move(out.fds)));
    out.desc = image.desc();
    out.fds = std::move(image).take_fds();
    out.contents_written = answer.contents_written;
    for (std::size_t i = 0; i < out.fds.size() && !opaque; ++i) {
        const FdIdentity found = identify(out.fds[i].get());
        out.keys.push_back({found.mount, found.inode});
    }
    // Not measured: the worker may not have closed its own yet. One descriptor of ours is one reference.
    out.unshared_count = 1;
    return out;
}

void WorkerClient::answered(Result<Answer> result, Instant now)
{
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    state_ = State::ready;
    deadline_ = end_of_idling(now);
    backoff_ns_ = first_backoff_ns;
    next(now);
    job.done(std::move(result), now);
}

// --- requests --------------------------------------------------------------------------------------

/// `Message` is the reply that is expected, `convert` makes the result of it.
template <class Message, class T, class Take>
void WorkerClient::ask(wire::WorkerRequest request, std::span<const int> fds, Instant now, Done<T> done, Take convert)
{
    ask(std::move(request), fds, now, [done = std::move(done), convert](Result<Answer> answer, Instant at) mutable {
        if (!answer) return done(std::unexpected(answer.error()), at);
        auto* message = std::get_if<Message>(&answer->message);
        if (!message) return done(fail(Errc::backend_failed, "the worker gave an answer to another question"), at);
        done(convert(*message, answer->fds), at);
    });
}

void WorkerClient::allocate(std::uint8_t device, const AllocateSpec& spec, const LayoutRules& rules, int contents, Instant now,
                            Completion done)
{
    const wire::WorkerAllocate request{.device = device, .spec = spec, .rules = rules, .has_contents = contents >= 0};
    ask<wire::WorkerImage, Allocated>(request, {&contents, request.fd_count()}, now, std::move(done), &WorkerClient::take);
}

void WorkerClient::prove(const Importer& importer, const ImageDesc& desc, std::span<const int> fds, Instant now,
                         Done<Proven> done)
{
    ask<wire::WorkerProof, Proven>(wire::WorkerProve{importer.api, importer.device, importer.usage, desc}, fds, now,
                                   std::move(done), [](wire::WorkerProof& proof, wire::PacketFds&) -> Result<Proven> {
                                       if (!is_printable(proof.reason)) proof.reason = "?";
                                       return Proven{proof.result, proof.reason};
                                   });
}

/// What the driver has begun ends with its process; one that is still starting may start.
void WorkerClient::abandon(Instant now)
{
    const std::string_view why = "its work is not wanted any more";
    if (state_ == State::busy) lost(why, WorkerEnd::killed, now);
    fail_all({Errc::shutting_down, why}, now);
}

void WorkerClient::read(const ImageDesc& desc, std::span<const int> fds, Instant now, Done<Pixels> done)
{
    ask<wire::WorkerPixels, Pixels>(wire::WorkerRead{desc}, fds, now, std::move(done),
                                    [](wire::WorkerPixels& pixels, wire::PacketFds& got) -> Result<Pixels> {
                                        if (identify(got[0].get(), FdUse::contents).type != FdType::sealed_memfd)
                                            return fail(Errc::backend_failed,
                                                        "the worker gave pixels in something that is no sealed memfd");
                                        return Pixels{std::move(got[0]), pixels.cost_ns};
                                    });
}

void WorkerClient::write(const ImageDesc& desc, std::span<const int> fds, Instant now, Done<std::uint64_t> done)
{
    ask<wire::WorkerDone, std::uint64_t>(wire::WorkerWrite{desc}, fds, now, std::move(done), cost_of);
}

void WorkerClient::blit(const ImageDesc& source, const ImageDesc& destination, std::span<const int> fds, Instant now,
                        Done<std::uint64_t> done)
{
    ask<wire::WorkerDone, std::uint64_t>(wire::WorkerBlit{source, destination}, fds, now, std::move(done), cost_of);
}

void WorkerClient::ask(wire::WorkerRequest request, std::span<const int> fds, Instant now, Answered done)
{
    if (state_ == State::given_up) return done(fail(Errc::shutting_down, "{}", placeholder_.problem.view()), now);
    wire::PacketFds copies;
    for (const int fd : fds) {
        copies.push_back(UniqueFd::adopt(::fcntl(fd, F_DUPFD_CLOEXEC, 3)));
        if (!copies[copies.size() - 1]) return done(fail_errno(Errc::internal, "duplicating a descriptor", errno), now);
    }
    jobs_.push_back({std::move(request), std::move(copies), std::move(done)});
    if (state_ == State::idle) launch(now);
    if (state_ == State::ready) next(now);
}

void WorkerClient::next(Instant now)
{
    if (jobs_.empty() || state_ != State::ready) return;
    const Job& job = jobs_.front();
    state_ = State::busy;
    deadline_ = after(now, timing_.request_ns);
    ++serial_;
    BoundedVector<int, limits::packet_fds> fds;
    for (const UniqueFd& fd : job.fds) fds.push_back(fd.get());
    sent_ = link_.send(job.request, serial_, {fds.data(), fds.size()}).has_value();
    if (!sent_) deadline_ = now; // for expire(); not here, where a caller holds references
}

// --- failure ---------------------------------------------------------------------------------------

void WorkerClient::expire(Instant now)
{
    if (now < deadline_) return;
    if (state_ == State::down) return launch(now);
    link_.kill();
    if (state_ == State::ready) { // nothing to do for a while
        state_ = State::idle;
        deadline_ = never;
        return;
    }
    failed({Errc::timed_out, BoundedText<240>(fmt::format("worker {} did not answer in time and was killed", name_))}, now);
}

void WorkerClient::lost(std::string_view why, WorkerEnd end, Instant now)
{
    if (state_ == State::idle || state_ == State::down || state_ == State::given_up) return;
    link_.kill();
    const Errc code = end == WorkerEnd::crashed ? Errc::disconnected : Errc::shutting_down;
    failed({code, BoundedText<240>(fmt::format("worker {} is gone: {}", name_, why))}, now);
}

void WorkerClient::failed(Error error, Instant now)
{
    log::warning("{}", error.reason.view());
    const State before = state_;
    const bool wanted = timing_.idle_ns == 0 || jobs_.size() > (before == State::busy ? 1u : 0u);
    state_ = wanted ? State::down : State::idle;
    deadline_ = wanted ? after(now, backoff_ns_) : never;
    backoff_ns_ = std::min(2 * backoff_ns_, last_backoff_ns);
    if (before == State::hello) return failed_to_start(error, now);
    if (before != State::busy) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    if (!sent_) error.code = Errc::shutting_down; // whatever happened, it was not of this request
    job.done(std::unexpected(error), now);
}

void WorkerClient::failed_to_start(const Error& error, Instant now)
{
    if (++failed_starts_ >= most_failed_starts) return give_up(error, now);
    show_problem(error.reason.view(), now);
    fail_all(error, now);
}

void WorkerClient::give_up(const Error& error, Instant now)
{
    log::error("worker {} is not started again: {}", name_, error.reason.view());
    state_ = State::given_up;
    deadline_ = never;
    show_problem(error.reason.view(), now);
    fail_all(error, now);
}

void WorkerClient::show_problem(std::string_view problem, Instant now)
{
    placeholder_.problem = problem;
    if (!offers_.empty()) exports_ = {{placeholder_, {}}};
    changed_(now);
}

/// Of requests that never got there: that it crashed or hung says nothing about them.
void WorkerClient::fail_all(const Error& error, Instant now)
{
    const Error end{Errc::shutting_down, error.reason};
    for (Job& job : std::exchange(jobs_, {})) job.done(std::unexpected(end), now);
}

} // namespace dmb
