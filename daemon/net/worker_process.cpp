// SPDX-License-Identifier: MIT
// fork and exec with nothing inherited but the socket as descriptor 3 and standard error. The child dies
// with the broker (PR_SET_PDEATHSIG). Killed processes are reaped when SIGCHLD says so, never waited for: one that is
// stuck in its driver may take its time to die.
#include "daemon/net/worker_process.hpp"

#include "daemon/net/clock.hpp"
#include "proto/wire/channel.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb {
namespace {

constexpr int socket_in_child = 3;

/// Only async-signal-safe calls: this is a forked child.
[[noreturn]] void become(char* const* argv, int socket, pid_t broker)
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != broker) ::_exit(127);
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, STDIN_FILENO);
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
    if (socket == socket_in_child) ::fcntl(socket, F_SETFD, 0);
    else ::dup2(socket, socket_in_child);
    ::close_range(socket_in_child + 1, ~0U, 0);
    ::signal(SIGPIPE, SIG_DFL);
    ::signal(SIGIO, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execv(argv[0], argv);
    ::_exit(127);
}

} // namespace

WorkerProcess::WorkerProcess(asio::io_context& io, Server& server, std::vector<std::string> arguments, DeviceInfo placeholder,
                             BackendSet offers, WorkerTiming timing, std::function<void(Instant)> changed)
    : io_(io),
      server_(server),
      arguments_(std::move(arguments)),
      client_(arguments_[1] + (arguments_.size() > 2 ? " " + arguments_[2] : ""), placeholder, offers, *this, timing,
              std::move(changed))
{
}

WorkerProcess::~WorkerProcess() { kill(); }

Result<> WorkerProcess::start()
{
    if (::access(arguments_[0].c_str(), X_OK) != 0)
        return fail(Errc::backend_failed, "{}: {}; install it or name it with --worker", arguments_[0], std::strerror(errno));
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return fail_errno(Errc::backend_failed, "socketpair", errno);
    UniqueFd ours = UniqueFd::adopt(ends[0]);
    const UniqueFd theirs = UniqueFd::adopt(ends[1]);
    std::vector<char*> argv;
    for (std::string& argument : arguments_) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const pid_t broker = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) return fail_errno(Errc::backend_failed, "fork", errno);
    if (pid_ == 0) become(argv.data(), theirs.get(), broker);
    socket_.emplace(io_, SeqPacket(), ours.release());
    ++generation_;
    wait();
    return {};
}

void WorkerProcess::wait()
{
    socket_->async_wait(Socket::wait_read, [this, generation = generation_](error_code error) {
        if (error || generation != generation_ || !socket_) return;
        readable();
        server_.settle();
    });
}

void WorkerProcess::readable()
{
    const std::uint64_t generation = generation_;
    const Instant at = now();
    Result<std::optional<wire::Packet>> packet = wire::receive(socket_->native_handle(), server_.buffer(), wire::Wait::no);
    if (!packet) return wait_for_end(packet.error());
    if (*packet) {
        wire::Decoded<wire::WorkerReply> reply;
        const std::span<const std::byte> bytes(server_.buffer().data(), (*packet)->size);
        const auto decoded = wire::decode(bytes, (*packet)->fds.size(), reply);
        if (!decoded) return client_.lost(decoded.error().reason.view(), WorkerEnd::killed, at);
        client_.received(reply, (*packet)->fds, at);
    }
    if (socket_ && generation == generation_) wait();
}

Result<> WorkerProcess::send(const wire::WorkerRequest& request, std::uint64_t serial, std::span<const int> fds)
{
    std::vector<std::byte> packet(limits::packet_bytes);
    const std::size_t size =
        TRY(std::visit([&](const auto& message) { return wire::encode(message, serial, packet); }, request));
    if (!socket_) return fail(Errc::disconnected, "the worker is ending");
    if (TRY(wire::send(socket_->native_handle(), std::span(packet).first(size), fds, wire::Wait::no))) return {};
    return fail(Errc::backend_failed, "the worker does not read its socket");
}

/// Its socket ended, and its exit status, which tells a crash, comes an instant later, with SIGCHLD. A worker that merely
/// closed its socket lives on: then the deadline of its request ends it.
void WorkerProcess::wait_for_end(const Error& why)
{
    socket_.reset();
    ending_ = why;
    look_for_end();
}

void WorkerProcess::look_for_end()
{
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0) return;
    const bool by_signal = info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
    const bool from_outside = info.si_status == SIGKILL || info.si_status == SIGTERM || info.si_status == SIGINT;
    const Error why = *ending_;
    client_.lost(why.reason.view(), by_signal && !from_outside ? WorkerEnd::crashed : WorkerEnd::killed, now());
}

void WorkerProcess::kill()
{
    socket_.reset();
    ending_.reset();
    ++generation_;
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        dying_.push_back(pid_);
    }
    pid_ = -1;
    collect();
}

void WorkerProcess::collect()
{
    std::erase_if(dying_, [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) != 0; });
}

void WorkerProcess::child_ended()
{
    collect();
    if (!ending_) return;
    look_for_end();
    server_.settle();
}

} // namespace dmb
