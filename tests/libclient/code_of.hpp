// SPDX-License-Identifier: MIT
#pragma once
#include <dmabroker/dmabroker.hpp>
#include <gtest/gtest.h>

namespace dmb::test {

/// The code with which `action` fails; 0 when it does not.
template <class Action> int code_of(Action action)
{
    try {
        action();
        return 0;
    } catch (const dmabroker::Error& error) {
        EXPECT_STRNE(error.what(), "");
        return error.code();
    }
}

} // namespace dmb::test
