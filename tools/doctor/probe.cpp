// SPDX-License-Identifier: MIT
// dmabroker-doctor-probe: one importer tried on every kind of image, in a process of its own, because
// drivers that are tried may crash or hang. dmabrokerctl starts it, reads its standard output, and
// turns its end into a finding.
//
//   dmabroker-doctor-probe SOCKET cpu|egl|vulkan INDEX    findings, one per line
//   dmabroker-doctor-probe SOCKET egl|vulkan count        a number: how many to ask for
#include "tools/doctor/probe.hpp"

#include "proto/image/proof_pattern.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace dmb::doctor {
namespace {

using Json = nlohmann::json;

constexpr std::array backends{
    std::pair{DMABROKER_BACKEND_MEMFD, "memfd"},       std::pair{DMABROKER_BACKEND_UDMABUF, "udmabuf"},
    std::pair{DMABROKER_BACKEND_DMA_HEAP, "dma_heap"}, std::pair{DMABROKER_BACKEND_GBM, "gbm"},
    std::pair{DMABROKER_BACKEND_VULKAN, "vulkan"},     std::pair{DMABROKER_BACKEND_VULKAN_OPAQUE, "vulkan_opaque"},
};

/// A request that only GPU workers can serve is answered when they have started.
void wait_for_workers(dmabroker::Client& client)
{
    for (const auto backend : {DMABROKER_BACKEND_GBM, DMABROKER_BACKEND_VULKAN, DMABROKER_BACKEND_VULKAN_OPAQUE}) {
        try {
            dmabroker::Allocation wanted{
                .size = test_size, .format = dmabroker::fourcc("AB24"), .usage = dmabroker::Usage::sample};
            wanted.backends = DMABROKER_BACKEND_BIT(backend);
            client.allocate(wanted);
        } catch (const dmabroker::Error&) {
        }
    }
}

Origin origin_of(const Json& exporter, dmabroker_backend backend, const char* name)
{
    if (backend < DMABROKER_BACKEND_GBM) return {backend, "", name};
    const Json& device = exporter.at("device");
    const std::string node = device.value("node", "");
    if (!node.empty()) return {backend, node, std::string(name) + " " + node};
    return {backend, device.at("id").value("device_uuid", ""), std::string(name) + " " + exporter.value("name", "")};
}

void print(const Finding& finding)
{
    std::cout << to_json(finding).dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

} // namespace

void announce(const std::string& text) { print({.level = "trying", .text = text}); }

std::vector<Origin> origins(dmabroker::Client& client)
{
    wait_for_workers(client);
    const Json exports = Json::parse(client.inspect()).at("snapshot").at("exports");
    std::vector<Origin> out;
    for (const Json& one : exports)
        for (const Json& exporter = one.at("exporter"); const auto& [backend, name] : backends)
            if (exporter.value("backend", "") == name && exporter.value("problem", "").empty())
                out.push_back(origin_of(exporter, backend, name));
    return out;
}

dmabroker::Image test_image(dmabroker::Client& client, const Origin& origin, dmabroker::Usage usage)
{
    const std::vector<std::byte> pixels = proof_contents(*find_format(fourcc("AB24")), {test_size.width, test_size.height});
    dmabroker::Allocation wanted{.size = test_size, .format = dmabroker::fourcc("AB24"), .usage = usage};
    wanted.backends = DMABROKER_BACKEND_BIT(origin.backend);
    wanted.device = origin.device;
    wanted.contents = dmabroker_pixels{{pixels.data()}, {0}};
    return client.allocate(wanted);
}

void compare(const std::vector<std::uint8_t>& pixels)
{
    const auto wrong =
        wrong_packed(*find_format(fourcc("AB24")), {test_size.width, test_size.height}, std::as_bytes(std::span(pixels)));
    if (!wrong.empty()) throw std::runtime_error("wrong pixels: " + std::string(wrong.view()));
}

Finding try_all(dmabroker::Client& client, const std::string& area, const std::string& who, dmabroker::Usage usage,
                const Import& import)
{
    Finding out{.level = "ok", .area = area};
    std::string from;
    for (const Origin& origin : origins(client)) {
        announce(who + ", image from " + origin.text);
        try {
            import(test_image(client, origin, usage));
            from += (from.empty() ? "" : ", ") + origin.text;
        } catch (const std::exception& e) {
            out.detail.push_back("not from " + origin.text + ": " + e.what());
        }
    }
    out.can_share = !from.empty();
    if (!out.can_share) out.level = "warn";
    out.text = who + ": " + (out.can_share ? "imported and compared images from " + from : "no image could be imported");
    return out;
}

void leave_out_opaque(Finding& finding)
{
    std::erase_if(finding.detail, [](const std::string& line) { return line.starts_with("not from vulkan_opaque"); });
}

void probe_cpu(dmabroker::Client& client, const Sink& sink)
{
    Finding finding = try_all(client, "cpu", "CPU", dmabroker::Usage::cpu_read, [](const dmabroker::Image& image) {
        auto mapping = image.map(dmabroker::Direction::read);
        const auto mapped = mapping.begin(dmabroker::Direction::read);
        std::vector<std::uint8_t> pixels;
        for (unsigned y = 0; y < test_size.height; ++y) {
            const auto* row = mapped.row<std::uint8_t>(y);
            pixels.insert(pixels.end(), row, row + test_size.width * 4);
        }
        compare(pixels);
    });
    leave_out_opaque(finding);
    sink(finding);
}

namespace {

void probe(dmabroker::Client& client, const std::string& what, unsigned index)
{
    if (what == "cpu") return probe_cpu(client, print);
    if (what == "egl") return probe_egl(client, index, print);
    if (what == "vulkan") return probe_vulkan(client, index, print);
    throw std::runtime_error("unknown probe " + what);
}

int run(const std::string& socket, const std::string& what, const std::string& which)
{
    if (which == "count") {
        std::cout << (what == "vulkan" ? count_vulkan() : count_egl()) << '\n';
        return EXIT_SUCCESS;
    }
    dmabroker::ConnectOptions options;
    options.remote = socket;
    options.name = "doctor";
    dmabroker::Client client = dmabroker::Client::connect(options);
    probe(client, what, static_cast<unsigned>(std::stoul(which)));
    return EXIT_SUCCESS;
}

} // namespace
} // namespace dmb::doctor

int main(int argc, char** argv)
{
    if (argc != 4) {
        std::cerr << "dmabroker-doctor-probe is started by `dmabrokerctl doctor`\n";
        return 2;
    }
    const std::string what = argv[2];
    try {
        const int status = dmb::doctor::run(argv[1], what, argv[3]);
        // Drivers that crash while they are unloaded have told all they know by now.
        std::cout.flush();
        _exit(status);
    } catch (const std::exception& e) {
        dmb::doctor::print({.level = "warn", .area = what, .text = what + ": " + e.what()});
        _exit(EXIT_SUCCESS);
    }
}
