// SPDX-License-Identifier: MIT
// dmabroker_gl_import_buffer: opaque Vulkan memory as a GL buffer object (EXT_memory_object, glBufferStorageMemEXT).
// Buffer and memory object are the caller's, until dmabroker_gl_release_buffer; on failure nothing remains. The
// caller's binding is restored. What textures and buffers share is gl_memory.cpp's.
#include "libclient/arguments.hpp"
#include "libclient/error.hpp"
#include "libclient/import/gl_memory.hpp"

namespace dmb::import {
namespace {

void destroy(const Gl& gl, const MemoryObjects& memory, dmabroker_gl_buffer& buffer)
{
    if (buffer.buffer) gl.delete_buffers(1, &buffer.buffer);
    if (buffer.memory) memory.destroy(1, &buffer.memory);
    buffer.buffer = buffer.memory = 0;
}

Result<> fill(const dmabroker_image& image, const Gl& gl, const MemoryObjects& memory, dmabroker_gl_buffer& out)
{
    TRY(import_memory(image, gl, memory, out.memory));
    GLint bound = 0;
    gl.get_integer(GL_COPY_WRITE_BUFFER_BINDING, &bound);
    gl.gen_buffers(1, &out.buffer);
    gl.bind_buffer(GL_COPY_WRITE_BUFFER, out.buffer);
    out.size = image.image.desc().size.width;
    memory.buffer_storage(GL_COPY_WRITE_BUFFER, static_cast<GLsizeiptr>(out.size), out.memory, 0);
    gl.bind_buffer(GL_COPY_WRITE_BUFFER, static_cast<GLuint>(bound));
    return gl.check("glBufferStorageMemEXT");
}

Result<> import_buffer(const dmabroker_image* image, dmabroker_get_proc get, std::uint32_t flags, dmabroker_gl_buffer* out)
{
    return fill_struct(out, [&](dmabroker_gl_buffer& made) -> Result<> {
        TRY(require(image, "image"));
        TRY(check_buffer(*image, flags));
        if (const MemoryKind kind = image->image.desc().kind; kind != MemoryKind::opaque)
            return fail(Errc::import_refused,
                        "{} memory is no GL memory object; allocate with the table of "
                        "dmabroker_gl_capabilities as participant",
                        name(kind));
        const Gl gl = TRY(load_gl(get));
        const MemoryObjects memory = TRY(load_memory_objects(get));
        TRY(check_context(*image, gl, memory));
        const Result<> done = fill(*image, gl, memory, made);
        if (!done) destroy(gl, memory, made);
        return done;
    });
}

Result<> release_buffer(dmabroker_get_proc get, dmabroker_gl_buffer* given)
{
    dmabroker_gl_buffer buffer = TRY(read_struct(given));
    const Gl gl = TRY(load_gl(get));
    const MemoryObjects memory = TRY(load_memory_objects(get));
    destroy(gl, memory, buffer);
    return write_struct(buffer, given);
}

} // namespace
} // namespace dmb::import

extern "C" {

DMABROKER_API int dmabroker_gl_import_buffer(const dmabroker_image* image, dmabroker_get_proc get_proc, uint32_t flags,
                                             dmabroker_gl_buffer* buffer, dmabroker_error* error)
{
    return dmb::guard(error, [&] { return dmb::import::import_buffer(image, get_proc, flags, buffer); });
}

DMABROKER_API void dmabroker_gl_release_buffer(dmabroker_get_proc get_proc, dmabroker_gl_buffer* buffer)
{
    dmb::guard(nullptr, [&] { return dmb::import::release_buffer(get_proc, buffer); });
}
}
