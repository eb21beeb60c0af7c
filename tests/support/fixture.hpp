// SPDX-License-Identifier: MIT
// The base of every fixture: a test that leaves a descriptor open, or closes one it does not own, fails.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace dmb::test {

/// Open descriptors of a process, without the one that counting needs.
inline std::size_t count_fds(const std::string& pid = "self")
{
    std::size_t count = 0;
    std::error_code error;
    for (auto it = std::filesystem::directory_iterator("/proc/" + pid + "/fd", error);
         !error && it != std::filesystem::directory_iterator(); it.increment(error))
        ++count;
    return pid == "self" && count > 0 ? count - 1 : count;
}

class FdTest : public ::testing::Test {
protected:
    FdTest() : fds_before_(count_fds()) {}
    ~FdTest() override { EXPECT_EQ(count_fds(), fds_before_) << "descriptors leaked or closed twice"; }

private:
    std::size_t fds_before_;
};

} // namespace dmb::test
