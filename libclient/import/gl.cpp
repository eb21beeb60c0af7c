// SPDX-License-Identifier: MIT
// Opaque Vulkan memory as a GL texture (EXT_memory_object_fd, EXT_external_objects). GL owns the
// duplicated descriptor once glImportMemoryFdEXT succeeded. The texture has the bits of the VkImage; where GL has
// no format with that order of channels a swizzle puts it right for sampling.
#include "libclient/error.hpp"
#include "libclient/import/guard.hpp"
#include "libclient/import/proc.hpp"
#include "proto/image/format_table.hpp"

#include <GLES3/gl3.h>

#include <dmabroker/gl.h>
#include <GLES2/gl2ext.h>

namespace dmb::import {
namespace {

struct Gl {
    PFNGLGETERRORPROC get_error;
    PFNGLGETINTEGERVPROC get_integer;
    PFNGLGETSTRINGIPROC get_string;
    PFNGLGENTEXTURESPROC gen_textures;
    PFNGLDELETETEXTURESPROC delete_textures;
    PFNGLBINDTEXTUREPROC bind_texture;
    PFNGLTEXPARAMETERIPROC tex_parameter;
};
struct MemoryObjects {
    PFNGLGETUNSIGNEDBYTEVEXTPROC get_bytes;
    PFNGLGETUNSIGNEDBYTEI_VEXTPROC get_indexed_bytes;
    PFNGLCREATEMEMORYOBJECTSEXTPROC create;
    PFNGLDELETEMEMORYOBJECTSEXTPROC destroy;
    PFNGLMEMORYOBJECTPARAMETERIVEXTPROC set_parameter;
    PFNGLIMPORTMEMORYFDEXTPROC import_fd;
    PFNGLTEXSTORAGEMEM2DEXTPROC storage;
};

Result<Gl> load_gl(dmabroker_get_proc get)
{
    Gl gl{};
    const bool found = load(get, "glGetError", gl.get_error) && load(get, "glGetIntegerv", gl.get_integer) &&
                       load(get, "glGetStringi", gl.get_string) && load(get, "glGenTextures", gl.gen_textures) &&
                       load(get, "glDeleteTextures", gl.delete_textures) && load(get, "glBindTexture", gl.bind_texture) &&
                       load(get, "glTexParameteri", gl.tex_parameter);
    if (!found) return fail(Errc::import_refused, "get_proc does not know the functions of OpenGL ES 3 or OpenGL 3");
    return gl;
}

Result<MemoryObjects> load_memory_objects(dmabroker_get_proc get)
{
    MemoryObjects m{};
    const bool found = load(get, "glGetUnsignedBytevEXT", m.get_bytes) &&
                       load(get, "glGetUnsignedBytei_vEXT", m.get_indexed_bytes) &&
                       load(get, "glCreateMemoryObjectsEXT", m.create) && load(get, "glDeleteMemoryObjectsEXT", m.destroy) &&
                       load(get, "glMemoryObjectParameterivEXT", m.set_parameter) &&
                       load(get, "glImportMemoryFdEXT", m.import_fd) && load(get, "glTexStorageMem2DEXT", m.storage);
    if (!found) return fail(Errc::import_refused, "get_proc does not know the functions of GL_EXT_memory_object_fd");
    return m;
}

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

class Texture {
public:
    Texture(const Gl& gl, const MemoryObjects& memory, dmabroker_gl_texture& out) : gl_(gl), memory_(memory), out_(out) {}

    Result<> create(const dmabroker_image& image, const FormatInfo& format)
    {
        const Result<> done = fill(image, format);
        if (!done) destroy();
        return done;
    }
    void destroy()
    {
        if (out_.texture) gl_.delete_textures(1, &out_.texture);
        if (out_.memory) memory_.destroy(1, &out_.memory);
        out_.texture = out_.memory = 0;
    }

private:
    Result<> fill(const dmabroker_image& image, const FormatInfo& format)
    {
        const ImageDesc& desc = image.image.desc();
        TRY(import_memory(image));
        GLint bound = 0;
        gl_.get_integer(GL_TEXTURE_BINDING_2D, &bound);
        gl_.gen_textures(1, &out_.texture);
        gl_.bind_texture(GL_TEXTURE_2D, out_.texture);
        gl_.tex_parameter(GL_TEXTURE_2D, GL_TEXTURE_TILING_EXT,
                          desc.opaque.optimal_tiling ? GL_OPTIMAL_TILING_EXT : GL_LINEAR_TILING_EXT);
        memory_.storage(GL_TEXTURE_2D, 1, format.gl_internal_format, static_cast<GLsizei>(desc.size.width),
                        static_cast<GLsizei>(desc.size.height), out_.memory, 0);
        set_sampling(format);
        gl_.bind_texture(GL_TEXTURE_2D, static_cast<GLuint>(bound));
        out_.internal_format = format.gl_internal_format;
        out_.swap_red_blue = format.gl_swap_red_blue ? 1 : 0;
        return check("glTexStorageMem2DEXT");
    }

    Result<> import_memory(const dmabroker_image& image)
    {
        const ImageDesc& desc = image.image.desc();
        UniqueFd fd = TRY(duplicate(image.image.fd(0)));
        memory_.create(1, &out_.memory);
        const GLint dedicated = desc.opaque.dedicated ? GL_TRUE : GL_FALSE;
        memory_.set_parameter(out_.memory, GL_DEDICATED_MEMORY_OBJECT_EXT, &dedicated);
        memory_.import_fd(out_.memory, desc.memories[0].size, GL_HANDLE_TYPE_OPAQUE_FD_EXT, fd.get());
        TRY(check("glImportMemoryFdEXT"));
        [[maybe_unused]] const int owned_by_gl = fd.release();
        return {};
    }

    void set_sampling(const FormatInfo& format)
    {
        gl_.tex_parameter(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_LINEAR);
        gl_.tex_parameter(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
        gl_.tex_parameter(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
        if (format.gl_swap_red_blue) {
            gl_.tex_parameter(GL_TEXTURE_2D, GL_TEXTURE_SWIZZLE_R, GL_BLUE);
            gl_.tex_parameter(GL_TEXTURE_2D, GL_TEXTURE_SWIZZLE_B, GL_RED);
        }
        if (format.vk_ignores_alpha) gl_.tex_parameter(GL_TEXTURE_2D, GL_TEXTURE_SWIZZLE_A, GL_ONE);
    }

    Result<> check(std::string_view call)
    {
        const GLenum error = gl_.get_error();
        if (error == GL_NO_ERROR) return {};
        return fail(Errc::import_failed, "{}: GL error {:#x}; the driver cannot take this memory", call, error);
    }

    const Gl& gl_;
    const MemoryObjects& memory_;
    dmabroker_gl_texture& out_;
};

Result<const FormatInfo*> check_image(const dmabroker_image& image, std::uint32_t flags)
{
    TRY(check_flags(image, flags));
    if (flags & ~std::uint32_t{DMABROKER_IMPORT_WRITE})
        return fail(Errc::invalid_argument, "dmabroker_gl_import takes no flags but IMPORT_WRITE");
    const ImageDesc& desc = image.image.desc();
    if (desc.kind != MemoryKind::opaque)
        return fail(Errc::import_refused, "{} memory is no GL memory object; import it with dmabroker_egl_import",
                    name(desc.kind));
    const FormatInfo* format = find_format(desc.format);
    if (!format->gl_internal_format)
        return fail(Errc::import_refused, "OpenGL has no texture format with the bits of {}", format->name);
    return format;
}

Result<> import_gl(const dmabroker_image* image, dmabroker_get_proc get, std::uint32_t flags, dmabroker_gl_texture* out)
{
    if (!image || !get || !out || out->struct_size < sizeof(dmabroker_gl_texture))
        return fail(Errc::invalid_argument, "pass an image, get_proc, and a dmabroker_gl_texture with its struct_size set");
    *out = {.struct_size = out->struct_size};
    const FormatInfo* format = TRY(check_image(*image, flags));
    const Gl gl = TRY(load_gl(get));
    for (int i = 0; i < 16 && gl.get_error() != GL_NO_ERROR; ++i) {} // what was wrong before is not this call's
    TRY(check_extension(gl));
    const MemoryObjects memory = TRY(load_memory_objects(get));
    TRY(check_uuids(*image, gl, memory));
    return Texture(gl, memory, *out).create(*image, *format);
}

void release_gl(dmabroker_get_proc get, dmabroker_gl_texture* texture)
{
    const auto gl = load_gl(get);
    const auto memory = load_memory_objects(get);
    if (gl && memory) Texture(*gl, *memory, *texture).destroy();
}

} // namespace
} // namespace dmb::import

extern "C" {

DMABROKER_API int dmabroker_gl_import(const dmabroker_image* image, dmabroker_get_proc get_proc, uint32_t flags,
                                      dmabroker_gl_texture* texture, dmabroker_error* error)
{
    return dmb::guard(error, [&] { return dmb::import::import_gl(image, get_proc, flags, texture); });
}

DMABROKER_API void dmabroker_gl_release(dmabroker_get_proc get_proc, dmabroker_gl_texture* texture)
{
    if (get_proc && texture) dmb::import::release_gl(get_proc, texture);
}
}
