// SPDX-License-Identifier: MIT
// A POSIX timer with SIGRTMIN, without SA_RESTART. The handler disarms it when nothing was expected since the signal
// before; what is expected after that arms it again. No call of this thread has to be repeated after a signal: none waits
// without MSG_DONTWAIT, and Asio takes EINTR for nothing.
#include "daemon/net/interrupter.hpp"

#include "proto/base/log.hpp"

#include <cerrno>
#include <cstring>

namespace dmb {
namespace {

constexpr long interval_ns = 2'000'000;

void set(timer_t timer, long ns)
{
    const itimerspec every{{0, ns}, {0, ns}};
    ::timer_settime(timer, 0, &every, nullptr);
}

} // namespace

Interrupter::Interrupter()
{
    struct sigaction action{};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO;
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN;
    event.sigev_value.sival_ptr = this;
    if (::sigaction(SIGRTMIN, &action, nullptr) == 0 && ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0) return;
    log::warning("no timer ({}): clients can hold the broker up with sockets that linger", std::strerror(errno));
    armed_ = true; // nothing to arm
}

Interrupter::~Interrupter()
{
    ::signal(SIGRTMIN, SIG_IGN);
    ::timer_delete(timer_);
}

void Interrupter::arm()
{
    armed_ = true;
    set(timer_, interval_ns);
}

void Interrupter::on_signal(int, siginfo_t* info, void*)
{
    if (info->si_code == SI_TIMER) static_cast<Interrupter*>(info->si_value.sival_ptr)->fired();
}

void Interrupter::fired()
{
    const std::uint64_t work = work_;
    if (work == seen_) {
        set(timer_, 0);
        armed_ = false;
    }
    seen_ = work;
}

} // namespace dmb
