// SPDX-License-Identifier: MIT
// Reading the library's JSON. Missing or strange fields read as empty: an older library's JSON is shown as
// far as it goes.
#pragma once
#include "tools/dmabrokerctl/client.hpp"

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace dmb::ctl {

std::string text(const Json& object, const char* key);
std::uint64_t number(const Json& object, const char* key);
const Json& part(const Json& object, const char* key);
/// Made harmless for a terminal.
std::string safe(const Json& object, const char* key);
std::string or_dash(std::string text);
std::string join(const std::vector<std::string>& words, const char* separator);
/// "1 image", "2 images".
std::string counted(std::uint64_t count, const char* noun);
/// human_size() of an object with `size` and `format`.
std::string size_of(const Json& object);
/// A modifier as people call it.
std::string modifier_name(const std::string& word);

/// Those of a snapshot, by number.
using Clients = std::map<std::uint64_t, const Json*>;
Clients clients_of(const Json& snapshot);
std::string client_text(const Clients& clients, std::uint64_t id);

} // namespace dmb::ctl
