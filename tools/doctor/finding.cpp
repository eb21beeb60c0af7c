// SPDX-License-Identifier: MIT
// Finding, as JSON and back. A probe writes its findings to the standard output that its driver writes to as well, so
// every line is looked at without belief.
#include "tools/doctor/finding.hpp"

#include <nlohmann/json.hpp>

namespace dmb::doctor {

nlohmann::ordered_json to_json(const Finding& f)
{
    return {{"level", f.level},   {"area", f.area},     {"text", f.text},
            {"remedy", f.remedy}, {"detail", f.detail}, {"can_share", f.can_share}};
}

bool from_json(const std::string& line, Finding& f)
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
