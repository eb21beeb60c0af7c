// SPDX-License-Identifier: MIT
// Ends the waits in the kernel that clients can cause: the last reference to a socket with SO_LINGER, sent as a descriptor,
// makes whoever drops it wait, in recvmsg or close. A signal ends such a wait, so one comes every few milliseconds while the
// thread works. It costs nothing while nothing happens, and no system call per request.
#pragma once
#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>

namespace dmb {

class Interrupter {
public:
    Interrupter();
    ~Interrupter();
    Interrupter(const Interrupter&) = delete;
    Interrupter& operator=(const Interrupter&) = delete;

    /// Before each call that a client can make wait.
    void expect_wait()
    {
        work_.store(work_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if (!armed_.load(std::memory_order_relaxed)) arm();
    }

private:
    void arm();
    void fired();
    static void on_signal(int, siginfo_t*, void*);

    timer_t timer_{};
    // Shared with the signal handler, of the same thread.
    std::atomic<std::uint64_t> work_ = 0;
    std::atomic<std::uint64_t> seen_ = 0; ///< work_ at the last signal
    std::atomic<bool> armed_ = false;
};

} // namespace dmb
