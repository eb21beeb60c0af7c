// SPDX-License-Identifier: MIT
// An application on the GPU that the shim makes believe in.
//
//   shim_peer import SOCKET TOKEN...   opens each image and imports it with EGL and with Vulkan: a line for each,
//                                      "egl imported" or why not
//   shim_peer tables FOLDER NAME       writes what EGL and Vulkan say they import: NAME_egl.json, NAME_vulkan.json
#include "libclient/headless/egl_context.hpp"
#include "libclient/headless/vulkan_context.hpp"

#include <dmabroker/dmabroker.hpp>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>

namespace {

using namespace dmb;
using dmabroker::Rights;
using dmabroker::Usage;

gpu::EglContext egl_context()
{
    return gpu::first_working_display([](const gpu::EglContext& context) { return !context.software(); });
}

gpu::VulkanContext vulkan_context()
{
    for (unsigned i = 0; i < gpu::VulkanContext::count(); ++i) {
        gpu::VulkanContext context(i);
        if (!context.software()) return context;
    }
    throw std::runtime_error("Vulkan has no device but software");
}

void report(const char* api, const std::function<void()>& import)
{
    try {
        import();
        fmt::print("{} imported\n", api);
    } catch (const dmabroker::Error& error) {
        fmt::print("{} {}\n", api, error.what());
    }
}

void import(const char* socket, std::span<char*> tokens)
{
    auto client = dmabroker::Client::connect({.remote = socket});
    const gpu::EglContext egl = egl_context();
    const gpu::VulkanContext vulkan = vulkan_context();
    for (const char* token : tokens) {
        const auto image = client.open(token, Rights::read | Rights::write, Usage::sample | Usage::render);
        report("egl", [&] { dmabroker::egl::import(image, egl.display()); });
        report("vulkan", [&] { dmabroker::vulkan::import(image, vulkan.device()); });
    }
}

/// A line for each row.
void write(const std::string& path, const dmabroker::Capabilities& table)
{
    using Json = nlohmann::ordered_json;
    Json json = Json::parse(table.to_json());
    Json& inner = json.at("capabilities");
    std::string rows;
    for (const Json& row : inner.at("rows")) rows += (rows.empty() ? "\n" : ",\n") + row.dump();
    inner.erase("rows");
    std::string head = json.dump();
    head.resize(head.size() - 2);
    std::ofstream(path) << head << ",\"rows\":[" << rows << "\n]}}\n";
}

void write_tables(const std::string& folder, const std::string& name)
{
    const gpu::EglContext egl = egl_context();
    write(fmt::format("{}/{}_egl.json", folder, name), dmabroker::egl::capabilities(egl.display()));
    write(fmt::format("{}/{}_vulkan.json", folder, name), dmabroker::vulkan::capabilities(vulkan_context().device()));
}

} // namespace

int main(int argc, char** argv)
try {
    const std::span arguments(argv + 1, static_cast<std::size_t>(argc) - 1);
    const std::string_view verb = arguments.empty() ? "" : arguments[0];
    if (verb == "import" && arguments.size() > 2) import(arguments[1], arguments.subspan(2));
    else if (verb == "tables" && arguments.size() == 3) write_tables(arguments[1], arguments[2]);
    else return fmt::print(stderr, "usage: shim_peer import SOCKET TOKEN... | tables FOLDER NAME\n"), 2;
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
}
