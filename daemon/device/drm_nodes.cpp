// SPDX-License-Identifier: MIT
// Nodes of one device share the sysfs folder behind /sys/dev/char/MAJOR:MINOR/device; that folder is the device here.
// libdrm's own search knows a list of bus types and skips devices on others. Nothing is opened: names and stat(2) are
// enough. Where sysfs is missing every node counts as a device of its own. Called once, by main().
#include "daemon/device/drm_nodes.hpp"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace dmb {
namespace {

namespace fs = std::filesystem;

struct Node {
    std::string path;
    unsigned minor;
    std::string device; ///< canonical sysfs folder; the node's own path where sysfs is missing
    std::string driver;
    bool render() const { return path.find("/renderD") != std::string::npos; }
};

std::vector<Node> list_nodes(const std::string& dev, const std::string& sys)
{
    std::vector<Node> nodes;
    std::error_code error;
    for (auto it = fs::directory_iterator(dev, error); !error && it != fs::directory_iterator(); it.increment(error)) {
        const std::string name = it->path().filename();
        struct stat info{};
        if (!(name.starts_with("card") || name.starts_with("renderD")) || ::stat(it->path().c_str(), &info) != 0) continue;
        if (!S_ISCHR(info.st_mode)) continue;
        const fs::path link = fmt::format("{}/{}:{}/device", sys, major(info.st_rdev), minor(info.st_rdev));
        std::error_code missing;
        const fs::path device = fs::canonical(link, missing);
        const fs::path driver = fs::canonical(link / "driver", missing);
        nodes.push_back({it->path(), minor(info.st_rdev), device.empty() ? it->path().string() : device.string(),
                         driver.filename().string()});
    }
    std::ranges::sort(nodes, {}, &Node::minor);
    return nodes;
}

} // namespace

std::vector<DrmDevice> find_drm_devices(const std::string& dev, const std::string& sys)
{
    std::vector<DrmDevice> out;
    std::map<std::string, std::size_t> known;
    for (const Node& node : list_nodes(dev, sys)) {
        const auto [found, added] = known.try_emplace(node.device, out.size());
        if (added) out.push_back({.primary = {}, .render = {}, .driver = node.driver});
        DrmDevice& device = out[found->second];
        (node.render() ? device.render : device.primary) = node.path;
    }
    return out;
}

} // namespace dmb
