// SPDX-License-Identifier: MIT
// The import matrix: every exporter x every importer x every format, across process boundaries, with a
// private broker. Exit status 0 when nothing failed. The last line counts images.
//
// usage: matrix [--json FILE] [--exporter NAME] [--importer NAME] [--format FOURCC] [--size WxH]
//               [--seconds LIMIT] [--thorough yes]
//
// Every format is tried in an odd size; a few stand for all in the other sizes, unless --thorough: in
// the VM each image costs a quarter of a second.
#include "proto/image/format_table.hpp"
#include "tests/drm/matrix/report.hpp"
#include "tests/drm/matrix/roles.hpp"
#include "tests/support/broker_process.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fmt/core.h>
#include <unistd.h>

namespace dmb::matrix {
namespace {

struct Options {
    std::string json, exporter, importer;
    std::vector<FourCC> formats;
    std::vector<Extent> sizes;
    int seconds = 60; ///< for each answer of a child
    bool thorough = false;
};

/// Odd, so that chroma and blocks end beside the edge; the smallest; and one that every layout divides.
constexpr Extent usual_sizes[] = {{61, 37}, {1, 1}, {128, 64}};
/// One of each kind: 8, 16, 32 and 64 bits, planar, packed.
constexpr FourCC usual_formats[] = {fourcc("XR24"), fourcc("R8  "), fourcc("RG16"),
                                    fourcc("AB4H"), fourcc("NV12"), fourcc("YUYV")};

[[noreturn]] void usage_error(const std::string& what)
{
    fmt::print(stderr,
               "matrix: {}\nusage: matrix [--json FILE] [--exporter NAME] [--importer NAME] [--format FOURCC] [--size WxH] "
               "[--seconds LIMIT] [--thorough yes]\n",
               what);
    std::exit(2);
}

Extent parse_size(const std::string& text)
{
    Extent size;
    if (std::sscanf(text.c_str(), "%ux%u", &size.width, &size.height) != 2) usage_error("no size: " + text);
    return size;
}

FourCC parse_format(const std::string& text)
{
    const auto format = parse_fourcc(text);
    if (!format || !find_format(*format)) usage_error("no format: " + text);
    return *format;
}

Options parse(const Words& arguments)
{
    Options out;
    for (std::size_t i = 0; i < arguments.size(); i += 2) {
        if (i + 1 == arguments.size()) usage_error(arguments[i]);
        const std::string &name = arguments[i], &value = arguments[i + 1];
        if (name == "--json") out.json = value;
        else if (name == "--exporter") out.exporter = value;
        else if (name == "--importer") out.importer = value;
        else if (name == "--format") out.formats.push_back(parse_format(value));
        else if (name == "--size") out.sizes.push_back(parse_size(value));
        else if (name == "--seconds") out.seconds = std::atoi(value.c_str());
        else if (name == "--thorough") out.thorough = value == "yes";
        else usage_error(name);
    }
    out.thorough |= !out.formats.empty() || !out.sizes.empty();
    if (out.formats.empty())
        for (const FormatInfo& format : all_formats()) out.formats.push_back(format.fourcc);
    if (out.sizes.empty()) out.sizes.assign(std::begin(usual_sizes), std::end(usual_sizes));
    return out;
}

/// The software driver, unless the caller chose: the loader would start every driver that is installed.
void choose_vulkan_driver()
{
    if (std::getenv("VK_ICD_FILENAMES") || std::getenv("VK_DRIVER_FILES")) return;
    std::error_code error;
    for (const auto& file : std::filesystem::directory_iterator("/usr/share/vulkan/icd.d", error))
        if (file.path().filename().string().starts_with("lvp_icd")) ::setenv("VK_ICD_FILENAMES", file.path().c_str(), 1);
}

class Session {
public:
    Session(const Options& options, const std::string& socket) : options_(options), socket_(socket)
    {
        matrix.exporters = find_exporters(socket);
    }

    void run()
    {
        for (const Exporter& exporter : matrix.exporters) {
            if (!exporter.absent.empty() || !wanted(options_.exporter, exporter.name)) continue;
            Helper allocates({"--role", "exporter", exporter.backend, exporter.node, socket_}, options_.seconds);
            for (const Importer& importer : all_importers())
                if (may_pair(exporter, importer) && wanted(options_.importer, importer.name))
                    run_column(exporter, allocates, importer.name);
        }
    }

    Matrix matrix;

private:
    static bool wanted(const std::string& chosen, const std::string& name) { return chosen.empty() || chosen == name; }

    void run_column(const Exporter& exporter, Helper& allocates, const std::string& importer)
    {
        Helper& imports = importer_for(importer, exporter.node);
        for (const FourCC format : options_.formats)
            for (const Extent size : options_.sizes)
                if (is_tried(format, size)) add(exporter, allocates, importer, imports, format, size);
    }

    bool is_tried(FourCC format, Extent size) const
    {
        return options_.thorough || size == usual_sizes[0] ||
               std::ranges::find(usual_formats, format) != std::end(usual_formats);
    }

    /// Drivers start once per importer; only GBM displays belong to one device.
    Helper& importer_for(const std::string& importer, const std::string& node)
    {
        const std::string key = importer == "egl_gbm" ? importer + node : importer;
        const auto found = importers_.find(key);
        if (found != importers_.end()) return found->second;
        return importers_.emplace(key, Helper({"--role", "importer", importer, node, socket_}, options_.seconds)).first->second;
    }

    void add(const Exporter& exporter, Helper& allocates, const std::string& importer, Helper& imports, FourCC format,
             Extent size)
    {
        std::string absent;
        auto cell = run_cell(allocates, imports, format, size, absent);
        if (!cell) return not_allocated(exporter, importer, format, size, absent);
        cell->exporter = exporter.name;
        cell->importer = importer;
        if (cell->verdict == Verdict::refused && !is_known_refusal(exporter, *cell)) {
            cell->verdict = Verdict::failed;
            cell->reason = "refused for no known fault of the platform: " + cell->reason;
        }
        matrix.cells.push_back(std::move(*cell));
    }

    /// An exporter that is there allocates at least the format that every display has.
    void not_allocated(const Exporter& exporter, const std::string& importer, FourCC format, Extent size,
                       const std::string& why)
    {
        matrix.not_allocated[exporter.name].insert(to_string(format));
        if (format == fourcc("XR24"))
            matrix.cells.push_back(
                {exporter.name, importer, format, size, Verdict::failed, "cannot be allocated: " + why, {}, {}});
    }

    const Options& options_;
    std::string socket_;
    std::map<std::string, Helper> importers_;
};

int run(const Words& arguments)
{
    const Options options = parse(arguments);
    choose_vulkan_driver();
    const test::BrokerProcess broker({"--log-level", "warning"});
    Session session(options, broker.socket());
    session.run();
    print(session.matrix);
    if (!options.json.empty() && !write_json(session.matrix, options.json)) usage_error("cannot write " + options.json);
    const auto count = [&](Verdict v) { return std::ranges::count(session.matrix.cells, v, &Cell::verdict); };
    const auto failures = count(Verdict::failed);
    if (failures) fmt::print("broker's log:\n{}", broker.log());
    fmt::print("{} passed, {} failed, {} skipped\n", count(Verdict::passed), failures, count(Verdict::refused));
    return failures == 0 && !session.matrix.cells.empty() ? 0 : 1;
}

} // namespace
} // namespace dmb::matrix

int main(int argc, char** argv)
{
    using namespace dmb::matrix;
    const Words arguments(argv + 1, argv + argc);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    try {
        if (arguments.size() == 5 && arguments[0] == "--role")
            return (arguments[1] == "exporter" ? run_exporter : run_importer)(arguments[2], arguments[3], arguments[4]);
        return run(arguments);
    } catch (const std::exception& e) {
        fmt::print(stderr, "matrix: {}\n", e.what());
        fmt::print("0 passed, 1 failed, 0 skipped\n");
        return 1;
    }
}
