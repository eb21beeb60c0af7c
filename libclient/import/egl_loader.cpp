// SPDX-License-Identifier: MIT
// Functions come from the application's eglGetProcAddress, core ones too (EGL 1.5, or
// EGL_KHR_get_all_proc_addresses), so that the library links no EGL. What the display is allocated
// nothing for: an Egl lives for one call.
#include "libclient/import/egl_loader.hpp"

#include "libclient/import/proc.hpp"
#include "proto/image/format_table.hpp"

#include <algorithm>
#include <sys/stat.h>
#include <vector>

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

Result<> Egl::load_functions(dmabroker_get_proc get)
{
    const bool found = import::load(get, "eglGetError", get_error_) && import::load(get, "eglQueryString", query_string_) &&
                       import::load(get, "eglCreateImageKHR", create_image_) &&
                       import::load(get, "eglDestroyImageKHR", destroy_image_);
    if (found) return {};
    return fail(Errc::import_refused,
                "get_proc does not know eglGetError or eglCreateImageKHR; pass eglGetProcAddress of EGL 1.5");
}

Result<> Egl::check_extensions()
{
    const char* extensions = query_string_(display_, EGL_EXTENSIONS);
    if (!extensions) return fail(Errc::import_failed, "the EGL display is not initialised; call eglInitialize first");
    if (!has_word(extensions, "EGL_KHR_image_base"))
        return fail(Errc::import_refused, "this EGL display has no EGL_KHR_image_base");
    if (!has_word(extensions, "EGL_EXT_image_dma_buf_import"))
        return fail(Errc::import_refused, "this EGL display has no EGL_EXT_image_dma_buf_import");
    if (!has_word(extensions, "EGL_EXT_image_dma_buf_import_modifiers")) query_formats_ = nullptr, query_modifiers_ = nullptr;
    return {};
}

/// Mesa names its software devices and its drivers; nobody else does.
void Egl::find_driver(const dmabroker_egl& egl)
{
    const dmabroker_get_proc get = egl.get_proc;
    const char* client = query_string_(EGL_NO_DISPLAY, EGL_EXTENSIONS);
    if (!has_word(client, "EGL_EXT_device_query") && !has_word(client, "EGL_EXT_device_base")) return;
    PFNEGLQUERYDISPLAYATTRIBEXTPROC query_display;
    PFNEGLQUERYDEVICESTRINGEXTPROC query_device;
    if (!import::load(get, "eglQueryDisplayAttribEXT", query_display)) return;
    if (!import::load(get, "eglQueryDeviceStringEXT", query_device)) return;
    EGLAttrib attribute = 0;
    if (!query_display(display_, EGL_DEVICE_EXT, &attribute) || attribute == 0) return;
    const auto device = reinterpret_cast<EGLDeviceEXT>(attribute);
    driver_.software = has_word(query_device(device, EGL_EXTENSIONS), "EGL_MESA_device_software");
    if (!is_kms_swrast(get)) return;
    driver_.software = true;
    // Of a GBM display in software, EGL says that it has no node.
    const char* primary = query_device(device, EGL_DRM_DEVICE_FILE_EXT);
    driver_.mapping_device = primary ? node_number(primary) : egl.drm_node;
}

bool Egl::is_kms_swrast(dmabroker_get_proc get) const
{
    PFNEGLGETDISPLAYDRIVERNAMEPROC driver_name;
    if (!has_word(query_string_(display_, EGL_EXTENSIONS), "EGL_MESA_query_driver")) return false;
    if (!import::load(get, "eglGetDisplayDriverName", driver_name)) return false;
    const char* name = driver_name(display_);
    return name && std::string_view(name) == "kms_swrast";
}

Result<Egl> Egl::load(const dmabroker_egl* egl)
{
    if (!egl || egl->struct_size < sizeof(dmabroker_egl) || !egl->get_proc || !egl->display)
        return fail(Errc::invalid_argument, "dmabroker_egl needs struct_size, display and get_proc");
    Egl out;
    out.display_ = egl->display;
    TRY(out.load_functions(egl->get_proc));
    import::load(egl->get_proc, "eglQueryDmaBufFormatsEXT", out.query_formats_);
    import::load(egl->get_proc, "eglQueryDmaBufModifiersEXT", out.query_modifiers_);
    TRY(out.check_extensions());
    out.find_driver(*egl);
    return out;
}

bool Egl::lists_format(FourCC format) const
{
    EGLint count = 0;
    if (!query_formats_(display_, 0, nullptr, &count) || count <= 0) return false;
    std::vector<EGLint> formats(static_cast<std::size_t>(count));
    if (!query_formats_(display_, count, formats.data(), &count)) return false;
    return std::ranges::find(formats, static_cast<EGLint>(format.value)) != formats.end();
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
    if (!lists_format(format))
        return fail(Errc::import_refused, "this EGL driver does not import format {}", to_string(format));
    EGLuint64KHR modifiers[256];
    EGLBoolean external[256] = {}; // llvmpipe writes the modifier and leaves this as it was
    EGLint count = 0;
    if (!query_modifiers_(display_, static_cast<EGLint>(format.value), 256, modifiers, external, &count)) count = 0;
    for (EGLint i = 0; i < count; ++i)
        if (modifiers[i] == modifier.value) return Listing{external[i] == EGL_TRUE};
    // A driver that knows no modifiers lists none; the implicit layout is its own then.
    if (modifier == modifier_invalid) return Listing{count > 0 ? external[0] == EGL_TRUE : yuv};
    if (modifier == modifier_linear && count == 0) return Listing{yuv};
    return fail(Errc::import_refused, "this EGL driver does not import format {} with modifier {}", to_string(format),
                to_string(modifier));
}

Result<EGLImage> Egl::create(const EGLint* attributes) const
{
    const EGLImage image = create_image_(display_, EGL_NO_CONTEXT, EGL_LINUX_DMA_BUF_EXT, nullptr, attributes);
    if (image != EGL_NO_IMAGE) return image;
    const EGLint error = get_error_();
    return fail(Errc::import_failed, "eglCreateImageKHR: {}, {:#x}", error_word(error), error);
}

} // namespace dmb::import
