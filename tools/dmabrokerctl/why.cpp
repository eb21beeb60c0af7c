// SPDX-License-Identifier: MIT
// why and proofs: what the broker decided and what it knows from trying, for a person who wants to change it. The
// sentences are the broker's; here they are only arranged, a failure's nearest change last before the candidates. alloc
// prints the same text when it is refused.
#include "tools/dmabrokerctl/commands.hpp"
#include "tools/dmabrokerctl/json_view.hpp"
#include "tools/dmabrokerctl/text.hpp"

#include <charconv>
#include <fmt/core.h>
#include <poll.h>

namespace dmb::ctl {
namespace {

std::string modifiers_text(const Json& modifiers, std::uint64_t pairs = 0)
{
    std::vector<std::string> names;
    for (const Json& m : modifiers)
        if (m.is_string()) names.push_back(modifier_name(m.get<std::string>()));
    if (names.size() > 4) {
        const std::size_t more = std::max<std::size_t>(pairs, names.size()) - 3;
        names.resize(3);
        return join(names, ", ") + fmt::format(" and {} more", more);
    }
    return join(names, ", ");
}

std::string party_text(const Json& party)
{
    const std::string who = or_dash(safe(party, "name"));
    const std::string pid = number(party, "pid") ? fmt::format("pid {}", number(party, "pid")) : "";
    if (part(party, "any") == Json(true)) return who;
    return fmt::format("{}{}{}", who, pid.empty() ? "" : " ", pid);
}

std::string participants_text(const Json& decision)
{
    Table table({"  PARTICIPANT", "API", "DEVICE", "CAN", "WANTS"});
    for (const Json& party : part(decision, "participants")) {
        const bool any = part(party, "any") == Json(true);
        const std::string can =
            any ? "anything (no table)" : modifiers_text(part(party, "modifiers"), number(party, "pair_count"));
        table.add({"  " + party_text(party), any ? "-" : text(party, "api"), or_dash(safe(party, "device")),
                   can.empty() ? "none of the formats" : can, safe(party, "wants")});
    }
    return part(decision, "participants").empty() ? std::string() : table.text();
}

std::string removal_text(const Json& removal)
{
    const std::string who = safe(removal, "who");
    return fmt::format("{} {} from {}: {}{}", safe(removal, "format"), modifier_name(text(removal, "modifier")),
                       text(removal, "backend"), who.empty() ? "" : who + ": ", safe(removal, "reason"));
}

void line(std::string& out, const char* title, const std::string& text)
{
    if (!text.empty()) out += fmt::format("  {:<10}{}\n", title, text);
}

/// "41", "image:41", "request:17" or nothing.
struct Subject {
    std::uint64_t request = 0, image = 0;
};
Result<Subject> parse_subject(std::string_view word)
{
    if (word.empty()) return Subject{};
    const std::size_t colon = word.find(':');
    const std::string_view kind = colon == std::string_view::npos ? "" : word.substr(0, colon);
    const std::string_view digits = colon == std::string_view::npos ? word : word.substr(colon + 1);
    std::uint64_t id = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
    const bool known = kind.empty() || kind == "image" || kind == "request";
    if (!known || error != std::errc{} || end != digits.data() + digits.size() || id == 0)
        return fail(Errc::invalid_argument, "{} is neither the number of an image nor request:NUMBER", escaped(word));
    return kind == "request" ? Subject{id, 0} : Subject{0, id};
}

Result<Json> ask(dmabroker_client* client, const Subject& subject)
{
    char* json = nullptr;
    CallError error;
    TRY(check(dmabroker_why(client, subject.request, subject.image, &json, error), error));
    const std::unique_ptr<char, Closer<dmabroker_free>> owner(json);
    Json decision = Json::parse(json, nullptr, false);
    return decision.is_object() && decision.contains("decision") ? decision["decision"] : decision;
}

} // namespace

std::string candidates_text(const Json& decision)
{
    Table table({"  ALLOCATOR", "DEVICE", "VERDICT", "REASON"});
    for (const Json& c : part(decision, "candidates"))
        table.add({"  " + text(c, "backend"), or_dash(safe(c, "device")), text(c, "verdict"), safe(c, "reason")});
    return part(decision, "candidates").empty() ? std::string() : table.text();
}

std::string decision_text(const Json& decision)
{
    const std::uint64_t image = number(decision, "image");
    std::string out =
        fmt::format("{}: {}\n", image ? fmt::format("image {}", image) : std::string("refused"), safe(decision, "outcome"));
    out += participants_text(decision);
    line(out, "all can", modifiers_text(part(decision, "common")));
    std::size_t shown = 0;
    for (const Json& removal : part(decision, "removals"))
        if (shown++ < 6) line(out, image ? "not" : "removed", removal_text(removal));
    line(out, "nearest", safe(decision, "nearest"));
    out += candidates_text(decision);
    return out + fmt::format("  request {}, {} ago\n", number(decision, "id"), human_lease(number(decision, "age_ns")));
}

Result<Json> last_decision(dmabroker_client* client)
{
    const std::uint64_t request = dmabroker_last_request(client);
    if (request == 0) return fail(Errc::not_found, "nothing was negotiated");
    return ask(client, {request, 0});
}

Result<> why(const Global& global, const Subjects& subject)
{
    const Subject what = TRY(parse_subject(subject.name));
    const ClientHandle client = TRY(connect(global, ConnectAs::manager_if_possible));
    const Json decision = TRY(ask(client.get(), what));
    if (global.json) print_json(Json{{"decision", decision}});
    else print(decision_text(decision));
    return {};
}

/// However long it takes: there may be many trials, each with a driver's start.
Result<> warm(dmabroker_client* client)
{
    CallError error;
    TRY(check(dmabroker_manage_proofs_start(client, DMABROKER_PROOFS_WARM, nullptr, nullptr, error), error));
    for (;;) {
        dmabroker_event event = DMABROKER_EVENT_INIT;
        while (dmabroker_next_event(client, &event) > 0) {
            if (event.type == DMABROKER_EVENT_DISCONNECTED) return fail(Errc::disconnected, "{}", event.text);
            if (event.type != DMABROKER_EVENT_COMPLETED) continue;
            if (event.code == 0) return {};
            return std::unexpected(Error{static_cast<Errc>(event.code), event.text});
        }
        pollfd waiting{dmabroker_get_fd(client), POLLIN, 0};
        ::poll(&waiting, 1, -1);
        dmabroker_dispatch(client, nullptr); // an end is told by the event
    }
}

Result<> proofs(const Global& global, const ProofsOptions& options)
{
    const ClientHandle client = TRY(connect(global, ConnectAs::manager_if_possible));
    CallError error;
    if (options.clear) TRY(check(dmabroker_manage_proofs(client.get(), DMABROKER_PROOFS_CLEAR, error), error));
    if (options.warm) TRY(warm(client.get()));
    const Json snapshot = TRY(inspect(client.get()));
    if (global.json) return print_json(Json{{"proofs", part(snapshot, "proofs")}}), Result<>{};
    Table table({"RESULT", "FROM", "EXPORTER", "TO", "IMPORTER", "FORMAT", "MODIFIER", "USAGE", "SIDES", "REASON"});
    for (const Json& proof : part(snapshot, "proofs")) {
        const Json& key = part(proof, "key");
        const bool allocation = text(key, "importer").empty();
        table.add({text(proof, "result"), text(key, "backend"), safe(key, "exporter"), allocation ? "-" : text(key, "api"),
                   allocation ? "(allocating)" : safe(key, "importer"), safe(key, "format"),
                   modifier_name(text(key, "modifier")), text(key, "usage"),
                   fmt::format("<={}", 64u << number(key, "size_class")), or_dash(safe(proof, "reason"))});
    }
    print(table.text());
    fmt::print("{}\n", counted(part(snapshot, "proofs").size(), "result"));
    return {};
}

} // namespace dmb::ctl
