// SPDX-License-Identifier: MIT
// An epoll instance that watches the socket and an eventfd. The library never waits for it itself, and who only makes
// blocking calls has none: a watched socket costs the kernel a callback for every packet. The eventfd is for what
// is already inside: events that came while another call waited for its answer, and the end of the connection.
#include "libclient/readiness.hpp"

#include <cerrno>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace dmb {
namespace {

Result<> add(const UniqueFd& epoll, int fd)
{
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
    return fail_errno(Errc::out_of_memory, "watch a descriptor", errno);
}

} // namespace

Result<> Readiness::make()
{
    UniqueFd epoll = UniqueFd::adopt(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) return fail_errno(Errc::out_of_memory, "make the descriptor to wait for", errno);
    UniqueFd bell = UniqueFd::adopt(::eventfd(rung_ ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!bell) return fail_errno(Errc::out_of_memory, "make the bell for queued events", errno);
    TRY(add(epoll, bell.get()));
    if (socket_ >= 0) TRY(add(epoll, socket_));
    epoll_ = std::move(epoll);
    bell_ = std::move(bell);
    return {};
}

Result<int> Readiness::fd()
{
    if (!epoll_) TRY(make());
    return epoll_.get();
}

Result<> Readiness::watch(int socket)
{
    if (epoll_) TRY(add(epoll_, socket));
    socket_ = socket;
    return {};
}

void Readiness::unwatch() noexcept
{
    if (epoll_) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket_, nullptr);
    socket_ = -1;
}

void Readiness::ring() noexcept
{
    if (!std::exchange(rung_, true) && bell_) ::eventfd_write(bell_.get(), 1);
}

void Readiness::silence() noexcept
{
    eventfd_t count;
    if (std::exchange(rung_, false) && bell_) ::eventfd_read(bell_.get(), &count);
}

} // namespace dmb
