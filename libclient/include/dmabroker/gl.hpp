// SPDX-License-Identifier: MIT
/** @file
 * gl.h for C++: `auto texture = dmabroker::gl::import(image, eglGetProcAddress);`
 */
#ifndef DMABROKER_GL_HPP
#define DMABROKER_GL_HPP

#include <dmabroker/capabilities.hpp>
#include <dmabroker/gl.h>
#include <dmabroker/import.hpp>

namespace dmabroker::gl {

/** What memory objects of the current context can be. */
inline Capabilities capabilities(dmabroker_get_proc get_proc)
{
    return Capabilities::made(dmabroker_gl_capabilities, get_proc);
}

/** A texture over an image's memory. The context it was made in must be current when it is destroyed. */
class Texture : public detail::Imported<dmabroker_get_proc, dmabroker_gl_texture, dmabroker_gl_import, dmabroker_gl_release> {
public:
    using Imported::Imported;
    std::uint32_t name() const noexcept { return made_.texture; }
};

/** `flags`: 0 or DMABROKER_IMPORT_WRITE. */
inline Texture import(const Image& image, dmabroker_get_proc get_proc, std::uint32_t flags = 0)
{
    return Texture(image, get_proc, flags);
}

/** A buffer object over a buffer's memory. The context it was made in must be current when it is destroyed. */
class Buffer : public detail::Imported<dmabroker_get_proc, dmabroker_gl_buffer, dmabroker_gl_import_buffer,
                                       dmabroker_gl_release_buffer> {
public:
    using Imported::Imported;
    std::uint32_t name() const noexcept { return made_.buffer; }
};

/** `flags`: 0 or DMABROKER_IMPORT_WRITE. */
inline Buffer import_buffer(const Image& image, dmabroker_get_proc get_proc, std::uint32_t flags = 0)
{
    return Buffer(image, get_proc, flags);
}

} // namespace dmabroker::gl

#endif
