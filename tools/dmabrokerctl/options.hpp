// SPDX-License-Identifier: MIT
// The command line as values.
#pragma once
#include "tools/dmabrokerctl/commands.hpp"

#include <functional>
#include <variant>

namespace dmb::ctl {

struct Invocation {
    Global global;
    std::function<Result<>(const Global&)> command;
};

/// The command to run, or the exit status after help, version or a usage error was printed.
std::variant<Invocation, int> parse(int argc, char** argv);

inline constexpr int exit_success = 0, exit_failure = 1, exit_usage = 2, exit_no_broker = 3, exit_not_found = 4,
                     exit_denied = 5;

} // namespace dmb::ctl
