// SPDX-License-Identifier: MIT
// EGLImages over an image's descriptors. The driver is asked for the whole image first and for one
// image per plane when it lists a multi-planar format and then says no (Mesa's software drivers do).
// EGL duplicates the descriptors, so the images outlive the hold. A driver that accepts a layout is
// believed only as far as guard.cpp knows it to be harmless.
#include "libclient/error.hpp"
#include "libclient/import/egl_loader.hpp"
#include "libclient/import/plan.hpp"
#include "libclient/import/proc.hpp"

#include <GLES2/gl2.h>
#include <GLES2/gl2ext.h>

namespace dmb::import {
namespace {

struct PlaneNames {
    EGLint fd, offset, pitch, modifier_low, modifier_high;
};
constexpr std::array<PlaneNames, max_planes> plane_names{{
    {EGL_DMA_BUF_PLANE0_FD_EXT, EGL_DMA_BUF_PLANE0_OFFSET_EXT, EGL_DMA_BUF_PLANE0_PITCH_EXT, EGL_DMA_BUF_PLANE0_MODIFIER_LO_EXT,
     EGL_DMA_BUF_PLANE0_MODIFIER_HI_EXT},
    {EGL_DMA_BUF_PLANE1_FD_EXT, EGL_DMA_BUF_PLANE1_OFFSET_EXT, EGL_DMA_BUF_PLANE1_PITCH_EXT, EGL_DMA_BUF_PLANE1_MODIFIER_LO_EXT,
     EGL_DMA_BUF_PLANE1_MODIFIER_HI_EXT},
    {EGL_DMA_BUF_PLANE2_FD_EXT, EGL_DMA_BUF_PLANE2_OFFSET_EXT, EGL_DMA_BUF_PLANE2_PITCH_EXT, EGL_DMA_BUF_PLANE2_MODIFIER_LO_EXT,
     EGL_DMA_BUF_PLANE2_MODIFIER_HI_EXT},
    {EGL_DMA_BUF_PLANE3_FD_EXT, EGL_DMA_BUF_PLANE3_OFFSET_EXT, EGL_DMA_BUF_PLANE3_PITCH_EXT, EGL_DMA_BUF_PLANE3_MODIFIER_LO_EXT,
     EGL_DMA_BUF_PLANE3_MODIFIER_HI_EXT},
}};

/// The list for eglCreateImageKHR: at most 3 + 3 + 4 * 5 pairs and its end.
class Attributes {
public:
    void add(EGLint name, std::uint64_t value)
    {
        list_[size_++] = name;
        list_[size_++] = static_cast<EGLint>(value); // modifiers are two halves, as bits
    }
    const EGLint* data() const { return list_.data(); }

private:
    std::array<EGLint, 64> list_ = filled();
    std::size_t size_ = 0;
    static constexpr std::array<EGLint, 64> filled()
    {
        std::array<EGLint, 64> list{};
        list.fill(EGL_NONE);
        return list;
    }
};

void add_planes(Attributes& attributes, const dmabroker_image& image, const Part& part, bool modifiers)
{
    const std::uint64_t modifier = image.image.desc().modifier.value;
    for (std::size_t i = 0; i < part.planes.size(); ++i) {
        const Plane& plane = part.planes[i];
        attributes.add(plane_names[i].fd, static_cast<std::uint64_t>(image.image.fd(plane.memory)));
        attributes.add(plane_names[i].offset, plane.offset);
        attributes.add(plane_names[i].pitch, plane.stride);
        if (!modifiers || modifier == modifier_invalid.value) continue;
        attributes.add(plane_names[i].modifier_low, modifier & 0xffff'ffffu);
        attributes.add(plane_names[i].modifier_high, modifier >> 32);
    }
}

void add_siting(Attributes& attributes, ChromaSiting siting)
{
    const auto hint = [](bool on_sample) -> std::uint64_t {
        return static_cast<std::uint64_t>(on_sample ? EGL_YUV_CHROMA_SITING_0_EXT : EGL_YUV_CHROMA_SITING_0_5_EXT);
    };
    attributes.add(EGL_YUV_CHROMA_HORIZONTAL_SITING_HINT_EXT, hint(cosited(siting).across));
    attributes.add(EGL_YUV_CHROMA_VERTICAL_SITING_HINT_EXT, hint(cosited(siting).down));
}

void add_colour(Attributes& attributes, const Colour& colour)
{
    switch (gpu_matrix(colour)) {
    case GpuMatrix::none: break; // such images are refused as a whole
    case GpuMatrix::bt601: attributes.add(EGL_YUV_COLOR_SPACE_HINT_EXT, EGL_ITU_REC601_EXT); break;
    case GpuMatrix::bt709: attributes.add(EGL_YUV_COLOR_SPACE_HINT_EXT, EGL_ITU_REC709_EXT); break;
    case GpuMatrix::bt2020: attributes.add(EGL_YUV_COLOR_SPACE_HINT_EXT, EGL_ITU_REC2020_EXT); break;
    }
    const bool full = colour.range == ColourRange::full;
    attributes.add(EGL_SAMPLE_RANGE_HINT_EXT, full ? EGL_YUV_FULL_RANGE_EXT : EGL_YUV_NARROW_RANGE_EXT);
    add_siting(attributes, colour.siting);
}

class Importer {
public:
    Importer(const dmabroker_image& image, const Egl& egl, dmabroker_egl_images& out) : image_(image), egl_(egl), out_(out) {}

    Result<> run(std::uint32_t flags)
    {
        const ImageDesc& desc = image_.image.desc();
        return whole_or_cut(desc, flags, [&] { return make(whole(desc)); }, [&] { return cut(); });
    }

private:
    Result<> cut()
    {
        TRY(make(per_plane(image_.image.desc())));
        out_.per_plane = 1;
        out_.yuv = conversion(image_.image.desc());
        return {};
    }

    /// All parts or none.
    Result<> make(const Plan& plan)
    {
        for (const Part& part : plan) {
            const Result<> added = add(part);
            if (added) continue;
            for (std::uint32_t i = 0; i < out_.count; ++i) egl_.destroy(out_.images[i]);
            out_.count = 0;
            return added;
        }
        return {};
    }

    Result<> add(const Part& part)
    {
        const ImageDesc& desc = image_.image.desc();
        const bool yuv = find_format(part.format)->model == ColourModel::yuv;
        if (yuv && gpu_matrix(desc.colour) == GpuMatrix::none)
            return fail(Errc::import_refused, "EGL cannot sample {} with the matrix {}; {}", to_string(part.format),
                        to_string(desc.colour.matrix),
                        can_be_cut(desc) ? "import it per plane" : "the CPU or Vulkan can read it");
        const Egl::Listing listing = TRY(egl_.find(part.format, desc.modifier));
        Attributes attributes;
        attributes.add(EGL_WIDTH, part.size.width);
        attributes.add(EGL_HEIGHT, part.size.height);
        attributes.add(EGL_LINUX_DRM_FOURCC_EXT, part.format.value);
        add_planes(attributes, image_, part, egl_.has_modifiers());
        if (yuv) add_colour(attributes, desc.colour);
        store(part, listing, TRY(egl_.create(attributes.data())));
        return {};
    }

    void store(const Part& part, const Egl::Listing& listing, EGLImage image)
    {
        const std::uint32_t at = out_.count++;
        out_.images[at] = image;
        out_.formats[at] = part.format.value;
        out_.widths[at] = part.size.width;
        out_.heights[at] = part.size.height;
        out_.external_only = listing.external_only ? 1 : 0;
    }

    const dmabroker_image& image_;
    const Egl& egl_;
    dmabroker_egl_images& out_;
};

Result<> import_egl(const dmabroker_image* image, const dmabroker_egl* egl, std::uint32_t flags, dmabroker_egl_images* out)
{
    return fill_struct(out, [&](dmabroker_egl_images& made) -> Result<> {
        TRY(require(image, "image"));
        TRY(check_picture(*image, flags));
        if (image->image.desc().kind == MemoryKind::opaque)
            return fail(Errc::import_refused, "opaque memory has no EGLImage; import it with dmabroker_gl_import");
        const Egl loaded = TRY(Egl::load(egl));
        TRY(check_for_driver(*image, loaded.driver(), (flags & DMABROKER_IMPORT_WRITE) != 0));
        return Importer(*image, loaded, made).run(flags);
    });
}

// ---- textures

struct Gles {
    PFNGLGENTEXTURESPROC gen_textures;
    PFNGLDELETETEXTURESPROC delete_textures;
    PFNGLBINDTEXTUREPROC bind_texture;
    PFNGLTEXPARAMETERIPROC tex_parameter;
    PFNGLGETINTEGERVPROC get_integer;
    PFNGLGETERRORPROC get_error;
    PFNGLEGLIMAGETARGETTEXTURE2DOESPROC image_target;
};

Result<Gles> load_gles(dmabroker_get_proc get)
{
    Gles gl{};
    const bool found = load(get, "glGenTextures", gl.gen_textures) && load(get, "glDeleteTextures", gl.delete_textures) &&
                       load(get, "glBindTexture", gl.bind_texture) && load(get, "glTexParameteri", gl.tex_parameter) &&
                       load(get, "glGetIntegerv", gl.get_integer) && load(get, "glGetError", gl.get_error) &&
                       load(get, "glEGLImageTargetTexture2DOES", gl.image_target);
    if (!found) return fail(Errc::import_refused, "get_proc does not know the GLES functions; it needs GL_OES_EGL_image");
    return gl;
}

void set_sampling(const Gles& gl, GLenum target)
{
    gl.tex_parameter(target, GL_TEXTURE_MIN_FILTER, GL_LINEAR);
    gl.tex_parameter(target, GL_TEXTURE_MAG_FILTER, GL_LINEAR);
    gl.tex_parameter(target, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
    gl.tex_parameter(target, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
}

Result<> make_texture(const dmabroker_egl* given_egl, const dmabroker_egl_images* given, std::uint32_t index,
                      std::uint32_t* texture, std::uint32_t* out_target)
{
    const dmabroker_egl egl = TRY(read_struct(given_egl));
    const dmabroker_egl_images images = TRY(read_struct(given));
    if (!egl.get_proc || !texture || !out_target || index >= images.count)
        return fail(Errc::invalid_argument, "pass imported images, an index below their count, and where to put the texture");
    const Gles gl = TRY(load_gles(egl.get_proc));
    const GLenum target = images.external_only ? GL_TEXTURE_EXTERNAL_OES : GL_TEXTURE_2D;
    GLint bound = 0;
    GLuint name = 0;
    for (int i = 0; i < 16 && gl.get_error() != GL_NO_ERROR; ++i) {} // what was wrong before is not this call's
    gl.get_integer(images.external_only ? GL_TEXTURE_BINDING_EXTERNAL_OES : GL_TEXTURE_BINDING_2D, &bound);
    gl.gen_textures(1, &name);
    gl.bind_texture(target, name);
    gl.image_target(target, images.images[index]);
    const GLenum error = gl.get_error();
    set_sampling(gl, target);
    gl.bind_texture(target, static_cast<GLuint>(bound));
    if (error != GL_NO_ERROR || name == 0) {
        gl.delete_textures(1, &name);
        return fail(Errc::import_failed, "glEGLImageTargetTexture2DOES: GL error {:#x}; is a GLES context current?", error);
    }
    *texture = name;
    *out_target = target;
    return {};
}

Result<> release(const dmabroker_egl* given_egl, dmabroker_egl_images* given)
{
    const dmabroker_egl egl = TRY(read_struct(given_egl));
    const dmabroker_egl_images images = TRY(read_struct(given));
    PFNEGLDESTROYIMAGEKHRPROC destroy;
    if (!egl.get_proc || !load(egl.get_proc, "eglDestroyImageKHR", destroy)) return {};
    for (std::uint32_t i = 0; i < std::min(images.count, DMABROKER_MAX_PLANES + 0u); ++i)
        destroy(egl.display, images.images[i]);
    return write_struct(dmabroker_egl_images{}, given);
}

} // namespace
} // namespace dmb::import

extern "C" {

DMABROKER_API int dmabroker_egl_import(const dmabroker_image* image, const dmabroker_egl* egl, uint32_t flags,
                                       dmabroker_egl_images* images, dmabroker_error* error)
{
    return dmb::guard(error, [&] { return dmb::import::import_egl(image, egl, flags, images); });
}

DMABROKER_API int dmabroker_egl_texture(const dmabroker_egl* egl, const dmabroker_egl_images* images, uint32_t index,
                                        uint32_t* texture, uint32_t* target, dmabroker_error* error)
{
    return dmb::guard(error, [&] { return dmb::import::make_texture(egl, images, index, texture, target); });
}

DMABROKER_API void dmabroker_egl_release(const dmabroker_egl* egl, dmabroker_egl_images* images)
{
    dmb::guard(nullptr, [&] { return dmb::import::release(egl, images); });
}
}
