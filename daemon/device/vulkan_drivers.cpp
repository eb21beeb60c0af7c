// SPDX-License-Identifier: MIT
// Finds the manifests of Vulkan drivers as the Vulkan loader does, so that each driver gets a worker of its own. Only
// names are looked at: neither manifests nor drivers are read. A link and its target, and a file in two folders, count
// once, by their canonical path. Called once, by main(); a worker gets its manifest as argument and hands it to the
// loader in VK_DRIVER_FILES.
#include "daemon/device/vulkan_drivers.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>

namespace dmb {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name, const char* otherwise = "")
{
    const char* value = std::getenv(name);
    return value && *value ? value : otherwise;
}

std::vector<fs::path> split(std::string_view list)
{
    std::vector<fs::path> out;
    while (!list.empty()) {
        const std::string_view part = list.substr(0, list.find(':'));
        if (!part.empty()) out.emplace_back(part);
        list.remove_prefix(std::min(part.size() + 1, list.size()));
    }
    return out;
}

class Manifests {
public:
    /// A manifest, or a folder of them.
    void add(const fs::path& path)
    {
        std::error_code error;
        if (fs::is_directory(path, error)) return add_folder(path);
        if (fs::is_regular_file(path, error)) add_file(path);
    }
    std::vector<std::string> take() { return std::move(found_); }

private:
    void add_folder(const fs::path& folder)
    {
        std::vector<fs::path> files;
        std::error_code error;
        for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator(); it.increment(error))
            if (it->path().extension() == ".json") files.push_back(it->path());
        std::ranges::sort(files);
        for (const fs::path& file : files) add_file(file);
    }
    void add_file(const fs::path& file)
    {
        std::error_code error;
        const fs::path real = fs::canonical(file, error);
        if (!error && std::ranges::find(found_, real.string()) == found_.end()) found_.push_back(real);
    }
    std::vector<std::string> found_;
};

/// In the loader's order.
std::vector<fs::path> system_folders()
{
    const std::string home = variable("HOME");
    const auto in_home = [&](const char* below) { return home.empty() ? std::string() : home + below; };
    std::vector<fs::path> out;
    const auto add = [&](const std::string& list) {
        for (const fs::path& folder : split(list)) out.push_back(folder / "vulkan/icd.d");
    };
    add(variable("XDG_CONFIG_HOME", in_home("/.config").c_str()));
    add(variable("XDG_CONFIG_DIRS", "/etc/xdg"));
    add("/etc");
    add(variable("XDG_DATA_HOME", in_home("/.local/share").c_str()));
    add(variable("XDG_DATA_DIRS", "/usr/local/share:/usr/share"));
    return out;
}

} // namespace

std::vector<std::string> find_vulkan_drivers()
{
    Manifests manifests;
    const std::string chosen = variable("VK_DRIVER_FILES", variable("VK_ICD_FILENAMES").c_str());
    for (const fs::path& path : chosen.empty() ? system_folders() : split(chosen)) manifests.add(path);
    if (chosen.empty())
        for (const fs::path& path : split(variable("VK_ADD_DRIVER_FILES"))) manifests.add(path);
    return manifests.take();
}

} // namespace dmb
