// SPDX-License-Identifier: MIT
// The list of known refusals is the price of each 'refused' in the matrix: a reason that matches none of
// its lines counts as a failure.
#include "tests/drm/matrix/platform.hpp"

#include <algorithm>
#include <dmabroker/dmabroker.h>
#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <unistd.h>

namespace dmb::matrix {
namespace {

nlohmann::json inspect(dmabroker_client* client)
{
    char* text = nullptr;
    dmabroker_error error{};
    if (dmabroker_inspect(client, 0, &text, &error) < 0) throw std::runtime_error(error.text);
    nlohmann::json json = nlohmann::json::parse(text);
    dmabroker_free(text);
    return json;
}

/// A request that any GPU could serve is answered when every worker has said hello.
void wait_for_workers(dmabroker_client* client)
{
    dmabroker_allocation request = DMABROKER_ALLOCATION_INIT;
    request.width = request.height = 16;
    request.format = fourcc("XR24").value;
    request.usage = DMABROKER_USAGE_SAMPLE;
    request.backends = DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_GBM) | DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_VULKAN) |
                       DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_VULKAN_OPAQUE);
    request.device = "no such device";
    dmabroker_image* image = nullptr;
    dmabroker_error error{};
    dmabroker_allocate(client, &request, &image, &error);
    dmabroker_image_close(image);
}

Exporter describe(const nlohmann::json& exports, std::string name, std::string backend, const std::string& driver)
{
    Exporter out{std::move(name), std::move(backend), {}, true, "no such device here"};
    for (const auto& one : exports) {
        const nlohmann::json &exporter = one.at("exporter"), &device = exporter.at("device");
        if (exporter.value("backend", "") != out.backend) continue;
        if (!driver.empty() && device.value("driver", "") != driver) continue;
        out.absent = exporter.value("problem", "");
        if (!driver.empty()) out.node = device.value("node", "");
        out.software = device.value("software", false);
        if (out.absent.empty()) break;
    }
    return out;
}

struct Refusal {
    std::string_view exporter; ///< prefix; empty: any
    std::string_view importer; ///< empty: any
    std::string_view reason;   ///< part of it
};

constexpr Refusal known[] = {
    // The format has no counterpart in that API, or not in that driver.
    {"", "", "does not import format"},
    {"", "", "does not read format"},
    {"", "vulkan", "Vulkan has no format with the bits of"},
    {"", "gl", "OpenGL has no texture format with the bits of"},
    {"", "", "holds its pixels in pairs"},
    {"", "vulkan", "only with sizes that its chroma divides"},
    // Memory that API cannot take by its nature.
    {"", "gl", "is no GL memory object"},
    {"vulkan_opaque", "egl", "opaque memory has no EGLImage"},
    {"vulkan_opaque", "cpu", "opaque memory has no layout"},
    {"gbm", "vulkan", "modifier INVALID"},
    // virtio-gpu with 3D: the memory lives in the host, this side's pages are stale.
    {"gbm/virtio_gpu", "egl", "allocated by gbm without cpu usage"},
    {"gbm/virtio_gpu", "vulkan", "allocated by gbm without cpu usage"},
    {"gbm/virtio_gpu", "cpu", "allocated by gbm without cpu usage"},
    // NVIDIA without nvidia-drm: dma-buf import is listed and refused; system memory is not for it.
    {"memfd", "egl", "is a memfd and this EGL driver is not a software one"},
    {"memfd", "vulkan", "has no VK_EXT_external_memory_dma_buf"},
};

} // namespace

std::vector<Exporter> find_exporters(const std::string& socket)
{
    dmabroker_connect_options options = DMABROKER_CONNECT_OPTIONS_INIT;
    options.remote = socket.c_str();
    options.name = "matrix";
    options.timeout_ns = 180'000'000'000;
    dmabroker_client* client = nullptr;
    dmabroker_error error{};
    if (dmabroker_connect(&options, &client, &error) < 0) throw std::runtime_error(error.text);
    wait_for_workers(client);
    const nlohmann::json json = inspect(client);
    dmabroker_client_close(client);
    const nlohmann::json& exports = json.at("snapshot").at("exports");
    return {describe(exports, "memfd", "memfd", ""),
            describe(exports, "udmabuf", "udmabuf", ""),
            describe(exports, "dma_heap", "dma_heap", ""),
            describe(exports, "gbm/vgem", "gbm", "vgem"),
            describe(exports, "gbm/virtio_gpu", "gbm", "virtio_gpu"),
            describe(exports, "vulkan", "vulkan", ""),
            describe(exports, "vulkan_opaque", "vulkan_opaque", "")};
}

std::vector<Importer> all_importers() { return {{"cpu"}, {"egl"}, {"egl_gbm"}, {"vulkan"}, {"gl"}}; }

bool may_pair(const Exporter& exporter, const Importer& importer)
{
    return importer.name != "egl_gbm" || exporter.backend == "gbm";
}

bool is_known_refusal(const Exporter& exporter, const Cell& cell)
{
    return std::ranges::any_of(known, [&](const Refusal& refusal) {
        return exporter.name.starts_with(refusal.exporter) && (refusal.importer.empty() || cell.importer == refusal.importer) &&
               cell.reason.find(refusal.reason) != std::string::npos;
    });
}

} // namespace dmb::matrix
