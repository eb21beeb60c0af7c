// SPDX-License-Identifier: MIT
// DRM nodes by the name or number that a capability table gives. A node is opened only after the kernel said that it is
// one: opening an arbitrary device can have effects. Whoever opens a primary node first becomes DRM master and would
// keep a display server from starting, so that is given up. The descriptors belong to the caller.
#include "daemon/worker/gbm/drm_node.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <xf86drm.h>

namespace dmb::worker {
namespace {

constexpr unsigned drm_major = 226;

bool is_node_name(std::string_view path)
{
    constexpr std::string_view folder = "/dev/dri/";
    return path.starts_with(folder) && path.find('/', folder.size()) == std::string_view::npos;
}

/// The name of the node with this number.
std::string name_of(std::uint64_t number)
{
    drmDevicePtr device = nullptr;
    std::string name;
    if (number == 0 || drmGetDeviceFromDevId(number, 0, &device) != 0) return name;
    for (int type = 0; type < DRM_NODE_MAX; ++type)
        if ((device->available_nodes & (1 << type)) && device_number(device->nodes[type]) == number) name = device->nodes[type];
    drmFreeDevice(&device);
    return name;
}

} // namespace

std::uint64_t device_number(const std::string& path)
{
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 && S_ISCHR(status.st_mode) ? status.st_rdev : 0;
}

Result<UniqueFd> open_drm_node(const Device& device)
{
    std::string path(device.node.view());
    if (!is_node_name(path) || major(device_number(path)) != drm_major) path = name_of(device.id.render_node);
    if (path.empty()) return fail(Errc::not_found, "{} has no DRM node here", title(device).view());
    UniqueFd fd = UniqueFd::adopt(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY));
    if (!fd) return fail(Errc::not_found, "{}: {}", path, std::strerror(errno));
    if (drmIsMaster(fd.get())) drmDropMaster(fd.get());
    return fd;
}

std::uint32_t pci_address(int drm_fd)
{
    drmDevicePtr device = nullptr;
    if (drmGetDevice2(drm_fd, 0, &device) != 0) return 0;
    std::uint32_t address = 0;
    if (device->bustype == DRM_BUS_PCI) {
        const drmPciBusInfo& pci = *device->businfo.pci;
        address = static_cast<std::uint32_t>(pci.domain) << 16 | static_cast<std::uint32_t>(pci.bus) << 8 |
                  static_cast<std::uint32_t>(pci.dev) << 3 | pci.func;
    }
    drmFreeDevice(&device);
    return address;
}

} // namespace dmb::worker
