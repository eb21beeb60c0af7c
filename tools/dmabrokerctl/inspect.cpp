// SPDX-License-Identifier: MIT
// devices, formats, list, show: dmabroker_inspect's JSON as tables. With --json the library's own JSON is printed,
// reduced to the parts that the command is about. Nothing is kept between calls; names of strangers are made harmless
// (text.hpp) before they are printed.
#include "tools/dmabrokerctl/commands.hpp"
#include "tools/dmabrokerctl/json_view.hpp"
#include "tools/dmabrokerctl/names.hpp"
#include "tools/dmabrokerctl/text.hpp"

#include "proto/image/format_table.hpp"

#include <algorithm>
#include <fmt/core.h>
#include <utility>

namespace dmb::ctl {
namespace {

void print_exports(const Json& snapshot) { print_json(Json{{"snapshot", Json{{"exports", part(snapshot, "exports")}}}}); }

std::uint64_t bytes_of(const Json& desc)
{
    std::uint64_t sum = 0;
    for (const Json& memory : part(desc, "memories")) sum += number(memory, "size");
    return sum;
}

std::string owner_text(const Clients& clients, const Json& image)
{
    const std::uint64_t owner = number(image, "owner");
    return owner ? client_text(clients, owner) : fmt::format("uid {}", number(image, "owner_uid"));
}

std::string exporter_text(const Json& exporter)
{
    const Json& device = part(exporter, "device");
    for (const std::string& word : {safe(device, "node"), safe(exporter, "name"), safe(device, "driver")})
        if (!word.empty()) return word;
    return text(exporter, "backend");
}

std::string name_of_format(const std::string& code)
{
    const auto parsed = parse_fourcc(code);
    const FormatInfo* format = parsed ? find_format(*parsed) : nullptr;
    return format ? format->name : "-";
}

/// GBM and system memory have none.
std::string uuid(const Json& device)
{
    const std::string digits = safe(part(device, "id"), "device_uuid");
    return digits.find_first_not_of('0') == std::string::npos ? "-" : digits;
}

} // namespace

Result<> devices(const Global& global)
{
    const ClientHandle client = TRY(connect(global, ConnectAs::manager_if_possible));
    const Json snapshot = TRY(inspect(client.get()));
    if (global.json) return print_exports(snapshot), Result<>{};
    Table table({"BACKEND", "NODE", "DRIVER", "NAME", "UUID", "MEMORY", "STATE"});
    for (const Json& one : part(snapshot, "exports")) {
        const Json &e = part(one, "exporter"), &d = part(e, "device");
        const std::string problem = safe(e, "problem");
        table.add({text(e, "backend"), or_dash(safe(d, "node")), or_dash(safe(d, "driver")), or_dash(safe(e, "name")), uuid(d),
                   part(d, "software") == Json(true) ? "system" : "device", problem.empty() ? "works" : problem});
    }
    print(table.text());
    return {};
}

namespace {

/// The modifiers of one format on one device, in the device's order.
struct FormatLine {
    std::vector<std::string> modifiers;
    std::uint64_t planes = 0;
    std::string usage;
};

void print_formats(const Json& rows)
{
    std::vector<std::pair<std::string, FormatLine>> lines;
    for (const Json& f : rows) {
        const std::string code = safe(f, "format");
        auto line = std::ranges::find(lines, code, &std::pair<std::string, FormatLine>::first);
        if (line == lines.end()) line = lines.insert(lines.end(), {code, {{}, number(f, "plane_count"), text(f, "usage")}});
        line->second.modifiers.push_back(text(f, "modifier"));
    }
    Table table({"  FORMAT", "NAME", "PLANES", "USAGE", "MODIFIERS"});
    for (const auto& [code, line] : lines)
        table.add({"  " + code, name_of_format(code), std::to_string(line.planes), line.usage, join(line.modifiers, " ")});
    print(table.text());
}

} // namespace

Result<> formats(const Global& global)
{
    const ClientHandle client = TRY(connect(global, ConnectAs::manager_if_possible));
    const Json snapshot = TRY(inspect(client.get()));
    if (global.json) return print_exports(snapshot), Result<>{};
    bool first = true;
    for (const Json& one : part(snapshot, "exports")) {
        const Json& exporter = part(one, "exporter");
        fmt::print("{}{} ({})\n", std::exchange(first, false) ? "" : "\n", exporter_text(exporter), text(exporter, "backend"));
        if (const std::string problem = safe(exporter, "problem"); !problem.empty()) print("  " + problem + "\n");
        else print_formats(part(one, "rows"));
    }
    return {};
}

Result<> list(const Global& global)
{
    const ClientHandle client = TRY(connect(global, ConnectAs::manager_if_possible));
    const Json snapshot = TRY(inspect(client.get()));
    if (global.json) return print_json(Json{{"snapshot", snapshot}}), Result<>{};
    const Clients clients = clients_of(snapshot);
    Table table({"ID", "SIZE", "FORMAT", "MODIFIER", "KIND", "BACKEND", "RUNG", "BYTES", "OWNER", "HOLDERS", "TOKENS", "LEASE",
                 "LABEL"});
    for (const Json& image : part(snapshot, "images")) {
        const Json& desc = part(image, "desc");
        table.add({std::to_string(number(image, "id")), size_of(desc), safe(desc, "format"), text(desc, "modifier"),
                   text(desc, "kind"), text(desc, "backend"), text(desc, "rung"), human_bytes(bytes_of(desc)),
                   owner_text(clients, image), std::to_string(part(image, "holders").size()),
                   std::to_string(number(image, "tokens")), human_lease(number(image, "lease_left_ns")), safe(image, "label")});
    }
    print(table.text());
    const Json& pool = part(snapshot, "pool");
    fmt::print("{}, {}; pool: {}, {}\n", counted(part(snapshot, "images").size(), "image"), counted(clients.size(), "client"),
               counted(number(pool, "images"), "image"), human_bytes(number(pool, "bytes")));
    return {};
}

namespace {

void print_layout(const Json& desc)
{
    std::size_t index = 0;
    for (const Json& plane : part(desc, "planes"))
        fmt::print("  plane {}     memory {}, offset {}, stride {}\n", index++, number(plane, "memory"),
                   number(plane, "offset"), number(plane, "stride"));
    index = 0;
    for (const Json& memory : part(desc, "memories"))
        fmt::print("  memory {}    {} bytes ({})\n", index++, number(memory, "size"), human_bytes(number(memory, "size")));
}

std::string point(const Json& gamut, const char* name)
{
    const Json& at = part(gamut, name);
    return fmt::format("{:.4f} {:.4f}", static_cast<double>(number(at, "x")) / 50000,
                       static_cast<double>(number(at, "y")) / 50000);
}

void print_hdr(const Json& colour)
{
    const Json &mastering = part(colour, "mastering"), &gamut = part(mastering, "gamut"), &light = part(colour, "light");
    if (const auto most = number(mastering, "max_luminance"))
        fmt::print("  mastered    {:g} to {:g} cd/m2, red {}, green {}, blue {}, white {}\n",
                   static_cast<double>(number(mastering, "min_luminance")) / 1e4, static_cast<double>(most) / 1e4,
                   point(gamut, "red"), point(gamut, "green"), point(gamut, "blue"), point(gamut, "white"));
    if (number(light, "max_cll") || number(light, "max_fall"))
        fmt::print("  light       MaxCLL {}, MaxFALL {} cd/m2\n", number(light, "max_cll"), number(light, "max_fall"));
}

void print_colour(const Json& desc)
{
    const Json& colour = part(desc, "colour");
    const auto code = parse_fourcc(text(desc, "format"));
    const FormatInfo* format = code ? find_format(*code) : nullptr;
    if (code == buffer_format) return;
    fmt::print("  colour      primaries {}, transfer {}", text(colour, "primaries"), text(colour, "transfer"));
    if (!format || format->model == ColourModel::yuv)
        fmt::print(", matrix {}, range {}, chroma {}", text(colour, "matrix"), text(colour, "range"), text(colour, "siting"));
    print("\n");
    print_hdr(colour);
    if (!format || format->has_alpha) fmt::print("  alpha       {}\n", text(colour, "alpha"));
}

void print_device(const Json& desc)
{
    const Json& device = part(desc, "device");
    if (const auto node = number(device, "render_node"))
        fmt::print("  device      node {}:{}\n", (node >> 8) & 0xfff, (node & 0xff) | ((node >> 12) & 0xfff00));
    if (text(desc, "kind") != name(MemoryKind::opaque)) return;
    fmt::print("  device      UUID {}, driver UUID {}\n", text(device, "device_uuid"), text(device, "driver_uuid"));
    fmt::print("  vulkan      {}\n", part(desc, "opaque").dump());
}

void print_holders(const Json& image, const Clients& clients)
{
    for (const Json& holder : part(image, "holders"))
        fmt::print("  held by     {} ({}{})\n", client_text(clients, number(holder, "client")), text(holder, "rights"),
                   number(holder, "handles") > 1 ? fmt::format(", {} times", number(holder, "handles")) : "");
}

/// Where it came from, and for a copy what keeping it up to date costs.
void print_origin(const Json& image)
{
    if (const auto request = number(image, "request")) fmt::print("  decision    dmabrokerctl why request:{}\n", request);
    const std::uint64_t source = number(image, "source");
    if (source == 0) return;
    const Json& copying = part(image, "copying");
    const std::uint64_t count = std::max<std::uint64_t>(number(copying, "count"), 1);
    fmt::print("  copy of     image {}, copied {}, last in {:.2f} ms, {:.2f} ms on average\n", source,
               counted(number(copying, "count"), "time"), static_cast<double>(number(copying, "last_ns")) / 1e6,
               static_cast<double>(number(copying, "total_ns")) / 1e6 / static_cast<double>(count));
}

void print_image(const Json& image, const Clients& clients)
{
    const Json& desc = part(image, "desc");
    const std::string label = safe(image, "label");
    fmt::print("image {}{}{}\n", number(image, "id"), label.empty() ? "" : ": ", label);
    fmt::print("  size        {}\n", size_of(desc));
    fmt::print("  format      {} ({})\n", safe(desc, "format"), name_of_format(text(desc, "format")));
    fmt::print("  modifier    {}\n", modifier_name(text(desc, "modifier")));
    fmt::print("  memory      {} from {}, rung {}\n", text(desc, "kind"), text(desc, "backend"), text(desc, "rung"));
    fmt::print("  usage       {}\n", text(desc, "usage"));
    print_origin(image);
    print_layout(desc);
    print_colour(desc);
    print_device(desc);
    fmt::print("  charged to  {}\n", owner_text(clients, image));
    print_holders(image, clients);
    fmt::print("  tokens      {}\n", number(image, "tokens"));
    fmt::print("  lease       {}\n", human_lease(number(image, "lease_left_ns")));
    fmt::print("  age         {}\n", human_lease(number(image, "age_ns")));
}

} // namespace

Result<> show(const Global& global, const Named& named)
{
    const Name what = TRY(parse_name(named.name));
    const ClientHandle client = TRY(connect(global, ConnectAs::manager_if_possible));
    ImageHandle held; // without the manager socket a client sees what it holds, and nothing else
    std::uint64_t id = what.id;
    if (!what.token.empty()) {
        held = TRY(open_token(client.get(), what.token, Right::read, Usage{}));
        id = dmabroker_image_get_info(held.get())->id;
    }
    const Json snapshot = TRY(inspect(client.get(), id));
    const Json& images = part(snapshot, "images");
    const auto found = std::ranges::find_if(images, [&](const Json& image) { return number(image, "id") == id; });
    if (found == images.end())
        return fail(Errc::not_found, "no image {}, or not one that this connection may see; `dmabrokerctl list` shows those",
                    id);
    if (global.json) return print_json(Json{{"image", *found}, {"clients", part(snapshot, "clients")}}), Result<>{};
    print_image(*found, clients_of(snapshot));
    return {};
}

} // namespace dmb::ctl
