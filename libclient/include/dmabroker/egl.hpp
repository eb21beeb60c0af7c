// SPDX-License-Identifier: MIT
/** @file
 * egl.h for C++: `auto images = dmabroker::egl::import(image, {display, eglGetProcAddress});`
 */
#ifndef DMABROKER_EGL_HPP
#define DMABROKER_EGL_HPP

#include <dmabroker/capabilities.hpp>
#include <dmabroker/egl.h>
#include <dmabroker/export.hpp>
#include <dmabroker/import.hpp>

namespace dmabroker::egl {

struct Display {
    void* display = nullptr;               /**< EGLDisplay, initialised */
    dmabroker_get_proc get_proc = nullptr; /**< eglGetProcAddress */
    std::uint64_t drm_node = 0;            /**< GBM displays: st_rdev of the DRM node below */

    dmabroker_egl native() const noexcept { return {sizeof(dmabroker_egl), display, get_proc, drm_node}; }
};

/** What the display lists for import. */
inline Capabilities capabilities(Display display)
{
    const dmabroker_egl egl = display.native();
    return Capabilities::made(dmabroker_egl_capabilities, &egl);
}

/** In the current GLES context; the caller deletes `name`. */
struct Texture {
    std::uint32_t name = 0;
    std::uint32_t target = 0; /**< GL_TEXTURE_2D or GL_TEXTURE_EXTERNAL_OES */
};

/** The EGLImages of one image; destroyed with it. Textures made from them stay valid. */
class Images : public detail::Imported<Display, dmabroker_egl_images, dmabroker_egl_import, dmabroker_egl_release> {
public:
    using Imported::Imported;
    Texture texture(std::uint32_t index = 0) const
    {
        Texture texture;
        detail::call(dmabroker_egl_texture, &context_, &made_, index, &texture.name, &texture.target);
        return texture;
    }
};

/** `flags`: enum dmabroker_import_flags. */
inline Images import(const Image& image, Display display, std::uint32_t flags = 0) { return Images(image, display, flags); }

/** Of an EGLImage or a texture; see dmabroker_egl_export. */
inline Image export_image(Client& client, Display display, dmabroker_egl_source source, const ExportOptions& options = {})
{
    const dmabroker_egl egl = display.native();
    source.struct_size = sizeof source;
    return detail::exported(dmabroker_egl_export, options, client, &egl, &source);
}

} // namespace dmabroker::egl

#endif
