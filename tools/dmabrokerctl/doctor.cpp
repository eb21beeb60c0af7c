// SPDX-License-Identifier: MIT
// doctor: what works here is found out by doing it. Kernel and nodes are tried in this process; GPU
// drivers in one probe process each, so that a crash is a finding and not the end. The probes need a
// broker: one of their own, so that a running one is neither disturbed nor believed.
#include "tools/dmabrokerctl/commands.hpp"
#include "tools/dmabrokerctl/text.hpp"
#include "tools/doctor/child.hpp"
#include "tools/doctor/system_checks.hpp"

#include <algorithm>
#include <cstdio>
#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <sstream>

namespace dmb::ctl {
namespace {

using doctor::Finding;

/// Long enough for EGL on an emulated processor.
constexpr std::chrono::seconds probe_deadline{120};

std::string indented(const std::string& label, const std::string& text) { return "      " + label + escaped(text) + "\n"; }

void print_finding(const Finding& f)
{
    fmt::print("{:<5} {}\n", f.level, escaped(f.text));
    for (const std::string& line : f.detail) print(indented("", line));
    if (!f.remedy.empty()) print(indented("remedy: ", f.remedy));
    std::fflush(stdout); // probes take seconds: show what is known
}

class Report {
public:
    explicit Report(bool json) : json_(json) {}
    void add(Finding finding)
    {
        if (!json_) print_finding(finding);
        findings_.push_back(std::move(finding));
    }
    bool can_share() const { return std::ranges::any_of(findings_, &Finding::can_share); }
    void finish() const
    {
        if (!json_) return;
        Json all = Json::array();
        for (const Finding& f : findings_) all.push_back(to_json(f));
        print_json(Json{{"findings", all}, {"can_share", can_share()}});
    }

private:
    bool json_;
    std::vector<Finding> findings_;
};

Finding check_broker(const Global& global)
{
    Finding finding{.level = "ok", .area = "broker"};
    const auto client = connect(global);
    if (!client) {
        finding.level = "warn";
        finding.text = "no broker answers: " + std::string(client.error().reason.view());
        finding.remedy = "start one: dmabrokerd, or systemctl --user start dmabroker.socket";
        return finding;
    }
    const auto snapshot = inspect(client->get());
    finding.text =
        "a broker answers: " + (snapshot ? snapshot->value("server", "") : std::string(snapshot.error().reason.view()));
    finding.text += ", dmabrokerctl " DMB_VERSION;
    return finding;
}

/// Runs one probe. What it wrote are findings, and how it ended when it did not end well.
void probe(Report& report, const std::string& program, const std::string& socket, const std::string& what,
           const std::string& which)
{
    const auto output = doctor::run({program, socket, what, which}, probe_deadline);
    std::istringstream lines(output ? output->text : std::string());
    Finding finding;
    std::string trying = what + " " + which;
    for (std::string line; std::getline(lines, line);) {
        if (!doctor::from_json(line, finding)) continue;
        if (finding.level == "trying") trying = finding.text;
        else report.add(finding);
    }
    const std::string end = output ? output->end : std::string(output.error().reason.view());
    if (end.empty()) return;
    report.add(
        {.level = "fail",
         .area = what,
         .text = fmt::format("{}: the probe {}", trying, end),
         .remedy = "update this driver, or keep programs away from it; the broker runs drivers in processes of their own"});
}

unsigned count_of(const std::string& program, const std::string& socket, const std::string& what)
{
    const auto output = doctor::run({program, socket, what, "count"}, probe_deadline);
    return output && output->end.empty() ? static_cast<unsigned>(std::strtoul(output->text.c_str(), nullptr, 10)) : 1;
}

void run_probes(Report& report, const std::string& program, const std::string& socket)
{
    probe(report, program, socket, "cpu", "0");
    for (const char* what : {"vulkan", "egl"})
        for (unsigned i = 0, n = std::max(1u, count_of(program, socket, what)); i < n; ++i)
            probe(report, program, socket, what, std::to_string(i));
}

Finding not_tried(std::string text, std::string remedy)
{
    return {.level = "warn", .area = "probe", .text = std::move(text), .remedy = std::move(remedy)};
}

std::string find_beside(const std::string& name, const std::string& build_folder)
{
    const std::string own = doctor::own_folder();
    return doctor::find_program({own + "/" + build_folder + "/" + name, own + "/" + name, own + "/../libexec/dmabroker/" + name,
                                 own + "/../sbin/" + name, "/usr/libexec/dmabroker/" + name, "/usr/bin/" + name,
                                 "/usr/sbin/" + name});
}

void try_drivers(Report& report, const Global& global)
{
    const std::string program = find_beside("dmabroker-doctor-probe", "../doctor");
    if (program.empty())
        return report.add(not_tried("dmabroker-doctor-probe is not installed: GPU drivers were not tried",
                                    "build with EGL and Vulkan, and install all of it"));
    const std::string daemon = find_beside("dmabrokerd", "../../daemon");
    if (daemon.empty()) {
        if (!global.socket.empty()) return run_probes(report, program, global.socket);
        return report.add(not_tried("dmabrokerd is not installed: GPU drivers were not tried",
                                    "name a running broker with --socket, or install dmabrokerd"));
    }
    const auto broker = doctor::PrivateBroker::start(daemon);
    if (!broker)
        return report.add(
            not_tried(std::string(broker.error().reason.view()), "run `dmabrokerd --log-level debug` and read what it says"));
    run_probes(report, program, broker->socket());
}

} // namespace

Result<> doctor(const Global& global)
{
    Report report(global.json);
    for (Finding& finding : doctor::check_system()) report.add(std::move(finding));
    report.add(check_broker(global));
    try_drivers(report, global);
    report.finish();
    if (!report.can_share())
        return fail(Errc::no_backend, "nothing on this machine can share an image; the remedies above say why");
    return {};
}

} // namespace dmb::ctl
