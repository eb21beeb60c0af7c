// SPDX-License-Identifier: MIT
/** @file
 * gl.h for C++: `auto texture = dmabroker::gl::import(image, eglGetProcAddress);`
 */
#ifndef DMABROKER_GL_HPP
#define DMABROKER_GL_HPP

#include <dmabroker/capabilities.hpp>
#include <dmabroker/gl.h>

namespace dmabroker::gl {

/** What memory objects of the current context can be. */
inline Capabilities capabilities(dmabroker_get_proc get_proc)
{
    return Capabilities::made(dmabroker_gl_capabilities, get_proc);
}

/** A texture over an image's memory. The context it was made in must be current when it is destroyed. */
class Texture {
public:
    Texture(Texture&& other) noexcept : get_proc_(other.get_proc_), texture_(std::exchange(other.texture_, {})) {}
    Texture& operator=(Texture&& other) noexcept
    {
        std::swap(get_proc_, other.get_proc_);
        std::swap(texture_, other.texture_);
        return *this;
    }
    ~Texture()
    {
        if (texture_.texture) dmabroker_gl_release(get_proc_, &texture_);
    }

    std::uint32_t name() const noexcept { return texture_.texture; }
    const dmabroker_gl_texture& get() const noexcept { return texture_; }
    const dmabroker_gl_texture* operator->() const noexcept { return &texture_; }

private:
    friend Texture import(const Image&, dmabroker_get_proc, std::uint32_t);
    Texture(const Image& image, dmabroker_get_proc get_proc, std::uint32_t flags) : get_proc_(get_proc)
    {
        texture_.struct_size = sizeof texture_;
        detail::call(dmabroker_gl_import, image.native(), get_proc, flags, &texture_);
    }
    dmabroker_get_proc get_proc_;
    dmabroker_gl_texture texture_{};
};

/** `flags`: 0 or DMABROKER_IMPORT_WRITE. */
inline Texture import(const Image& image, dmabroker_get_proc get_proc, std::uint32_t flags = 0)
{
    return Texture(image, get_proc, flags);
}

} // namespace dmabroker::gl

#endif
