// SPDX-License-Identifier: MIT
// That waits end, and that nothing happens while nothing is expected.
#include "daemon/net/interrupter.hpp"
#include "tests/support/fixture.hpp"

#include <cerrno>
#include <poll.h>
#include <unistd.h>

namespace dmb {
namespace {

class Interrupts : public test::FdTest {
protected:
    Interrupter interrupter;
};

TEST_F(Interrupts, each_expected_wait_ends)
{
    for (int i = 0; i < 20; ++i) {
        interrupter.expect_wait();
        EXPECT_EQ(::poll(nullptr, 0, 20'000), -1);
        EXPECT_EQ(errno, EINTR);
    }
}

TEST_F(Interrupts, a_thread_that_expects_nothing_is_left_alone)
{
    EXPECT_EQ(::poll(nullptr, 0, 30), 0);
    interrupter.expect_wait();
    int interrupted = 0;
    while (::poll(nullptr, 0, 100) != 0) ++interrupted;
    EXPECT_LE(interrupted, 2);
}

TEST(Interrupter, leaves_no_timer_behind)
{
    {
        Interrupter().expect_wait();
    }
    EXPECT_EQ(::poll(nullptr, 0, 30), 0);
}

} // namespace
} // namespace dmb
