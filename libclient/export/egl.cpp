// SPDX-License-Identifier: MIT
// dmabroker_egl_export: GL textures and EGLImages through EGL_MESA_image_dma_buf_export. The extension tells format,
// modifier, planes, strides and offsets; it does not tell the size, so the caller does. A descriptor of -1 behind the
// first means "the same memory again". An EGLImage that is made here for a texture ends with the call: the dma-buf
// keeps the memory.
#include "libclient/export/exported.hpp"

#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/import/egl_loader.hpp"
#include "libclient/import/proc.hpp"

#include <array>

namespace dmb::exporting {
namespace {

using import::Egl;

struct Functions {
    PFNEGLEXPORTDMABUFIMAGEQUERYMESAPROC query;
    PFNEGLEXPORTDMABUFIMAGEMESAPROC export_image;
    PFNEGLCREATEIMAGEKHRPROC create;
    PFNEGLDESTROYIMAGEKHRPROC destroy;
};

Result<Functions> load_functions(const Egl& egl, dmabroker_get_proc get)
{
    Functions f{};
    if (!egl.has_extension("EGL_MESA_image_dma_buf_export"))
        return fail(Errc::unsupported, "this EGL display has no EGL_MESA_image_dma_buf_export; allocate from the broker and "
                                       "draw into that instead");
    const bool found = import::load(get, "eglExportDMABUFImageQueryMESA", f.query) &&
                       import::load(get, "eglExportDMABUFImageMESA", f.export_image) &&
                       import::load(get, "eglCreateImageKHR", f.create) && import::load(get, "eglDestroyImageKHR", f.destroy);
    if (!found) return fail(Errc::import_refused, "get_proc does not know eglExportDMABUFImageMESA; pass eglGetProcAddress");
    return f;
}

/// The texture as an EGLImage for as long as the export takes; the dma-buf keeps the memory.
class Source {
public:
    static Result<Source> create(const Functions& f, const dmabroker_egl& egl, const dmabroker_egl_source& from,
                                 const Egl& loaded)
    {
        if (!from.image == !from.texture) return fail(Errc::invalid_argument, "pass either an EGLImage or a texture");
        if (from.image) return Source(f, egl.display, from.image, false);
        if (!from.context) return fail(Errc::invalid_argument, "a texture needs the EGLContext that it lives in");
        if (!loaded.has_extension("EGL_KHR_gl_texture_2D_image"))
            return fail(Errc::unsupported, "this EGL display has no EGL_KHR_gl_texture_2D_image");
        const EGLint attributes[] = {EGL_IMAGE_PRESERVED_KHR, EGL_TRUE, EGL_NONE};
        const EGLImage image = f.create(egl.display, from.context, EGL_GL_TEXTURE_2D_KHR,
                                        reinterpret_cast<EGLClientBuffer>(std::uintptr_t{from.texture}), attributes);
        if (image == EGL_NO_IMAGE) return loaded.failed("eglCreateImageKHR (is the texture complete?)");
        return Source(f, egl.display, image, true);
    }
    Source(Source&& other) noexcept : f_(other.f_), display_(other.display_), image_(other.image_), own_(other.own_)
    {
        other.own_ = false;
    }
    Source& operator=(Source&&) = delete;
    ~Source()
    {
        if (own_) f_->destroy(display_, image_);
    }
    EGLImage image() const { return image_; }

private:
    Source(const Functions& f, EGLDisplay display, EGLImage image, bool own)
        : f_(&f), display_(display), image_(image), own_(own)
    {
    }
    const Functions* f_;
    EGLDisplay display_;
    EGLImage image_;
    bool own_;
};

struct Shape {
    FourCC format;
    Modifier modifier = modifier_invalid;
    std::size_t planes = 0;
};

Result<Shape> query(const Functions& f, const Egl& egl, EGLDisplay display, EGLImage image)
{
    int format = 0, count = 0;
    std::array<EGLuint64KHR, max_planes> modifiers;
    modifiers.fill(modifier_invalid.value); // what a driver leaves untouched it does not know
    if (!f.query(display, image, &format, &count, nullptr)) return egl.failed("eglExportDMABUFImageQueryMESA");
    if (count < 1 || count > static_cast<int>(max_planes))
        return fail(Errc::bad_layout, "the driver exports {} planes; 1 to {} are possible", count, max_planes);
    if (!f.query(display, image, &format, &count, modifiers.data())) return egl.failed("eglExportDMABUFImageQueryMESA");
    const auto planes = static_cast<std::size_t>(count);
    for (std::size_t i = 1; i < planes; ++i)
        if (modifiers[i] != modifiers[0])
            return fail(Errc::unsupported, "the driver exports planes with different modifiers, {} and {}",
                        to_string(Modifier{modifiers[0]}), to_string(Modifier{modifiers[i]}));
    return Shape{{static_cast<std::uint32_t>(format)}, {modifiers[0]}, planes};
}

Result<> add_planes(Exported& exported, const Functions& f, const Egl& egl, EGLDisplay display, EGLImage image,
                    std::size_t planes)
{
    std::array<int, max_planes> fds{-1, -1, -1, -1};
    std::array<EGLint, max_planes> strides{}, offsets{};
    if (!f.export_image(display, image, fds.data(), strides.data(), offsets.data()))
        return egl.failed("eglExportDMABUFImageMESA");
    std::array<UniqueFd, max_planes> owned;
    for (std::size_t i = 0; i < max_planes; ++i) owned[i] = UniqueFd::adopt(fds[i]);
    std::uint8_t memory = 0;
    for (std::size_t i = 0; i < planes; ++i) {
        if (owned[i]) memory = TRY(exported.add_memory(std::move(owned[i])));
        else if (i == 0) return fail(Errc::backend_failed, "eglExportDMABUFImageMESA gave no descriptor");
        if (strides[i] < 0 || offsets[i] < 0)
            return fail(Errc::bad_layout, "plane {}: the driver exports stride {}, offset {}", i, strides[i], offsets[i]);
        TRY(exported.add_plane(memory, static_cast<std::uint64_t>(strides[i]), static_cast<std::uint64_t>(offsets[i])));
    }
    return {};
}

Result<std::unique_ptr<dmabroker_image>> export_egl(Client& client, const dmabroker_egl* egl, const dmabroker_egl_source* given,
                                                    const dmabroker_export_options* options)
{
    const dmabroker_egl_source from = TRY(read_struct(given));
    const dmabroker_export_options wanted = TRY(read_optional(options));
    const Egl loaded = TRY(Egl::load(egl));
    const Functions f = TRY(load_functions(loaded, loaded.app().get_proc));
    const Source source = TRY(Source::create(f, loaded.app(), from, loaded));
    const Shape shape = TRY(query(f, loaded, loaded.app().display, source.image()));
    Exported exported = TRY(Exported::begin({from.width, from.height}, shape.format, shape.modifier, wanted));
    exported.set_device(loaded.describe().id);
    TRY(add_planes(exported, f, loaded, loaded.app().display, source.image(), shape.planes));
    return std::move(exported).register_at(client);
}

} // namespace
} // namespace dmb::exporting

extern "C" {

DMABROKER_API int dmabroker_egl_export(dmabroker_client* client, const dmabroker_egl* egl, const dmabroker_egl_source* source,
                                       const dmabroker_export_options* options, dmabroker_image** image, dmabroker_error* error)
{
    return dmb::guard(error, [&]() -> dmb::Result<> {
        const dmb::Turn turn = TRY(dmb::Turn::with(client));
        TRY(dmb::require(image, "image"));
        *image = nullptr;
        *image = TRY(dmb::exporting::export_egl(*turn, egl, source, options)).release();
        return {};
    });
}
}
