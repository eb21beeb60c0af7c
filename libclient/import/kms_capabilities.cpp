// SPDX-License-Identifier: MIT
// What a KMS plane scans out, by the kernel's own interface (drm_mode.h), so that no library is linked. The plane's format
// list is what it takes without a modifier; its IN_FORMATS property adds the modifiers. A driver without IN_FORMATS knows
// no modifiers: its framebuffers are linear, and named so or not at all.
#include "libclient/capabilities.hpp"
#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/import/device_node.hpp"
#include "libclient/import/driver_rules.hpp"
#include "libclient/import/in_formats.hpp"

#include <cerrno>
#include <drm.h>
#include <sys/ioctl.h>

namespace dmb::import {
namespace {

int control(int drm, unsigned long request, void* argument)
{
    int done;
    do done = ::ioctl(drm, request, argument);
    while (done < 0 && (errno == EINTR || errno == EAGAIN));
    return done;
}

template <class T> std::uint64_t address(std::vector<T>& list) { return reinterpret_cast<std::uintptr_t>(list.data()); }

/// Asked twice: the first answer is the number.
Result<std::vector<std::uint32_t>> plane_formats(int drm, std::uint32_t plane)
{
    drm_mode_get_plane get{};
    get.plane_id = plane;
    if (control(drm, DRM_IOCTL_MODE_GETPLANE, &get) != 0)
        return fail(Errc::not_found, "the DRM device has no plane {}: errno {}; open its primary node, with universal planes",
                    plane, errno);
    std::vector<std::uint32_t> formats(get.count_format_types);
    get.format_type_ptr = address(formats);
    if (control(drm, DRM_IOCTL_MODE_GETPLANE, &get) != 0) return fail_errno(Errc::import_failed, "reading the plane", errno);
    formats.resize(std::min<std::size_t>(formats.size(), get.count_format_types));
    return formats;
}

/// The value of a plane's property; 0, which no blob has, when there is none of that name.
Result<std::uint64_t> plane_property(int drm, std::uint32_t plane, std::string_view name)
{
    drm_mode_obj_get_properties get{};
    get.obj_id = plane;
    get.obj_type = DRM_MODE_OBJECT_PLANE;
    if (control(drm, DRM_IOCTL_MODE_OBJ_GETPROPERTIES, &get) != 0)
        return fail_errno(Errc::import_failed, "reading the plane's properties", errno);
    std::vector<std::uint32_t> ids(get.count_props);
    std::vector<std::uint64_t> values(get.count_props);
    get.props_ptr = address(ids);
    get.prop_values_ptr = address(values);
    if (control(drm, DRM_IOCTL_MODE_OBJ_GETPROPERTIES, &get) != 0)
        return fail_errno(Errc::import_failed, "reading the plane's properties", errno);
    for (std::size_t i = 0; i < ids.size(); ++i) {
        drm_mode_get_property property{};
        property.prop_id = ids[i];
        if (control(drm, DRM_IOCTL_MODE_GETPROPERTY, &property) == 0 && name == property.name) return values[i];
    }
    return std::uint64_t{0};
}

Result<std::vector<std::byte>> read_blob(int drm, std::uint64_t id)
{
    drm_mode_get_blob get{};
    get.blob_id = static_cast<std::uint32_t>(id);
    if (control(drm, DRM_IOCTL_MODE_GETPROPBLOB, &get) != 0)
        return fail_errno(Errc::import_failed, "reading the plane's IN_FORMATS", errno);
    std::vector<std::byte> blob(get.length);
    get.data = address(blob);
    if (control(drm, DRM_IOCTL_MODE_GETPROPBLOB, &get) != 0)
        return fail_errno(Errc::import_failed, "reading the plane's IN_FORMATS", errno);
    return blob;
}

/// The largest framebuffer; nothing where the driver does not tell.
Extent largest(int drm)
{
    drm_mode_card_res resources{};
    if (control(drm, DRM_IOCTL_MODE_GETRESOURCES, &resources) != 0) return {};
    return {resources.max_width, resources.max_height};
}

Result<Capabilities> read_plane(int drm, std::uint32_t plane)
{
    Capabilities table;
    table.api = Api::kms;
    if (!describe_drm(table.device, drm)) return fail(Errc::bad_descriptor, "not a DRM device; pass an open /dev/dri/card*");
    table.rules = driver_rules(table.device);
    const Extent size = largest(drm);
    const auto add = [&](FourCC format, Modifier modifier) {
        table.rows.push_back({.kind = MemoryKind::dma_buf,
                              .format = format,
                              .modifier = modifier,
                              .plane_count = 0,
                              .external_only = false,
                              .usage = UsageFlag::scanout,
                              .max_size = size});
    };
    const auto formats = TRY(plane_formats(drm, plane));
    const std::uint64_t blob_id = TRY(plane_property(drm, plane, "IN_FORMATS"));
    for (const std::uint32_t format : formats) {
        add({format}, modifier_invalid);
        if (blob_id == 0) add({format}, modifier_linear);
    }
    if (blob_id == 0) return table;
    const auto blob = TRY(read_blob(drm, blob_id));
    for (const ListedFormat& listed : TRY(parse_in_formats(blob))) add(listed.format, listed.modifier);
    return table;
}

} // namespace
} // namespace dmb::import

extern "C" {

DMABROKER_API int dmabroker_kms_capabilities(int drm, uint32_t plane, dmabroker_capabilities** capabilities,
                                             dmabroker_error* error)
{
    return dmb::hand_out(capabilities, error, [&] { return dmb::import::read_plane(drm, plane); });
}
}
