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

/** A buffer object over a buffer's memory. The context it was made in must be current when it is destroyed. */
class Buffer {
public:
    Buffer(Buffer&& other) noexcept : get_proc_(other.get_proc_), buffer_(std::exchange(other.buffer_, {})) {}
    Buffer& operator=(Buffer&& other) noexcept
    {
        std::swap(get_proc_, other.get_proc_);
        std::swap(buffer_, other.buffer_);
        return *this;
    }
    ~Buffer()
    {
        if (buffer_.buffer) dmabroker_gl_release_buffer(get_proc_, &buffer_);
    }

    std::uint32_t name() const noexcept { return buffer_.buffer; }
    const dmabroker_gl_buffer& get() const noexcept { return buffer_; }
    const dmabroker_gl_buffer* operator->() const noexcept { return &buffer_; }

private:
    friend Buffer import_buffer(const Image&, dmabroker_get_proc, std::uint32_t);
    Buffer(const Image& image, dmabroker_get_proc get_proc, std::uint32_t flags) : get_proc_(get_proc)
    {
        buffer_.struct_size = sizeof buffer_;
        detail::call(dmabroker_gl_import_buffer, image.native(), get_proc, flags, &buffer_);
    }
    dmabroker_get_proc get_proc_;
    dmabroker_gl_buffer buffer_{};
};

/** `flags`: 0 or DMABROKER_IMPORT_WRITE. */
inline Buffer import_buffer(const Image& image, dmabroker_get_proc get_proc, std::uint32_t flags = 0)
{
    return Buffer(image, get_proc, flags);
}

} // namespace dmabroker::gl

#endif
