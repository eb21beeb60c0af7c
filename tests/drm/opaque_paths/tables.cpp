// SPDX-License-Identifier: MIT
// The peers are those of tests/drm/pairs, numbered in the same order. The broker starts its workers late: it is
// asked for its formats after an allocation has waited for them.
#include "tests/drm/opaque_paths/tables.hpp"

#include "tests/drm/pairs/peer.hpp"

#include <filesystem>
#include <fmt/core.h>
#include <fstream>
#include <nlohmann/json.hpp>

namespace dmb::paths {
namespace {

using Json = nlohmann::json;

void write(const std::filesystem::path& path, const std::string& text)
{
    std::ofstream file(path);
    file << text << '\n';
    if (!file) throw std::runtime_error("cannot write " + path.string());
}

Json peer_names(const std::vector<std::unique_ptr<pairs::Peer>>& peers, const std::vector<std::string>& missing)
{
    Json out{{"missing", missing}, {"peers", Json::array()}};
    for (const auto& peer : peers) out["peers"].push_back(peer->name());
    return out;
}

std::string inspect(const Setup& setup)
{
    dmabroker::ConnectOptions options;
    options.remote = setup.socket;
    options.manager = true;
    return dmabroker::Client::connect(options).inspect();
}

void wait_for_workers(const Setup& setup)
{
    try {
        const VulkanEnd end(setup.device);
        dmabroker::Client client = connect(setup, "tables");
        const dmabroker::Image image = allocate(client, end, size);
    } catch (const std::exception&) { // a machine without Vulkan has tables too
    }
}

} // namespace

std::string write_tables(const std::string& folder, const Setup& setup)
{
    std::vector<std::string> missing;
    const auto peers = pairs::all_peers(missing);
    std::filesystem::create_directories(folder);
    for (std::size_t i = 0; i < peers.size(); ++i) write(fmt::format("{}/{:02}.json", folder, i), peers[i]->table().to_json());
    write(folder + "/peers.json", peer_names(peers, missing).dump(2));
    wait_for_workers(setup);
    write(folder + "/inspect.json", Json::parse(inspect(setup)).dump(2));
    return fmt::format("{} peers and the broker in {}", peers.size(), folder);
}

} // namespace dmb::paths
