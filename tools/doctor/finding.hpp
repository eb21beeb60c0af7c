// SPDX-License-Identifier: MIT
// What doctor found out, one fact each; and its form between the probe and dmabrokerctl: one JSON
// object per line.
#pragma once
#include <nlohmann/json.hpp>
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

inline nlohmann::ordered_json to_json(const Finding& f)
{
    return {{"level", f.level},   {"area", f.area},     {"text", f.text},
            {"remedy", f.remedy}, {"detail", f.detail}, {"can_share", f.can_share}};
}

/// False for what is not a finding, such as a driver's own chatter on standard output.
inline bool from_json(const std::string& line, Finding& f)
{
    const auto json = nlohmann::ordered_json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("level")) return false;
    f = {json.value("level", ""),
         json.value("area", ""),
         json.value("text", ""),
         json.value("remedy", ""),
         json.value("detail", std::vector<std::string>{}),
         json.value("can_share", false)};
    return true;
}

} // namespace dmb::doctor
