// SPDX-License-Identifier: MIT
// Functions come from the application's eglGetProcAddress, core ones too (EGL 1.5, or
// EGL_KHR_get_all_proc_addresses), so that the library links no EGL. Nothing is
// kept in the display: an Egl lives for one call and owns nothing.
#include "libclient/import/egl_loader.hpp"

#include "libclient/import/device_node.hpp"
#include "libclient/import/proc.hpp"
#include "proto/image/format_table.hpp"

#include <algorithm>
#include <sys/stat.h>

namespace dmb::import {
namespace {

/// A word of a blank-separated list.
bool has_word(const char* list, std::string_view word)
{
    std::string_view rest = list ? list : "";
    while (!rest.empty()) {
        const std::string_view first = rest.substr(0, rest.find(' '));
        if (first == word) return true;
        rest.remove_prefix(std::min(rest.size(), first.size() + 1));
    }
    return false;
}

std::string_view error_word(EGLint error)
{
    switch (error) {
    case EGL_NOT_INITIALIZED: return "EGL_NOT_INITIALIZED";
    case EGL_BAD_ACCESS: return "EGL_BAD_ACCESS (the driver cannot take this memory)";
    case EGL_BAD_ALLOC: return "EGL_BAD_ALLOC (the driver cannot take this memory or format)";
    case EGL_BAD_ATTRIBUTE: return "EGL_BAD_ATTRIBUTE";
    case EGL_BAD_DISPLAY: return "EGL_BAD_DISPLAY";
    case EGL_BAD_MATCH: return "EGL_BAD_MATCH (format, modifier or layout unknown to the driver)";
    case EGL_BAD_PARAMETER: return "EGL_BAD_PARAMETER";
    default: return "an EGL error";
    }
}

/// dev_t of a device node; 0, which no device has, when there is none.
std::uint64_t node_number(const char* path)
{
    struct stat status;
    return path && ::stat(path, &status) == 0 ? status.st_rdev : 0;
}

} // namespace

Result<> Egl::load_functions()
{
    const dmabroker_get_proc get = app_.get_proc;
    const bool found = import::load(get, "eglGetError", get_error_) && import::load(get, "eglQueryString", query_string_) &&
                       import::load(get, "eglCreateImageKHR", create_image_) &&
                       import::load(get, "eglDestroyImageKHR", destroy_image_);
    if (found) return {};
    return fail(Errc::import_refused,
                "get_proc does not know eglGetError or eglCreateImageKHR; pass eglGetProcAddress of EGL 1.5");
}

Result<> Egl::check_extensions()
{
    const char* extensions = query_string_(app_.display, EGL_EXTENSIONS);
    if (!extensions) return fail(Errc::import_failed, "the EGL display is not initialised; call eglInitialize first");
    if (!has_word(extensions, "EGL_KHR_image_base"))
        return fail(Errc::import_refused, "this EGL display has no EGL_KHR_image_base");
    if (!has_word(extensions, "EGL_EXT_image_dma_buf_import"))
        return fail(Errc::import_refused, "this EGL display has no EGL_EXT_image_dma_buf_import");
    if (!has_word(extensions, "EGL_EXT_image_dma_buf_import_modifiers")) query_formats_ = nullptr, query_modifiers_ = nullptr;
    return {};
}

/// Null where EGL does not tell.
EGLDeviceEXT Egl::find_device() const
{
    const char* client = query_string_(EGL_NO_DISPLAY, EGL_EXTENSIONS);
    if (!has_word(client, "EGL_EXT_device_query") && !has_word(client, "EGL_EXT_device_base")) return nullptr;
    PFNEGLQUERYDISPLAYATTRIBEXTPROC query_display;
    EGLAttrib attribute = 0;
    if (!import::load(app_.get_proc, "eglQueryDisplayAttribEXT", query_display)) return nullptr;
    if (!query_display(app_.display, EGL_DEVICE_EXT, &attribute)) return nullptr;
    return reinterpret_cast<EGLDeviceEXT>(attribute);
}

/// Mesa names its software devices and its drivers; nobody else does.
void Egl::find_driver()
{
    const EGLDeviceEXT device = find_device();
    PFNEGLQUERYDEVICESTRINGEXTPROC query_device;
    if (!device || !import::load(app_.get_proc, "eglQueryDeviceStringEXT", query_device)) return;
    driver_.software = has_word(query_device(device, EGL_EXTENSIONS), "EGL_MESA_device_software");
    if (driver_name() != "kms_swrast") return;
    driver_.software = true;
    // Of a GBM display in software, EGL says that it has no node.
    const char* primary = query_device(device, EGL_DRM_DEVICE_FILE_EXT);
    driver_.mapping_device = primary ? node_number(primary) : app_.drm_node;
}

/// "radeonsi"; empty where the display does not tell.
std::string_view Egl::driver_name() const
{
    PFNEGLGETDISPLAYDRIVERNAMEPROC get_name;
    if (!has_word(query_string_(app_.display, EGL_EXTENSIONS), "EGL_MESA_query_driver")) return {};
    if (!import::load(app_.get_proc, "eglGetDisplayDriverName", get_name)) return {};
    const char* name = get_name(app_.display);
    return name ? name : std::string_view{};
}

Result<Egl> Egl::load(const dmabroker_egl* egl)
{
    Egl out;
    out.app_ = TRY(read_struct(egl));
    const dmabroker_get_proc get = out.app_.get_proc;
    if (!get || !out.app_.display) return fail(Errc::invalid_argument, "dmabroker_egl needs display and get_proc");
    TRY(out.load_functions());
    import::load(get, "eglQueryDmaBufFormatsEXT", out.query_formats_);
    import::load(get, "eglQueryDmaBufModifiersEXT", out.query_modifiers_);
    TRY(out.check_extensions());
    out.find_driver();
    return out;
}

std::vector<FourCC> Egl::formats() const
{
    EGLint count = 0;
    if (!query_formats_(app_.display, 0, nullptr, &count) || count <= 0) return {};
    std::vector<EGLint> listed(static_cast<std::size_t>(count));
    if (!query_formats_(app_.display, count, listed.data(), &count)) return {};
    listed.resize(std::min(listed.size(), static_cast<std::size_t>(std::max(count, 0))));
    std::vector<FourCC> out;
    for (const EGLint format : listed) out.push_back({static_cast<std::uint32_t>(format)});
    return out;
}

std::vector<Egl::ListedModifier> Egl::modifiers(FourCC format) const
{
    const auto code = static_cast<EGLint>(format.value);
    EGLint count = 0;
    if (!query_modifiers_(app_.display, code, 0, nullptr, nullptr, &count) || count <= 0) return {};
    std::vector<EGLuint64KHR> listed(static_cast<std::size_t>(count));
    std::vector<EGLBoolean> external(listed.size(), EGL_FALSE); // llvmpipe writes the modifier and leaves this as it was
    if (!query_modifiers_(app_.display, code, count, listed.data(), external.data(), &count)) return {};
    std::vector<ListedModifier> out;
    for (std::size_t i = 0; i < listed.size() && i < static_cast<std::size_t>(std::max(count, 0)); ++i)
        out.push_back({{listed[i]}, external[i] == EGL_TRUE});
    return out;
}

Result<Egl::Listing> Egl::find(FourCC format, Modifier modifier) const
{
    const FormatInfo* info = find_format(format);
    const bool yuv = info && info->model == ColourModel::yuv;
    if (!has_modifiers()) {
        if (modifier == modifier_linear || modifier == modifier_invalid) return Listing{yuv};
        return fail(Errc::import_refused, "modifier {} needs EGL_EXT_image_dma_buf_import_modifiers, which this display lacks",
                    to_string(modifier));
    }
    if (const auto listed = formats(); std::ranges::find(listed, format) == listed.end())
        return fail(Errc::import_refused, "this EGL driver does not import format {}", to_string(format));
    const auto listed = modifiers(format);
    for (const ListedModifier& one : listed)
        if (one.modifier == modifier) return Listing{one.external_only};
    // A driver that knows no modifiers lists none; the implicit layout is its own then.
    if (modifier == modifier_invalid) return Listing{listed.empty() ? yuv : listed[0].external_only};
    if (modifier == modifier_linear && listed.empty()) return Listing{yuv};
    return fail(Errc::import_refused, "this EGL driver does not import format {} with modifier {}", to_string(format),
                to_string(modifier));
}

namespace {

std::string_view printable(const char* text)
{
    const std::string_view view = text ? text : "";
    return is_printable(view) ? view : std::string_view{};
}

/// EGL_EXT_device_persistent_id: what ties the device to a Vulkan one.
void read_uuids(Device& device, EGLDeviceEXT of, dmabroker_get_proc get)
{
    PFNEGLQUERYDEVICEBINARYEXTPROC query;
    if (!import::load(get, "eglQueryDeviceBinaryEXT", query)) return;
    EGLint size = 0;
    for (const auto& [name, uuid] :
         {std::pair(EGL_DEVICE_UUID_EXT, &device.id.device_uuid), std::pair(EGL_DRIVER_UUID_EXT, &device.id.driver_uuid)})
        if (Uuid read{}; query(of, name, static_cast<EGLint>(read.size()), read.data(), &size) && size == 16) *uuid = read;
}

} // namespace

Device Egl::describe() const
{
    Device out;
    out.software = driver_.software;
    out.driver = printable(query_string_(app_.display, EGL_VENDOR));
    if (const std::string_view name = driver_name(); !name.empty() && is_printable(name)) out.driver = name;
    out.version = std::string_view(fmt::format("{}, EGL {}", printable(query_string_(app_.display, EGL_VENDOR)),
                                               printable(query_string_(app_.display, EGL_VERSION))));
    if (app_.drm_node) describe_node(out, app_.drm_node);
    const EGLDeviceEXT device = find_device();
    PFNEGLQUERYDEVICESTRINGEXTPROC query;
    if (!device || !import::load(app_.get_proc, "eglQueryDeviceStringEXT", query)) return out;
    const char* extensions = query(device, EGL_EXTENSIONS);
    if (has_word(extensions, "EGL_EXT_device_persistent_id")) read_uuids(out, device, app_.get_proc);
    if (app_.drm_node) return out;
    if (has_word(extensions, "EGL_EXT_device_drm")) describe_node(out, query(device, EGL_DRM_DEVICE_FILE_EXT));
    if (!out.id.render_node && has_word(extensions, "EGL_EXT_device_drm_render_node"))
        describe_node(out, query(device, EGL_DRM_RENDER_NODE_FILE_EXT));
    return out;
}

Result<EGLImage> Egl::create(const EGLint* attributes) const
{
    const EGLImage image = create_image_(app_.display, EGL_NO_CONTEXT, EGL_LINUX_DMA_BUF_EXT, nullptr, attributes);
    if (image != EGL_NO_IMAGE) return image;
    return failed("eglCreateImageKHR");
}

std::unexpected<Error> Egl::failed(std::string_view call) const
{
    const EGLint error = get_error_();
    return fail(Errc::import_failed, "{}: {}, {:#x}", call, error_word(error), error);
}

bool Egl::has_extension(std::string_view name) const { return has_word(query_string_(app_.display, EGL_EXTENSIONS), name); }

} // namespace dmb::import
