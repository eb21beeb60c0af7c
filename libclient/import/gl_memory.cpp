// SPDX-License-Identifier: MIT
// GL memory objects over opaque memory, for gl.cpp and gl_buffer.cpp: the functions, and the two checks before any of
// them is called. The context must list the extension, because eglGetProcAddress answers for functions of any driver;
// and driver and device must be the image's, because another driver would misread its memory. The objects are the
// callers'.
#include "libclient/import/gl_memory.hpp"

#include "libclient/arguments.hpp"
#include "libclient/import/proc.hpp"

namespace dmb::import {
namespace {

/// eglGetProcAddress answers for functions of any driver; only the context's list is the truth.
Result<> check_extension(const Gl& gl)
{
    GLint count = 0;
    gl.get_integer(GL_NUM_EXTENSIONS, &count);
    if (gl.get_error() != GL_NO_ERROR || count == 0)
        return fail(Errc::import_failed, "no OpenGL context is current; make one current");
    for (GLint i = 0; i < count; ++i) {
        const GLubyte* name = gl.get_string(GL_EXTENSIONS, static_cast<GLuint>(i));
        if (name && std::string_view(reinterpret_cast<const char*>(name)) == "GL_EXT_memory_object_fd") return {};
    }
    return fail(Errc::import_refused, "this OpenGL driver has no GL_EXT_memory_object_fd");
}

/// A context over several devices lists each of them; the image must be on one.
Result<> check_uuids(const dmabroker_image& image, const Gl& gl, const MemoryObjects& memory)
{
    Uuid driver{}, device{};
    memory.get_bytes(GL_DRIVER_UUID_EXT, driver.data());
    GLint count = 0;
    gl.get_integer(GL_NUM_DEVICE_UUIDS_EXT, &count);
    Result<> result = fail(Errc::import_failed, "this OpenGL context names no device");
    for (GLint i = 0; i < count; ++i) {
        memory.get_indexed_bytes(GL_DEVICE_UUID_EXT, static_cast<GLuint>(i), device.data());
        result = check_same_device(image, "OpenGL", device, driver);
        if (result) break;
    }
    return result;
}

} // namespace

Result<Gl> load_gl(dmabroker_get_proc get)
{
    TRY(require(reinterpret_cast<const void*>(get), "get_proc"));
    Gl gl{};
    const bool found = load(get, "glGetError", gl.get_error) && load(get, "glGetIntegerv", gl.get_integer) &&
                       load(get, "glGetStringi", gl.get_string) && load(get, "glGenTextures", gl.gen_textures) &&
                       load(get, "glDeleteTextures", gl.delete_textures) && load(get, "glBindTexture", gl.bind_texture) &&
                       load(get, "glTexParameteri", gl.tex_parameter) && load(get, "glGenBuffers", gl.gen_buffers) &&
                       load(get, "glDeleteBuffers", gl.delete_buffers) && load(get, "glBindBuffer", gl.bind_buffer);
    if (!found) return fail(Errc::import_refused, "get_proc does not know the functions of OpenGL ES 3 or OpenGL 3");
    return gl;
}

Result<MemoryObjects> load_memory_objects(dmabroker_get_proc get)
{
    MemoryObjects m{};
    const bool found =
        load(get, "glGetUnsignedBytevEXT", m.get_bytes) && load(get, "glGetUnsignedBytei_vEXT", m.get_indexed_bytes) &&
        load(get, "glCreateMemoryObjectsEXT", m.create) && load(get, "glDeleteMemoryObjectsEXT", m.destroy) &&
        load(get, "glMemoryObjectParameterivEXT", m.set_parameter) && load(get, "glImportMemoryFdEXT", m.import_fd) &&
        load(get, "glTexStorageMem2DEXT", m.texture_storage) && load(get, "glBufferStorageMemEXT", m.buffer_storage);
    if (!found) return fail(Errc::import_refused, "get_proc does not know the functions of GL_EXT_memory_object_fd");
    return m;
}

Result<> Gl::check(std::string_view call) const
{
    const GLenum error = get_error();
    if (error == GL_NO_ERROR) return {};
    return fail(Errc::import_failed, "{}: GL error {:#x}; the driver cannot take this memory", call, error);
}

Result<> check_context(const dmabroker_image& image, const Gl& gl, const MemoryObjects& memory)
{
    for (int i = 0; i < 16 && gl.get_error() != GL_NO_ERROR; ++i) {} // what was wrong before is not this call's
    TRY(check_extension(gl));
    return check_uuids(image, gl, memory);
}

/// GL owns the duplicated descriptor once glImportMemoryFdEXT succeeded.
Result<> import_memory(const dmabroker_image& image, const Gl& gl, const MemoryObjects& objects, GLuint& memory)
{
    const ImageDesc& desc = image.image.desc();
    UniqueFd fd = TRY(duplicate(image.image.fd(0)));
    objects.create(1, &memory);
    const GLint dedicated = desc.opaque.dedicated ? GL_TRUE : GL_FALSE;
    objects.set_parameter(memory, GL_DEDICATED_MEMORY_OBJECT_EXT, &dedicated);
    objects.import_fd(memory, desc.memories[0].size, GL_HANDLE_TYPE_OPAQUE_FD_EXT, fd.get());
    TRY(gl.check("glImportMemoryFdEXT"));
    [[maybe_unused]] const int owned_by_gl = fd.release();
    return {};
}

} // namespace dmb::import
