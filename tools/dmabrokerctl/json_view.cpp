// SPDX-License-Identifier: MIT
// Reading and showing the library's JSON, for inspect, why and proofs. Pure functions: what is missing or of another
// type is empty, 0 or no list, so that an older library is shown as far as it goes. Text of strangers goes through
// safe().
#include "tools/dmabrokerctl/json_view.hpp"

#include "proto/image/modifier_name.hpp"
#include "tools/dmabrokerctl/text.hpp"

#include <fmt/core.h>

namespace dmb::ctl {

std::string text(const Json& object, const char* key)
{
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::uint64_t number(const Json& object, const char* key)
{
    const auto found = object.find(key);
    return found != object.end() && found->is_number() ? found->get<std::uint64_t>() : 0;
}

const Json& part(const Json& object, const char* key)
{
    static const Json nothing = Json::array();
    const auto found = object.find(key);
    return found != object.end() ? *found : nothing;
}

std::string safe(const Json& object, const char* key) { return escaped(text(object, key)); }

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

std::string join(const std::vector<std::string>& words, const char* separator)
{
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : separator) + word;
    return out;
}

std::string counted(std::uint64_t count, const char* noun)
{
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string size_of(const Json& object)
{
    const Json& size = part(object, "size");
    const Extent extent{static_cast<std::uint32_t>(number(size, "width")), static_cast<std::uint32_t>(number(size, "height"))};
    return human_size(extent, parse_fourcc(text(object, "format")).value_or(FourCC{}));
}

std::string modifier_name(const std::string& word)
{
    const auto modifier = parse_modifier(word);
    return modifier ? describe(*modifier) : escaped(word);
}

Clients clients_of(const Json& snapshot)
{
    Clients out;
    for (const Json& client : part(snapshot, "clients")) out[number(client, "id")] = &client;
    return out;
}

std::string client_text(const Clients& clients, std::uint64_t id)
{
    const auto found = clients.find(id);
    if (found == clients.end()) return fmt::format("client {}", id);
    return fmt::format("{} {}", number(*found->second, "pid"), safe(*found->second, "name"));
}

} // namespace dmb::ctl
