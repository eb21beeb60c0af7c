// SPDX-License-Identifier: MIT
// WorkerProcess, made by main(): the process and the socket of one WorkerClient, which decides what is done with them.
// The socket's end and the process's end come one after the other, in either order of events; only the second tells a
// crash from a kill, so the client hears of neither before both are known.
#include "daemon/net/worker_process.hpp"

#include "daemon/net/clock.hpp"
#include "proto/wire/channel.hpp"

#include <csignal>
#include <sys/wait.h>

namespace dmb {

WorkerProcess::WorkerProcess(asio::io_context& io, Server& server, std::vector<std::string> arguments, Exporter placeholder,
                             BackendSet offers, WorkerTiming timing, std::function<void(Instant)> changed)
    : server_(server),
      arguments_(std::move(arguments)),
      client_(arguments_[1] + (arguments_.size() > 2 ? " " + arguments_[2] : ""), placeholder, offers, *this, timing,
              std::move(changed)),
      child_(io, server, [this] { readable(); })
{
}

WorkerProcess::~WorkerProcess() { kill(); }

Result<> WorkerProcess::start() { return child_.start(arguments_); }

void WorkerProcess::readable()
{
    const Instant at = now();
    Result<std::optional<wire::Packet>> packet = wire::receive(child_.socket(), server_.buffer(), wire::Wait::no);
    if (!packet) return wait_for_end(packet.error());
    if (!*packet) return;
    wire::Decoded<wire::WorkerReply> reply;
    const std::span<const std::byte> bytes(server_.buffer().data(), (*packet)->size);
    const auto decoded = wire::decode(bytes, (*packet)->fds.size(), reply);
    if (decoded) client_.received(reply, (*packet)->fds, at);
    else client_.lost(decoded.error().reason.view(), WorkerEnd::crashed, at);
}

Result<> WorkerProcess::send(const wire::WorkerRequest& request, std::uint64_t serial, std::span<const int> fds)
{
    std::vector<std::byte> packet(limits::packet_bytes);
    const std::size_t size =
        TRY(std::visit([&](const auto& message) { return wire::encode(message, serial, packet); }, request));
    if (!child_.has_socket()) return fail(Errc::disconnected, "the worker is ending");
    if (TRY(wire::send(child_.socket(), std::span(packet).first(size), fds, wire::Wait::no))) return {};
    return fail(Errc::backend_failed, "the worker does not read its socket");
}

/// Its socket ended, and its exit status, which tells a crash, comes an instant later, with SIGCHLD. A worker that merely
/// closed its socket lives on: then the deadline of its request ends it.
void WorkerProcess::wait_for_end(const Error& why)
{
    child_.close_socket();
    ending_ = why;
    look_for_end();
}

void WorkerProcess::look_for_end()
{
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(child_.pid()), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0) return;
    const bool by_signal = info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
    const bool from_outside = info.si_status == SIGKILL || info.si_status == SIGTERM || info.si_status == SIGINT;
    const Error why = *ending_;
    client_.lost(why.reason.view(), by_signal && !from_outside ? WorkerEnd::crashed : WorkerEnd::killed, now());
}

void WorkerProcess::kill()
{
    ending_.reset();
    child_.kill();
}

void WorkerProcess::child_ended()
{
    child_.collect();
    if (!ending_) return;
    look_for_end();
    server_.settle();
}

} // namespace dmb
