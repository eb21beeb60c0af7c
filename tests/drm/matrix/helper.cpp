// SPDX-License-Identifier: MIT
// fork and exec of /proc/self/exe: drivers must not be inherited half-initialised. One SEQPACKET message
// is one question or answer.
#include "tests/drm/matrix/helper.hpp"

#include <csignal>
#include <cstring>
#include <fmt/core.h>
#include <poll.h>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb::matrix {
namespace {

[[noreturn]] void run_child(int socket, Words arguments)
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(socket, helper_socket);
    ::close_range(helper_socket + 1, ~0u, 0);
    arguments.insert(arguments.begin(), "matrix");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ::execv("/proc/self/exe", argv.data());
    ::_exit(127);
}

} // namespace

std::string join(const Words& words)
{
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : "\t") + word;
    return out;
}

Words split(const std::string& text)
{
    Words words;
    for (std::size_t from = 0;;) {
        const std::size_t tab = text.find('\t', from);
        words.push_back(text.substr(from, tab - from));
        if (tab == std::string::npos) return words;
        from = tab + 1;
    }
}

bool receive(int socket, std::string& text, int seconds)
{
    pollfd readable{socket, POLLIN, 0};
    if (::poll(&readable, 1, seconds < 0 ? -1 : seconds * 1000) <= 0) return false;
    text.resize(8192);
    const ssize_t size = ::recv(socket, text.data(), text.size(), 0);
    if (size <= 0) return false;
    text.resize(static_cast<std::size_t>(size));
    return true;
}

bool send(int socket, const std::string& text) { return ::send(socket, text.data(), text.size(), MSG_NOSIGNAL) >= 0; }

void Helper::start()
{
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("socketpair failed");
    socket_ = UniqueFd::adopt(ends[0]);
    UniqueFd theirs = UniqueFd::adopt(ends[1]);
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ == 0) run_child(theirs.get(), arguments_);
    ++generation_;
}

/// Closing the socket ends a healthy child; one that hangs in a driver is killed.
void Helper::stop()
{
    if (pid_ <= 0) return;
    socket_.reset();
    for (int i = 0; i < 200 && ::waitpid(pid_, nullptr, WNOHANG) == 0; ++i) {
        if (i == 199) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        } else ::usleep(10'000);
    }
    pid_ = -1;
}

Words Helper::died()
{
    int status = 0;
    std::string how = fmt::format("no answer in {} s", seconds_);
    socket_.reset();
    ::usleep(100'000); // a child that crashed is reaped with its own signal, not ours
    if (::waitpid(pid_, &status, WNOHANG) == 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    } else if (WIFSIGNALED(status)) how = fmt::format("crashed: {}", ::strsignal(WTERMSIG(status)));
    else how = fmt::format("ended with status {}", WEXITSTATUS(status));
    pid_ = -1;
    return {"failed", how};
}

Words Helper::ask(const Words& question)
{
    if (pid_ <= 0) start();
    std::string answer;
    if (!send(socket_.get(), join(question)) || !receive(socket_.get(), answer, seconds_)) return died();
    Words words = split(answer);
    words.resize(std::max<std::size_t>(words.size(), 2));
    return words;
}

} // namespace dmb::matrix
