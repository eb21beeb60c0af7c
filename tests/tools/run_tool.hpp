// SPDX-License-Identifier: MIT
// dmabrokerctl of this build, run to its end.
#pragma once
#include <string>
#include <vector>

namespace dmb::test {

struct ToolResult {
    int status = -1; ///< exit status; 128 + signal when it was killed
    std::string out;
    std::string err;
    /// The last word of standard output.
    std::string last_word() const;
};

/// `input`: its standard input.
ToolResult run_tool(std::vector<std::string> arguments, const std::string& input = {});

} // namespace dmb::test
