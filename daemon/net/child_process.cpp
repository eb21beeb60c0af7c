// SPDX-License-Identifier: MIT
// ChildProcess, a member of WorkerProcess and ReceiverProcess: fork and exec with nothing inherited but the socket,
// standard error and the environment. The child dies with the broker (PR_SET_PDEATHSIG). Handlers and timers of the
// broker do not survive exec; ignored signals and blocked ones would, so they are put back. Nobody waits for a child:
// collect() is called at SIGCHLD. Handlers of an earlier process's socket are told apart by a generation number.
#include "daemon/net/child_process.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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

Result<> ChildProcess::start(std::span<std::string> arguments)
{
    if (::access(arguments[0].c_str(), X_OK) != 0)
        return fail(Errc::backend_failed, "{}: {}; install it or tell dmabrokerd where it is", arguments[0],
                    std::strerror(errno));
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return fail_errno(Errc::backend_failed, "socketpair", errno);
    UniqueFd ours = UniqueFd::adopt(ends[0]);
    const UniqueFd theirs = UniqueFd::adopt(ends[1]);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const pid_t broker = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) return fail_errno(Errc::backend_failed, "fork", errno);
    if (pid_ == 0) become(argv.data(), theirs.get(), broker);
    socket_.emplace(io_, SeqPacket(), ours.release());
    wait();
    return {};
}

void ChildProcess::wait()
{
    socket_->async_wait(Socket::wait_read, [this, generation = generation_](error_code error) {
        if (error || generation != generation_) return;
        readable_();
        if (generation == generation_) wait();
        server_.settle(); // last: it may end whoever owns this
    });
}

void ChildProcess::close_socket()
{
    if (socket_) ++generation_;
    socket_.reset();
}

void ChildProcess::kill()
{
    close_socket();
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        dying_.push_back(pid_);
    }
    pid_ = -1;
    collect();
}

void ChildProcess::collect()
{
    std::erase_if(dying_, [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) != 0; });
}

} // namespace dmb
