// SPDX-License-Identifier: MIT
// dmabroker_gl_import: opaque Vulkan memory as a GL texture (EXT_memory_object_fd, EXT_external_objects). The texture
// has the bits of the VkImage; where GL has no format with that order of channels a swizzle puts it right for sampling.
// Texture and memory object are the caller's, until dmabroker_gl_release; on failure nothing remains. The caller's
// binding is restored.
#include "libclient/arguments.hpp"
#include "libclient/error.hpp"
#include "libclient/import/gl_memory.hpp"
#include "proto/image/format_table.hpp"

namespace dmb::import {
namespace {

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
        TRY(import_memory(image, gl_, memory_, out_.memory));
        GLint bound = 0;
        gl_.get_integer(GL_TEXTURE_BINDING_2D, &bound);
        gl_.gen_textures(1, &out_.texture);
        gl_.bind_texture(GL_TEXTURE_2D, out_.texture);
        gl_.tex_parameter(GL_TEXTURE_2D, GL_TEXTURE_TILING_EXT,
                          desc.opaque.optimal_tiling ? GL_OPTIMAL_TILING_EXT : GL_LINEAR_TILING_EXT);
        memory_.texture_storage(GL_TEXTURE_2D, 1, format.gl_internal_format, static_cast<GLsizei>(desc.size.width),
                                static_cast<GLsizei>(desc.size.height), out_.memory, 0);
        set_sampling(format);
        gl_.bind_texture(GL_TEXTURE_2D, static_cast<GLuint>(bound));
        out_.internal_format = format.gl_internal_format;
        out_.swap_red_blue = format.gl_swap_red_blue ? 1 : 0;
        return gl_.check("glTexStorageMem2DEXT");
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

    const Gl& gl_;
    const MemoryObjects& memory_;
    dmabroker_gl_texture& out_;
};

Result<const FormatInfo*> check_image(const dmabroker_image& image, std::uint32_t flags)
{
    TRY(check_whole_picture(image, flags));
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
    return fill_struct(out, [&](dmabroker_gl_texture& made) -> Result<> {
        TRY(require(image, "image"));
        const FormatInfo* format = TRY(check_image(*image, flags));
        const Gl gl = TRY(load_gl(get));
        const MemoryObjects memory = TRY(load_memory_objects(get));
        TRY(check_context(*image, gl, memory));
        return Texture(gl, memory, made).create(*image, *format);
    });
}

Result<> release_gl(dmabroker_get_proc get, dmabroker_gl_texture* given)
{
    dmabroker_gl_texture texture = TRY(read_struct(given));
    const Gl gl = TRY(load_gl(get));
    const MemoryObjects memory = TRY(load_memory_objects(get));
    Texture(gl, memory, texture).destroy();
    return write_struct(texture, given);
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
    dmb::guard(nullptr, [&] { return dmb::import::release_gl(get_proc, texture); });
}
}
