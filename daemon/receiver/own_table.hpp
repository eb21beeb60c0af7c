// SPDX-License-Identifier: MIT
// A thread with a descriptor table of its own. What it receives is in that table only: while the thread hangs in closing it,
// all others go on, and when the process is killed their descriptors (the sockets to the broker and to clients) close at once.
#pragma once
#include "proto/base/log.hpp"

#include <cstdlib>
#include <future>
#include <sched.h>
#include <thread>
#include <unistd.h>

namespace dmb::receiver {

using Released = std::promise<bool>;

/// Runs `body(released)` in such a thread, whose table starts as a copy of the caller's. Waits until the body releases the
/// caller, and returns what it was released with; the body goes on by itself.
template <class Body> bool run_in_own_table(Body body)
{
    Released released;
    std::future<bool> answer = released.get_future();
    std::thread([body = std::move(body), released = std::move(released)]() mutable {
        if (::unshare(CLONE_FILES) != 0) {
            log::error("receiver: unshare(CLONE_FILES) is not possible here");
            ::_exit(1);
        }
        body(released);
    }).detach();
    return answer.get();
}

} // namespace dmb::receiver
