// SPDX-License-Identifier: MIT
// Which display is meant follows from what is known of the device. Software that draws on a node is Mesa's kms_swrast,
// which exists on GBM only; software without one is the EGL device that says so. A GPU is the EGL device
// with its node, else GBM there. A GPU without node (NVIDIA without nvidia-drm) is the EGL device without node that
// does not draw in software.
#include "daemon/worker/gl/displays.hpp"

#include "daemon/worker/gbm/drm_node.hpp"

#include <sys/stat.h>

#if DMB_HAVE_GBM
#include <gbm.h>
#endif

namespace dmb::worker {
namespace {

using Place = gpu::EglContext::Place;

bool has_node(const Device& device) { return device.id.render_node != 0 || !device.node.empty(); }

bool is_at(const Place& place, const Device& device)
{
    const std::uint64_t wanted = device.id.render_node ? device.id.render_node : device_number(std::string(device.node.view()));
    for (const std::string& node : {place.render_node, place.primary_node})
        if (!node.empty() && device_number(node) == wanted) return true;
    return false;
}

bool fits(const Place& place, const Device& device)
{
    if (has_node(device)) return is_at(place, device);
    if (device.software) return place.software;
    return !place.software && place.render_node.empty() && place.primary_node.empty();
}

Uuid uuid_of(const GlDevice& device, GLenum which)
{
    device.context().make_current();
    Uuid uuid{};
    const auto get = device.context().display().get_proc;
    if (!device.context().lists_gl_extension("GL_EXT_memory_object")) return uuid;
    if (which == GL_DRIVER_UUID_EXT)
        reinterpret_cast<PFNGLGETUNSIGNEDBYTEVEXTPROC>(get("glGetUnsignedBytevEXT"))(which, uuid.data());
    else reinterpret_cast<PFNGLGETUNSIGNEDBYTEI_VEXTPROC>(get("glGetUnsignedBytei_vEXT"))(which, 0, uuid.data());
    return uuid;
}

} // namespace

Result<GlDevice*> GlDisplays::display(unsigned index)
{
    std::unique_ptr<GlDevice>& known = displays_[index];
    if (!known) known = TRY(GlDevice::open(index));
    return known.get();
}

Result<GlDevice*> GlDisplays::on_gbm(const Device& device)
{
#if DMB_HAVE_GBM
    UniqueFd fd = TRY(open_drm_node(device));
    struct stat status{};
    ::fstat(fd.get(), &status);
    std::unique_ptr<GlDevice>& known = gbm_displays_[status.st_rdev];
    if (known) return known.get();
    gbm_device* const gbm = gbm_create_device(fd.get());
    if (!gbm) return fail(Errc::not_found, "{}: gbm_create_device failed", device.node.view());
    static_cast<void>(fd.release()); // the display lives on it, as long as this process
    known = TRY(GlDevice::open_gbm(gbm, status.st_rdev));
    return known.get();
#else
    return fail(Errc::not_found, "{}: this build has no GBM", title(device).view());
#endif
}

Result<GlDevice*> GlDisplays::find(const Device& device)
{
    const unsigned count = TRY(caught([] { return gpu::EglContext::count(); }));
    for (unsigned i = 0; i + 1 < count; ++i)
        if (fits(gpu::EglContext::place(i), device)) return display(i);
    if (has_node(device)) return on_gbm(device);
    // Where EGL lists no devices, Mesa's surfaceless display is its software one.
    if (device.software) return display(count - 1);
    return fail(Errc::not_found, "no EGL display here is {}", title(device).view());
}

Result<GlDevice*> GlDisplays::find_uuid(const DeviceId& id)
{
    const unsigned count = TRY(caught([] { return gpu::EglContext::count(); }));
    for (unsigned i = 0; i < count; ++i) {
        auto opened = display(i);
        if (!opened || uuid_of(**opened, GL_DEVICE_UUID_EXT) != id.device_uuid) continue;
        if (uuid_of(**opened, GL_DRIVER_UUID_EXT) == id.driver_uuid) return opened;
    }
    return fail(Errc::not_found, "no OpenGL device here has the UUID {}", to_string(id.device_uuid));
}

} // namespace dmb::worker
