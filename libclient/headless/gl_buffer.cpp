// SPDX-License-Identifier: MIT
// Bytes of a GL buffer that cannot be mapped, by way of one that can (Bounce, for the time of the call). The context of
// the buffer must be current; the bindings of COPY_READ and COPY_WRITE are left at 0. Used by the prover and by tests;
// applications bind their buffers to shaders instead.
#include "libclient/headless/gl_buffer.hpp"

#include <cstring>
#include <stdexcept>

namespace dmb::gpu {
namespace {

/// A buffer that the CPU can get at, bound to `target` while it lives.
class Bounce {
public:
    Bounce(const Gl& gl, GLenum target, std::size_t size, const void* data) : gl_(gl), target_(target)
    {
        gl_.GenBuffers(1, &name_);
        gl_.BindBuffer(target_, name_);
        gl_.BufferData(target_, static_cast<GLsizeiptr>(size), data, GL_STREAM_READ);
    }
    Bounce(const Bounce&) = delete;
    Bounce& operator=(const Bounce&) = delete;
    ~Bounce()
    {
        gl_.BindBuffer(target_, 0);
        gl_.DeleteBuffers(1, &name_);
    }

private:
    const Gl& gl_;
    GLenum target_;
    GLuint name_ = 0;
};

void copy(const Gl& gl, GLenum outside, GLuint buffer, std::size_t size)
{
    gl.BindBuffer(outside, buffer);
    gl.CopyBufferSubData(GL_COPY_READ_BUFFER, GL_COPY_WRITE_BUFFER, 0, 0, static_cast<GLsizeiptr>(size));
    gl.BindBuffer(outside, 0);
    gl.Finish();
    if (const GLenum error = gl.GetError(); error != GL_NO_ERROR)
        throw std::runtime_error("glCopyBufferSubData: GL error " + std::to_string(error));
}

} // namespace

void read_buffer(const Gl& gl, GLuint buffer, std::span<std::byte> to)
{
    const Bounce bounce(gl, GL_COPY_WRITE_BUFFER, to.size(), nullptr);
    copy(gl, GL_COPY_READ_BUFFER, buffer, to.size());
    const void* data = gl.MapBufferRange(GL_COPY_WRITE_BUFFER, 0, static_cast<GLsizeiptr>(to.size()), GL_MAP_READ_BIT);
    if (!data) throw std::runtime_error("glMapBufferRange failed");
    std::memcpy(to.data(), data, to.size());
    gl.UnmapBuffer(GL_COPY_WRITE_BUFFER);
}

void write_buffer(const Gl& gl, GLuint buffer, std::span<const std::byte> from)
{
    const Bounce bounce(gl, GL_COPY_READ_BUFFER, from.size(), from.data());
    copy(gl, GL_COPY_WRITE_BUFFER, buffer, from.size());
}

} // namespace dmb::gpu
