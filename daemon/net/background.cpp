// SPDX-License-Identifier: MIT
// One pipe: a byte through it says that clients can connect, its end without a byte says that the broker is gone, whatever
// the reason. The fork comes before the sockets, so that they and their lock belong to the process that serves them
// (SO_PEERCRED). Standard output is closed at once, or "$(dmabrokerd --background)" would wait for ever; standard error
// stays the caller's: errors of the start and the log go there.
#include "daemon/net/background.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb {
namespace {

[[noreturn]] void wait_for(pid_t broker, UniqueFd ready)
{
    char byte;
    const bool serves = ::read(ready.get(), &byte, 1) == 1;
    ready.reset();
    if (serves) ::dprintf(STDOUT_FILENO, "%d\n", broker);
    else ::waitpid(broker, nullptr, 0); // it may still be about to say why
    ::_exit(serves ? EXIT_SUCCESS : EXIT_FAILURE);
}

} // namespace

Result<UniqueFd> go_background()
{
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(Errc::internal, "pipe", errno);
    UniqueFd ready = UniqueFd::adopt(ends[0]), waiting = UniqueFd::adopt(ends[1]);
    const pid_t child = ::fork();
    if (child < 0) return fail_errno(Errc::internal, "fork", errno);
    if (child > 0) {
        waiting.reset();
        wait_for(child, std::move(ready));
    }
    ::setsid();
    const UniqueFd null = UniqueFd::adopt(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null) return fail_errno(Errc::internal, "/dev/null", errno); // "$(...)" would wait for the broker's end
    ::dup2(null.get(), STDIN_FILENO);
    ::dup2(null.get(), STDOUT_FILENO);
    return waiting;
}

void say_ready(UniqueFd waiting)
{
    if (!waiting) return;
    [[maybe_unused]] const auto written = ::write(waiting.get(), "", 1);
}

} // namespace dmb
