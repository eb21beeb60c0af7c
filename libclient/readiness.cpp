// SPDX-License-Identifier: MIT
// An epoll instance that watches the socket and an eventfd. The library never waits for it itself: a
// blocking call costs no more system calls than it would without. The eventfd is for what is already
// inside: events that came while another call waited for its answer, and the end of the connection.
#include "libclient/readiness.hpp"

#include <cerrno>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace dmb {

Result<Readiness> Readiness::create()
{
    UniqueFd epoll = UniqueFd::adopt(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) return fail_errno(Errc::out_of_memory, "make the descriptor to wait for", errno);
    UniqueFd bell = UniqueFd::adopt(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!bell) return fail_errno(Errc::out_of_memory, "make the bell for queued events", errno);
    Readiness out(std::move(epoll), std::move(bell));
    TRY(out.watch(out.bell_.get()));
    return out;
}

Result<> Readiness::watch(int socket)
{
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket, &event) == 0) return {};
    return fail_errno(Errc::out_of_memory, "watch a descriptor", errno);
}

void Readiness::unwatch(int socket) noexcept { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket, nullptr); }

void Readiness::ring() noexcept
{
    const std::uint64_t one = 1;
    if (!rung_) rung_ = ::write(bell_.get(), &one, sizeof one) == sizeof one;
}

void Readiness::silence() noexcept
{
    std::uint64_t count;
    if (rung_) rung_ = ::read(bell_.get(), &count, sizeof count) != sizeof count;
}

} // namespace dmb
