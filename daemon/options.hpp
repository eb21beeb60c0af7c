// SPDX-License-Identifier: MIT
// The command line of dmabrokerd.
#pragma once
#include "daemon/policy/quota.hpp"
#include "proto/base/log.hpp"

#include <optional>
#include <string>

namespace dmb {

struct Options {
    std::string socket; ///< the clients' path; the managers' is beside it
    bool background = false;
    log::Level log_level = log::Level::info;
    bool gpu = true;
    std::string worker;   ///< empty: found by find_program()
    std::string receiver; ///< likewise
    std::uint32_t worker_timeout_s = 10;
    Limits limits;
    std::uint64_t pool_bytes = 256ULL << 20;
    std::string cache;       ///< folder; empty: nothing is kept
    bool debuggable = false; ///< core dumps, and debuggers of the same user
};

/// Nothing: the program ends with `exit_code` (help, version or a mistake, already written out).
std::optional<Options> parse_options(int argc, char** argv, int& exit_code);

/// $XDG_RUNTIME_DIR/dmabroker/0, or /run/dmabroker/0 for a system service.
std::string default_socket();
/// dmabroker-KIND: beside this program, in `KIND/` beside it (the build folder), or where it was to be installed.
std::string find_program(const std::string& kind);

} // namespace dmb
