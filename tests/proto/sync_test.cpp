// SPDX-License-Identifier: MIT
// Waits with a deadline, on pipes; brackets on memory that needs none. Dma-bufs with fences are met in tests/drm.
#include "proto/sync/sync_file.hpp"
#include "tests/support/fixture.hpp"

#include <chrono>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace dmb::test {
namespace {

class SyncTest : public FdTest {
protected:
    SyncTest()
    {
        int ends[2];
        EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
        reading = UniqueFd::adopt(ends[0]);
        writing = UniqueFd::adopt(ends[1]);
    }
    UniqueFd reading, writing;
};

TEST_F(SyncTest, a_wait_ends_with_its_deadline)
{
    const auto begin = std::chrono::steady_clock::now();
    const Deadline deadline(20'000'000);
    EXPECT_FALSE(deadline.passed());
    EXPECT_FALSE(deadline.wait_readable(reading.get()));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(20));
    EXPECT_TRUE(deadline.passed());
}

TEST_F(SyncTest, what_is_ready_is_seen_after_the_deadline_too)
{
    const Deadline deadline(1);
    while (!deadline.passed()) ::usleep(1000);
    EXPECT_FALSE(deadline.wait_readable(reading.get()));
    EXPECT_TRUE(deadline.wait_writable(writing.get()));
    ASSERT_EQ(::write(writing.get(), "x", 1), 1);
    EXPECT_TRUE(deadline.wait_readable(reading.get()));
}

TEST_F(SyncTest, a_closed_descriptor_is_no_wait) { EXPECT_TRUE(Deadline(0).wait_readable(1'000'000)); }

TEST_F(SyncTest, a_memfd_needs_no_bracket_and_has_no_fences)
{
    const UniqueFd memory = UniqueFd::adopt(::memfd_create("sync", MFD_CLOEXEC));
    auto bracket = CpuBracket::begin(memory.get(), Direction::all, Deadline(0));
    ASSERT_TRUE(bracket) << bracket.error().reason.view();
    EXPECT_TRUE(bracket->end());
    EXPECT_TRUE(bracket->end()) << "it has ended";
    const auto fence = SyncFile::export_from(memory.get(), Direction::all);
    EXPECT_EQ(fence.error().code, Errc::unsupported);
}

} // namespace
} // namespace dmb::test
