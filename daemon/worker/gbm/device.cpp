// SPDX-License-Identifier: MIT
// Mesa's software driver (kms_swrast) allocates dumb buffers, which the kernel lets nobody do through a
// render node; a GPU's own driver allocates through either. So the node that works also tells whether
// a GPU is behind it. A primary node is used only where the render node fails: whoever opens one
// first becomes DRM master, and would keep a display server from starting.
#include "daemon/worker/gbm/device.hpp"

#include "daemon/worker/gbm/driver_version.hpp"
#include "daemon/worker/gbm/drm_node.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xf86drm.h>

namespace dmb::worker {
namespace {

struct Nodes {
    std::string render;
    std::string primary;
};

Nodes nodes_of(const std::string& node)
{
    struct stat status{};
    drmDevicePtr device = nullptr;
    if (::stat(node.c_str(), &status) != 0 || drmGetDeviceFromDevId(status.st_rdev, 0, &device) != 0) return {"", node};
    Nodes nodes;
    if (device->available_nodes & (1 << DRM_NODE_RENDER)) nodes.render = device->nodes[DRM_NODE_RENDER];
    if (device->available_nodes & (1 << DRM_NODE_PRIMARY)) nodes.primary = device->nodes[DRM_NODE_PRIMARY];
    drmFreeDevice(&device);
    return nodes;
}

/// False: not a DRM node. Mesa would try its luck with it all the same.
bool describe_driver(int fd, Exporter& info)
{
    drmVersionPtr version = drmGetVersion(fd);
    if (!version) return false;
    info.driver = std::string_view(version->name, static_cast<std::size_t>(version->name_len));
    info.name = std::string_view(version->desc, static_cast<std::size_t>(version->desc_len));
    drmFreeVersion(version);
    return true;
}

bool contains(std::span<const Modifier> modifiers, Modifier wanted)
{
    return std::ranges::find(modifiers, wanted) != modifiers.end();
}

/// Every memory object once: planes mostly share one GEM handle.
struct Handles {
    BoundedVector<std::uint32_t, max_planes> known;
    std::uint8_t index_of(std::uint32_t handle)
    {
        const auto found = std::ranges::find(known, handle);
        if (found == known.end()) known.push_back(handle);
        return static_cast<std::uint8_t>(found - known.begin());
    }
};

} // namespace

std::string describe_errno(int error_number)
{
    return error_number == 0 ? "the driver gave no reason" : std::strerror(error_number);
}

Result<GbmDevice> GbmDevice::open(const std::string& node, Exporter& info)
{
    const Nodes nodes = nodes_of(node);
    info.backend = Backend::gbm;
    const std::string& identity = nodes.render.empty() ? nodes.primary : nodes.render;
    info.node.assign(identity);
    info.id.render_node = device_number(identity);
    Result<GbmDevice> on_render = fail(Errc::backend_failed, "no render node");
    if (!nodes.render.empty()) on_render = open_node(nodes.render, info);
    if (on_render || nodes.primary.empty()) return on_render;

    Result<GbmDevice> on_primary = open_node(nodes.primary, info);
    if (!on_primary)
        return fail(Errc::backend_failed, "{}; {}", on_render.error().reason.view(), on_primary.error().reason.view());
    info.node.assign(nodes.primary);
    info.software = on_primary->software_ = true;
    return on_primary;
}

Result<GbmDevice> GbmDevice::open_node(const std::string& path, Exporter& info)
{
    UniqueFd fd = UniqueFd::adopt(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd)
        return fail(Errc::backend_failed, "{}: {}{}", path, std::strerror(errno),
                    errno == EACCES ? "; the broker needs the group that owns it (render or video)" : "");
    if (!describe_driver(fd.get(), info)) return fail(Errc::backend_failed, "{} is not a DRM node", path);
    if (drmIsMaster(fd.get())) drmDropMaster(fd.get());
    gbm_device* device = gbm_create_device(fd.get());
    if (!device) return fail(Errc::backend_failed, "{}: gbm_create_device: {}", path, describe_errno(errno));
    info.version = std::string_view(gbm_driver_version(fd.get()));
    info.id.pci = pci_address(fd.get());
    GbmDevice opened(std::move(fd), device);
    if (auto tried = opened.try_once(); !tried) return fail(tried.error().code, "{}: {}", path, tried.error().reason.view());
    return opened;
}

/// A format that every display and every GPU has.
Result<> GbmDevice::try_once()
{
    const Bo bo = TRY(create({64, 64}, fourcc("XR24"), {}, GBM_BO_USE_RENDERING));
    TRY(export_bo(bo.get()));
    const Bo linear(gbm_bo_create_with_modifiers2(device_.get(), 64, 64, fourcc("XR24").value, &modifier_linear.value, 1,
                                                  GBM_BO_USE_RENDERING));
    knows_modifiers_ = linear != nullptr;
    return {};
}

Result<Bo> GbmDevice::create(Extent size, FourCC format, std::span<const Modifier> acceptable, std::uint32_t flags) const
{
    const auto plain = [&](std::uint32_t more) {
        return Bo(gbm_bo_create(device_.get(), size.width, size.height, format.value, flags | more));
    };
    // INVALID alone makes gbm_bo_create_with_modifiers2 fail, and beside others it adds nothing.
    std::vector<std::uint64_t> explicit_ones;
    for (const Modifier m : acceptable)
        if (m != modifier_invalid) explicit_ones.push_back(m.value);

    errno = 0;
    Bo bo;
    if (!explicit_ones.empty())
        bo.reset(gbm_bo_create_with_modifiers2(device_.get(), size.width, size.height, format.value, explicit_ones.data(),
                                               static_cast<unsigned>(explicit_ones.size()), flags & ~GBM_BO_USE_LINEAR));
    // Drivers without modifiers (virgl) refuse every list, and know the flag.
    if (!bo && contains(acceptable, modifier_linear)) bo = plain(GBM_BO_USE_LINEAR);
    if (!bo && (acceptable.empty() || contains(acceptable, modifier_invalid))) bo = plain(0);
    if (bo) return bo;
    return fail(Errc::backend_failed, "GBM does not allocate {} {}x{} with flags {:#x}: {}", to_string(format), size.width,
                size.height, flags, describe_errno(errno));
}

Result<Exported> GbmDevice::export_bo(gbm_bo* bo) const
{
    Exported out;
    Handles handles;
    const int planes = gbm_bo_get_plane_count(bo);
    if (planes < 1 || static_cast<std::size_t>(planes) > max_planes)
        return fail(Errc::backend_failed, "GBM reports {} planes", planes);
    for (int i = 0; i < planes; ++i) {
        const std::uint8_t memory = handles.index_of(gbm_bo_get_handle_for_plane(bo, i).u32);
        out.desc.planes.push_back({memory, gbm_bo_get_stride_for_plane(bo, i), gbm_bo_get_offset(bo, i)});
    }
    for (const std::uint32_t handle : handles.known) {
        // The first export decides for good whether the dma-buf is writable, and gbm_bo_get_fd would
        // make a read-only one.
        int fd = -1;
        if (drmPrimeHandleToFD(fd_.get(), handle, DRM_CLOEXEC | DRM_RDWR, &fd) != 0)
            return fail(Errc::backend_failed, "export as a dma-buf: {}", describe_errno(errno));
        UniqueFd& kept = out.fds.push_back(UniqueFd::adopt(fd));
        const off_t size = ::lseek(kept.get(), 0, SEEK_END);
        if (size <= 0) return fail(Errc::backend_failed, "the exported dma-buf has no size: {}", describe_errno(errno));
        out.desc.memories.push_back({static_cast<std::uint64_t>(size)});
    }
    out.desc.kind = MemoryKind::dma_buf;
    out.desc.backend = Backend::gbm;
    // INVALID stays INVALID: it means "known to the driver only", not LINEAR. And what a driver that takes no modifiers
    // says (virgl: 0) means nothing else: its importers know no LINEAR either.
    out.desc.modifier = knows_modifiers_ ? Modifier{gbm_bo_get_modifier(bo)} : modifier_invalid;
    return out;
}

bool GbmDevice::has_display() const
{
    // The kernel answers this only for drivers with mode setting, on render nodes too.
    std::uint64_t value = 0;
    return drmGetCap(fd_.get(), DRM_CAP_DUMB_PREFERRED_DEPTH, &value) == 0;
}

} // namespace dmb::worker
