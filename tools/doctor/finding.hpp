// SPDX-License-Identifier: MIT
// What doctor found out, one fact each; and its form between the probe and dmabrokerctl: one JSON
// object per line.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace dmb::doctor {

struct Finding {
    std::string level; ///< "ok", "warn" or "fail"; from a probe also "trying": what it is about to do
    std::string area;  ///< "kernel", "vulkan", ...: for scripts
    std::string text;
    std::string remedy;              ///< empty where nothing needs mending
    std::vector<std::string> detail; ///< what did not work and why, one sentence each
    bool can_share = false;          ///< images can be shared this way
};

nlohmann::ordered_json to_json(const Finding&);
/// False for what is not a finding, such as a driver's own chatter on standard output.
bool from_json(const std::string& line, Finding&);

} // namespace dmb::doctor
