// SPDX-License-Identifier: MIT
/** @file
 * egl.h for C++: `auto images = dmabroker::egl::import(image, {display, eglGetProcAddress});`
 */
#ifndef DMABROKER_EGL_HPP
#define DMABROKER_EGL_HPP

#include <dmabroker/capabilities.hpp>
#include <dmabroker/egl.h>

namespace dmabroker::egl {

struct Display {
    void* display = nullptr;               /**< EGLDisplay, initialised */
    dmabroker_get_proc get_proc = nullptr; /**< eglGetProcAddress */
    std::uint64_t drm_node = 0;            /**< GBM displays: st_rdev of the DRM node below */
};

/** What the display lists for import. */
inline Capabilities capabilities(Display display)
{
    const dmabroker_egl egl{sizeof egl, display.display, display.get_proc, display.drm_node};
    return Capabilities::made(dmabroker_egl_capabilities, &egl);
}

/** In the current GLES context; the caller deletes `name`. */
struct Texture {
    std::uint32_t name = 0;
    std::uint32_t target = 0; /**< GL_TEXTURE_2D or GL_TEXTURE_EXTERNAL_OES */
};

/** The EGLImages of one image; destroyed with it. Textures made from them stay valid. */
class Images {
public:
    Images(Images&& other) noexcept : egl_(other.egl_), images_(std::exchange(other.images_, {})) {}
    Images& operator=(Images&& other) noexcept
    {
        std::swap(egl_, other.egl_);
        std::swap(images_, other.images_);
        return *this;
    }
    ~Images()
    {
        if (images_.count) dmabroker_egl_release(&egl_, &images_);
    }

    Texture texture(std::uint32_t index = 0) const
    {
        Texture texture;
        detail::call(dmabroker_egl_texture, &egl_, &images_, index, &texture.name, &texture.target);
        return texture;
    }
    const dmabroker_egl_images& get() const noexcept { return images_; }
    const dmabroker_egl_images* operator->() const noexcept { return &images_; }

private:
    friend Images import(const Image&, Display, std::uint32_t);
    Images(const Image& image, Display display, std::uint32_t flags)
        : egl_{sizeof egl_, display.display, display.get_proc, display.drm_node}
    {
        images_.struct_size = sizeof images_;
        detail::call(dmabroker_egl_import, image.native(), &egl_, flags, &images_);
    }
    dmabroker_egl egl_{};
    dmabroker_egl_images images_{};
};

/** `flags`: enum dmabroker_import_flags. */
inline Images import(const Image& image, Display display, std::uint32_t flags = 0) { return Images(image, display, flags); }

} // namespace dmabroker::egl

#endif
