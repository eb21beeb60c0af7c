// SPDX-License-Identifier: MIT
// Reasons are gathered: the same sentence about forty formats is one line, numbers aside.
#include "tests/drm/matrix/report.hpp"

#include "proto/image/format_table.hpp"

#include <algorithm>
#include <fmt/core.h>
#include <fstream>
#include <nlohmann/json.hpp>

namespace dmb::matrix {
namespace {

struct Counts {
    int passed = 0, refused = 0, failed = 0;
    void add(const Cell& cell)
    {
        ++(cell.verdict == Verdict::passed ? passed : cell.verdict == Verdict::refused ? refused : failed);
    }
    std::string text() const
    {
        std::string out;
        if (passed) out += fmt::format("P{} ", passed);
        if (refused) out += fmt::format("R{} ", refused);
        if (failed) out += fmt::format("F{} ", failed);
        return out.empty() ? "." : out.substr(0, out.size() - 1);
    }
};

/// So that reasons which differ in numbers or formats are one.
std::string shape_of(const std::string& reason, FourCC format)
{
    std::string text = reason;
    for (const std::string& word : {std::string(find_format(format)->name), to_string(format)})
        for (std::size_t at; (at = text.find(word)) != std::string::npos;) text.replace(at, word.size(), 1, '*');
    std::string out;
    for (const char c : text)
        if (!std::isdigit(static_cast<unsigned char>(c))) out += c;
        else if (out.empty() || out.back() != '#') out += '#';
    return out;
}

struct Group {
    std::string example;
    std::set<std::string> importers, exporters, formats;
    int cells = 0;
};

template <class Text> std::map<std::string, Group> gather(const Matrix& matrix, Verdict verdict, Text text)
{
    std::map<std::string, Group> groups;
    for (const Cell& cell : matrix.cells) {
        if (cell.verdict != verdict || text(cell).empty()) continue;
        Group& group = groups[cell.importer + shape_of(text(cell), cell.format)];
        if (group.example.empty()) group.example = text(cell);
        group.importers.insert(cell.importer);
        group.exporters.insert(cell.exporter);
        group.formats.insert(to_string(cell.format));
        ++group.cells;
    }
    return groups;
}

std::string list(const std::set<std::string>& words)
{
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
    return out;
}

void print_groups(const char* prefix, const std::map<std::string, Group>& groups)
{
    for (const auto& [key, group] : groups)
        fmt::print("{} {} -> {}: {} [{} images: {}]\n", prefix, list(group.exporters), list(group.importers), group.example,
                   group.cells, list(group.formats));
}

void print_table(const Matrix& matrix)
{
    fmt::print("{:<16}", "");
    for (const Importer& importer : all_importers()) fmt::print("{:<16}", importer.name);
    fmt::print("\n");
    for (const Exporter& exporter : matrix.exporters) {
        fmt::print("{:<16}", exporter.name);
        for (const Importer& importer : all_importers()) {
            Counts counts;
            for (const Cell& cell : matrix.cells)
                if (cell.exporter == exporter.name && cell.importer == importer.name) counts.add(cell);
            fmt::print("{:<16}", counts.text());
        }
        fmt::print("{}\n", exporter.absent.empty() ? "" : "absent: " + exporter.absent);
    }
}

const char* word(Verdict verdict)
{
    return verdict == Verdict::passed ? "passed" : verdict == Verdict::refused ? "refused" : "failed";
}

} // namespace

void print(const Matrix& matrix)
{
    fmt::print("allocated by (rows), imported by (columns); P passed, R refused, F failed; images of each format and size\n");
    print_table(matrix);
    for (const auto& [exporter, formats] : matrix.not_allocated)
        fmt::print("not allocated by {}: {}\n", exporter, list(formats));
    print_groups("read", gather(matrix, Verdict::passed, [](const Cell& c) { return c.remark; }));
    print_groups("not written", gather(matrix, Verdict::passed, [](const Cell& c) { return c.not_written; }));
    print_groups("SKIP", gather(matrix, Verdict::refused, [](const Cell& c) { return c.reason; }));
    print_groups("FAILED", gather(matrix, Verdict::failed, [](const Cell& c) { return c.reason; }));
}

bool write_json(const Matrix& matrix, const std::string& path)
{
    nlohmann::json cells = nlohmann::json::array();
    for (const Cell& cell : matrix.cells)
        cells.push_back({{"allocated_by", cell.exporter},
                         {"imported_by", cell.importer},
                         {"format", to_string(cell.format)},
                         {"width", cell.size.width},
                         {"height", cell.size.height},
                         {"verdict", word(cell.verdict)},
                         {"reason", cell.reason},
                         {"remark", cell.remark},
                         {"not_written", cell.not_written}});
    nlohmann::json absent = nlohmann::json::object();
    for (const Exporter& exporter : matrix.exporters)
        if (!exporter.absent.empty()) absent[exporter.name] = exporter.absent;
    std::ofstream file(path);
    file << nlohmann::json{{"cells", cells}, {"absent", absent}, {"not_allocated", matrix.not_allocated}}.dump(2) << '\n';
    return file.good();
}

} // namespace dmb::matrix
