// SPDX-License-Identifier: MIT
// What sysfs says about a DRM device, for capability tables: /sys/dev/char/MAJOR:MINOR is a link into the device's
// folder, DEVICE/drm/card0, and all nodes of a device are in that drm folder. DEVICE of virtio-gpu is virtio0, whose
// parent is the PCI device: the last PCI address in the path counts. Nothing is opened; without sysfs what the caller
// knows stays.
#include "libclient/import/device_node.hpp"

#include <charconv>
#include <drm.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace dmb::import {
namespace {

namespace fs = std::filesystem;

/// "226:128" as a dev_t; 0 for anything else.
std::uint64_t read_number(const fs::path& file)
{
    unsigned major_number = 0, minor_number = 0;
    char colon = 0;
    std::ifstream in(file);
    if (!(in >> major_number >> colon >> minor_number) || colon != ':') return 0;
    return makedev(major_number, minor_number);
}

/// The render node beside a node: the entry of its drm folder.
fs::path find_render_node(const fs::path& node)
{
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(node.parent_path(), error))
        if (entry.path().filename().string().starts_with("renderD")) return entry.path();
    return node;
}

std::uint32_t find_pci(const fs::path& folder)
{
    std::uint32_t pci = 0;
    for (const fs::path& part : folder)
        if (const std::uint32_t found = parse_pci(part.string())) pci = found;
    return pci;
}

bool read_hex(std::string_view text, std::uint32_t largest, std::uint32_t& out)
{
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, 16);
    return error == std::errc{} && end == text.data() + text.size() && out <= largest;
}

} // namespace

std::uint32_t parse_pci(std::string_view text)
{
    std::uint32_t domain, bus, slot, function;
    if (text.size() != 12 || text[4] != ':' || text[7] != ':' || text[10] != '.') return 0;
    const bool all = read_hex(text.substr(0, 4), 0xffff, domain) && read_hex(text.substr(5, 2), 0xff, bus) &&
                     read_hex(text.substr(8, 2), 0x1f, slot) && read_hex(text.substr(11), 7, function);
    return all ? domain << 16 | bus << 8 | slot << 3 | function : 0;
}

void describe_node(Device& device, std::uint64_t number, std::string_view path)
{
    std::error_code error;
    const fs::path link = fmt::format("/sys/dev/char/{}:{}", major(number), minor(number));
    const fs::path own = fs::canonical(link, error);
    device.id.render_node = number;
    device.node = path;
    if (error || own.parent_path().filename() != "drm") return;
    const fs::path best = find_render_node(own);
    if (const std::uint64_t found = read_number(best / "dev")) device.id.render_node = found;
    device.node = std::string_view("/dev/dri/" + best.filename().string());
    device.id.pci = find_pci(own);
}

void describe_node(Device& device, const char* path)
{
    struct stat status;
    if (path && ::stat(path, &status) == 0 && S_ISCHR(status.st_mode)) describe_node(device, status.st_rdev, path);
}

bool describe_drm(Device& device, int drm)
{
    struct stat status{};
    char name[64] = {}, text[64] = {};
    drm_version version{};
    version.name_len = sizeof name - 1;
    version.name = name;
    version.desc_len = sizeof text - 1;
    version.desc = text;
    if (::fstat(drm, &status) != 0 || ::ioctl(drm, DRM_IOCTL_VERSION, &version) != 0) return false;
    device.driver = is_printable(name) ? name : "";
    device.version = std::string_view(fmt::format("{} {}.{}.{}", is_printable(text) ? text : "", version.version_major,
                                                  version.version_minor, version.version_patchlevel));
    describe_node(device, status.st_rdev);
    return true;
}

} // namespace dmb::import
