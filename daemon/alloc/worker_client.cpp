// SPDX-License-Identifier: MIT
// A worker serves one request at a time; the others queue here. It answers in time or is killed: a driver
// that hangs costs one request. The request that was being served when the process ended fails; after
// the second time the same request is not given to that device any more. Restarts back off, and a
// worker that did not get as far as its hello is not waited for any more, and given up after a few starts.
#include "daemon/alloc/worker_client.hpp"

#include "proto/base/log.hpp"
#include "proto/image/fd_identity.hpp"

#include <algorithm>
#include <utility>

namespace dmb {
namespace {

constexpr std::uint64_t first_backoff_ns = 100'000'000;
constexpr std::uint64_t last_backoff_ns = 5'000'000'000;
constexpr std::uint32_t most_failed_starts = 4;
constexpr std::uint32_t most_crashes = 2;
constexpr std::size_t most_shapes = 256;

std::uint64_t shape_of(std::uint8_t device, const wire::AllocateSpec& spec)
{
    std::uint64_t h = 0xcbf29ce484222325 + device;
    const auto mix = [&h](std::uint64_t part) { h = (h ^ part) * 0x9e3779b97f4a7c15, h ^= h >> 29; };
    mix(spec.size.width);
    mix(spec.size.height);
    mix(spec.format.value);
    mix(spec.usage.bits);
    for (const Modifier modifier : spec.modifiers) mix(modifier.value);
    return h;
}

bool is_sound(const wire::WorkerHello& hello)
{
    return std::ranges::all_of(hello.formats, [&](const FormatSupport& f) { return f.device < hello.devices.size(); });
}

/// Names come from drivers and end on terminals.
void make_printable(DeviceInfo& device)
{
    if (!is_printable(device.node)) device.node = "?";
    if (!is_printable(device.driver)) device.driver = "?";
    if (!is_printable(device.name)) device.name = "?";
    if (!is_printable(device.problem)) device.problem = "the driver gave a reason that cannot be shown";
}

} // namespace

WorkerClient::WorkerClient(std::string name, DeviceInfo placeholder, BackendSet offers, WorkerLink& link, WorkerTiming timing,
                           std::function<void(Instant)> changed)
    : name_(std::move(name)),
      placeholder_(placeholder),
      offers_(offers),
      link_(link),
      timing_(timing),
      changed_(std::move(changed)),
      backoff_ns_(first_backoff_ns)
{
    placeholder_.problem = "its worker is still starting";
    devices_ = {placeholder_};
}

void WorkerClient::start(Instant now)
{
    if (const auto started = link_.start(); !started) return give_up(started.error(), now);
    state_ = State::hello;
    deadline_ = after(now, timing_.hello_ns);
}

// --- what the process says -------------------------------------------------------------------------

void WorkerClient::received(wire::Decoded<wire::WorkerReply>& packet, wire::PacketFds& fds, Instant now)
{
    if (auto* hello = std::get_if<wire::WorkerHello>(&packet.message)) {
        if (state_ == State::hello && is_sound(*hello)) return greeted(*hello, now);
        return lost("it sent a hello that makes no sense", now);
    }
    if (state_ != State::busy || packet.serial != serial_) return lost("it answered what was not asked", now);
    if (auto* image = std::get_if<wire::WorkerImage>(&packet.message)) return answered(take(*image, fds), now);
    if (!std::holds_alternative<wire::ErrorReply>(packet.message)) return lost("it answered what was not asked", now);
    const auto& error = std::get<wire::ErrorReply>(packet.message);
    const bool printable = is_printable(error.reason);
    answered(std::unexpected(Error{error.code, printable ? error.reason : "the worker gave a reason that cannot be shown"}),
             now);
}

void WorkerClient::greeted(wire::WorkerHello& hello, Instant now)
{
    devices_ = std::move(hello.devices);
    for (DeviceInfo& device : devices_) make_printable(device);
    formats_ = std::move(hello.formats);
    state_ = State::ready;
    deadline_ = never;
    failed_starts_ = 0;
    log::info("worker {}: {} devices, {} formats", name_, devices_.size(), formats_.size());
    changed_(now);
    next(now);
}

/// The worker is ours, the driver in it is not: what it made is checked like a stranger's, except for
/// opaque memory, which nobody but its driver can judge.
Result<Allocated> WorkerClient::take(wire::WorkerImage& answer, wire::PacketFds& received) const
{
    Allocated out;
    out.fds = wire::take_image_fds(received, 0, received.size());
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

void WorkerClient::answered(Result<Allocated> result, Instant now)
{
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    state_ = State::ready;
    deadline_ = never;
    backoff_ns_ = first_backoff_ns;
    next(now);
    job.done(std::move(result));
}

// --- requests --------------------------------------------------------------------------------------

BoundedText<160> WorkerClient::refusal(std::uint8_t device, const wire::AllocateSpec& spec) const
{
    const auto found = crashes_.find(shape_of(device, spec));
    return found != crashes_.end() && found->second >= most_crashes ? "this request crashed or hung its driver twice" : "";
}

void WorkerClient::allocate(std::uint8_t device, const wire::AllocateSpec& spec, int contents, Instant now, Completion done)
{
    if (state_ == State::given_up) return done(fail(Errc::backend_failed, "{}", placeholder_.problem.view()));
    jobs_.push_back({device, spec, contents, std::move(done)});
    if (state_ == State::ready) next(now);
}

void WorkerClient::next(Instant now)
{
    if (jobs_.empty() || state_ != State::ready) return;
    const Job& job = jobs_.front();
    state_ = State::busy;
    deadline_ = after(now, timing_.request_ns);
    if (++serial_ == 0) ++serial_;
    const wire::WorkerAllocate request{.device = job.device, .spec = job.spec, .has_contents = job.contents >= 0};
    if (const auto sent = link_.send(request, serial_, job.contents); !sent)
        deadline_ = now; // expire() treats it like a worker that hangs; not here, where a caller holds references
}

// --- failure ---------------------------------------------------------------------------------------

void WorkerClient::expire(Instant now)
{
    if (now < deadline_) return;
    if (state_ == State::down) return start(now);
    link_.kill();
    failed({Errc::timed_out, BoundedText<240>(fmt::format("worker {} did not answer in time and was killed", name_))}, now);
}

void WorkerClient::lost(std::string_view why, Instant now)
{
    if (state_ == State::down || state_ == State::given_up) return;
    link_.kill();
    failed({Errc::backend_failed, BoundedText<240>(fmt::format("worker {} is gone: {}", name_, why))}, now);
}

void WorkerClient::failed(Error error, Instant now)
{
    log::warning("{}", error.reason.view());
    const State before = state_;
    state_ = State::down;
    deadline_ = after(now, backoff_ns_);
    backoff_ns_ = std::min(2 * backoff_ns_, last_backoff_ns);
    if (before == State::hello) return failed_to_start(error, now);
    if (before != State::busy) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    if (crashes_.size() >= most_shapes) crashes_.clear();
    ++crashes_[shape_of(job.device, job.spec)];
    job.done(std::unexpected(error));
}

void WorkerClient::failed_to_start(const Error& error, Instant now)
{
    if (++failed_starts_ >= most_failed_starts) return give_up(error, now);
    show_problem(error.reason.view(), now);
    fail_all(error);
}

void WorkerClient::give_up(const Error& error, Instant now)
{
    log::error("worker {} is not started again: {}", name_, error.reason.view());
    state_ = State::given_up;
    deadline_ = never;
    show_problem(error.reason.view(), now);
    fail_all(error);
}

void WorkerClient::show_problem(std::string_view problem, Instant now)
{
    placeholder_.problem = problem;
    devices_ = {placeholder_};
    formats_.clear();
    changed_(now);
}

void WorkerClient::fail_all(const Error& error)
{
    for (Job& job : std::exchange(jobs_, {})) job.done(std::unexpected(error));
}

} // namespace dmb
