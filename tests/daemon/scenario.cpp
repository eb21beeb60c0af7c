// SPDX-License-Identifier: MIT
// An exporter is made from a table of the same driver: what it imports it can allocate, for the same usages. What a
// display or a video engine of the same device takes is added from their tables.
#include "tests/daemon/scenario.hpp"

#include "proto/image/format_table.hpp"
#include "proto/wire/json.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>

namespace dmb::test {
namespace {

TablePointer read(const std::string& name)
{
    std::ifstream file(TABLES_FOLDER "/" + name + ".json");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    auto table = wire::capabilities_from_json(text);
    if (!table) throw std::runtime_error(name + ": " + std::string(table.error().reason.view()));
    return std::make_shared<const Capabilities>(std::move(*table));
}

Usage usage_of(const Capability& row, const Abilities& able)
{
    Usage usage = row.usage;
    const auto takes = [&](const char* table) {
        return *table && find_row(*recorded(table), row.kind, row.format, row.modifier);
    };
    if (takes(able.scanout)) usage = usage | UsageFlag::scanout;
    if (takes(able.encode)) usage = usage | UsageFlag::encode;
    if (able.cpu && row.modifier == modifier_linear) usage = usage | usage_cpu;
    return usage;
}

} // namespace

TablePointer recorded(const std::string& name)
{
    static std::map<std::string, TablePointer> tables;
    TablePointer& table = tables[name];
    if (!table) table = read(name);
    return table;
}

std::vector<std::string> recorded_names()
{
    std::vector<std::string> out;
    for (const auto& file : std::filesystem::directory_iterator(TABLES_FOLDER))
        if (file.path().extension() == ".json") out.push_back(file.path().stem().string());
    std::ranges::sort(out);
    return out;
}

MemoryKind kind_of(Backend backend)
{
    if (backend == Backend::memfd) return MemoryKind::memfd;
    return backend == Backend::vulkan_opaque ? MemoryKind::opaque : MemoryKind::dma_buf;
}

Exporter& Situation::offer(Backend backend, Exporter device, std::vector<Capability> rows)
{
    device.backend = backend;
    for (Capability& row : rows) row.kind = kind_of(backend);
    devices.push_back(std::move(device));
    formats.push_back(std::move(rows));
    offers.push_back({&devices.back(), formats.back(), 0, offers.size()});
    return devices.back();
}

Exporter& Situation::offer(Backend backend, const std::string& name, const Abilities& able)
{
    const TablePointer table = recorded(name);
    std::vector<Capability> rows;
    for (const Capability& row : table->rows) {
        const bool wanted = able.implicit || backend == Backend::vulkan_opaque || row.modifier != modifier_invalid;
        if (row.kind == kind_of(backend) && wanted)
            rows.push_back({.format = row.format, .modifier = row.modifier, .usage = usage_of(row, able)});
    }
    std::ranges::stable_sort(rows, std::greater(), [](const Capability& row) {
        return row.modifier == modifier_invalid ? std::uint64_t{0} : row.modifier.value;
    });
    return offer(backend, Exporter{table->device, backend, table->device.driver.view(), {}}, std::move(rows));
}

Exporter& Situation::offer(Backend backend)
{
    std::vector<Capability> rows;
    for (const FormatInfo& format : all_formats())
        rows.push_back({.format = format.fourcc, .modifier = modifier_linear, .usage = Usage::all()});
    rows.push_back({.format = buffer_format, .modifier = modifier_linear, .usage = Usage::all()});
    return offer(backend, Exporter{{.software = true}, backend, name(backend), {}}, std::move(rows));
}

Participant& Situation::party(std::string_view name, TablePointer table, Usage usage)
{
    parties.push_back({.demands = {.name = name, .usage = usage}, .table = std::move(table)});
    return parties.back().demands;
}

Participant& Situation::party(std::string_view name, const std::string& table, Usage usage)
{
    return party(name, table.empty() ? nullptr : recorded(table), usage);
}

Participant& Situation::strict(std::string_view name, const std::string& table, Usage usage)
{
    Participant& out = party(name, table, usage);
    out.minimum_rung = Rung::system_dma_buf;
    return out;
}

Plan Situation::negotiate() const { return dmb::negotiate({spec, alternatives, parties, offers, disproof}); }

std::vector<std::string> Situation::names(const std::vector<Who>& whos) const
{
    std::vector<std::string> out;
    for (const Who who : whos) out.emplace_back(parties[who - 1].demands.name.view());
    return out;
}

} // namespace dmb::test
