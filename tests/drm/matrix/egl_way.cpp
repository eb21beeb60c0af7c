// SPDX-License-Identifier: MIT
// EGLImages and GL memory objects in one GLES context. RGB texels must come back exactly; per-plane
// YUV is compared plane by plane and once more after the conversion that the library describes; whole
// YUV, which only the driver converts, within 2/255.
#include "daemon/worker/gl/pixels.hpp"
#include "tests/drm/matrix/egl_context.hpp"
#include "tests/drm/matrix/way.hpp"

#include <dmabroker/egl.h>
#include <dmabroker/gl.h>
#include <GLES2/gl2ext.h>

namespace dmb::matrix {
namespace {

/// The context of this process.
struct Context {
    explicit Context(const std::string& node) : context(make_context(node)) {}
    gpu::EglContext context;
    worker::GlPixels pixels{context.gl()};
    dmabroker_egl egl = context.display().native();
};

class OwnedTexture {
public:
    OwnedTexture() = default;
    OwnedTexture(const OwnedTexture&) = delete;
    OwnedTexture& operator=(const OwnedTexture&) = delete;
    ~OwnedTexture() { glDeleteTextures(1, &name); }
    GLuint name = 0;
    GLenum target = 0;
};

class Images {
public:
    Images(const dmabroker_image* image, const dmabroker_egl& egl, std::uint32_t flags) : egl_(egl)
    {
        result_ = dmabroker_egl_import(image, &egl_, flags, &images, &error);
    }
    Images(const Images&) = delete;
    Images& operator=(const Images&) = delete;
    ~Images() { dmabroker_egl_release(&egl_, &images); }
    bool ok() const { return result_ == 0; }
    bool texture(std::uint32_t index, OwnedTexture& out)
    {
        return dmabroker_egl_texture(&egl_, &images, index, &out.name, &out.target, &error) == 0;
    }
    Extent size(std::uint32_t index) const { return {images.widths[index], images.heights[index]}; }
    FourCC format(std::uint32_t index) const { return {images.formats[index]}; }

    dmabroker_egl_images images{.struct_size = sizeof(dmabroker_egl_images)};
    dmabroker_error error{};

private:
    const dmabroker_egl& egl_;
    int result_;
};

/// What an application's shader does with per-plane images, with the nearest chroma sample.
Texels convert_planes(const Images& images, const std::vector<Texels>& planes)
{
    const dmabroker_yuv& yuv = images.images.yuv;
    const Extent full = images.size(0), chroma = images.size(1);
    const std::uint32_t across = full.width > chroma.width ? 2 : 1, down = full.height > chroma.height ? 2 : 1;
    Texels out;
    for (std::uint32_t y = 0; y < full.height; ++y)
        for (std::uint32_t x = 0; x < full.width; ++x) {
            const std::size_t at = std::size_t{y} * full.width + x, c = std::size_t{y / down} * chroma.width + x / across;
            const float second = planes.size() == 2 ? planes[1][c][1] : planes[2][c][0];
            const float sample[3] = {planes[0][at][0] - yuv.offset[0], planes[1][c][0] - yuv.offset[1], second - yuv.offset[2]};
            std::array<float, 4> rgb{0, 0, 0, 1};
            for (std::size_t i = 0; i < 9; ++i) rgb[i / 3] += yuv.matrix[i] * sample[i % 3];
            out.push_back(rgb);
        }
    return out;
}

class EglWay : public Way {
public:
    explicit EglWay(const std::string& node) : context_(node) {}

    Outcome verify(const dmabroker_image* image, const Pixels& expected) override
    {
        Images images(image, context_.egl, 0);
        if (!images.ok()) return declined(images.error);
        if (images.images.external_only) return verify_external(image, images, expected);
        std::vector<Texels> planes;
        for (std::uint32_t i = 0; i < images.images.count; ++i) {
            OwnedTexture texture;
            if (!images.texture(i, texture)) return declined(images.error);
            planes.push_back(context_.pixels.read({texture.name, texture.target}, images.size(i)));
            const Texels wanted = decode(images.format(i), expected.planes.at(i));
            const std::string wrong = difference(images.format(i), wanted, planes.back(), images.size(i));
            if (!wrong.empty()) return failed("EGL samples image " + std::to_string(i) + " " + wrong);
        }
        if (!images.images.per_plane) return passed();
        const Colour colour = colour_of(*dmabroker_image_get_info(image));
        const std::string wrong = distance(convert(expected, colour), convert_planes(images, planes), expected.size);
        return wrong.empty() ? passed("one image per plane") : failed("EGL, planes " + wrong);
    }

    Outcome fill(const dmabroker_image* image, const Pixels& pixels) override
    {
        Images images(image, context_.egl, DMABROKER_IMPORT_WRITE);
        if (!images.ok()) return declined(images.error);
        if (images.images.external_only) return {Outcome::refused, "external images cannot be drawn to"};
        for (std::uint32_t i = 0; i < images.images.count; ++i) {
            OwnedTexture texture;
            if (!images.texture(i, texture)) return declined(images.error);
            const std::string cannot = cannot_draw(context_.context.gl(), texture.name);
            if (!cannot.empty()) return {Outcome::refused, cannot};
            context_.pixels.draw(texture.name, images.size(i), decode(images.format(i), pixels.planes.at(i)));
        }
        return passed();
    }

private:
    Outcome verify_external(const dmabroker_image* image, Images& images, const Pixels& expected)
    {
        OwnedTexture texture;
        if (!images.texture(0, texture)) return declined(images.error);
        const Texels actual = context_.pixels.read({texture.name, texture.target}, expected.size);
        const Colour colour = colour_of(*dmabroker_image_get_info(image));
        const std::string wrong = distance(convert(expected, colour), actual, expected.size);
        return wrong.empty() ? passed("converted by the driver") : failed("EGL " + wrong);
    }

    Context context_;
};

class GlTexture {
public:
    GlTexture(const dmabroker_image* image, const dmabroker_egl& egl, std::uint32_t flags) : egl_(egl)
    {
        result_ = dmabroker_gl_import(image, egl_.get_proc, flags, &texture, &error);
    }
    GlTexture(const GlTexture&) = delete;
    GlTexture& operator=(const GlTexture&) = delete;
    ~GlTexture() { dmabroker_gl_release(egl_.get_proc, &texture); }
    bool ok() const { return result_ == 0; }

    dmabroker_gl_texture texture{.struct_size = sizeof(dmabroker_gl_texture)};
    dmabroker_error error{};

private:
    const dmabroker_egl& egl_;
    int result_;
};

class GlWay : public Way {
public:
    Outcome verify(const dmabroker_image* image, const Pixels& expected) override
    {
        const GlTexture imported(image, context_.egl, 0);
        if (!imported.ok()) return declined(imported.error);
        const Texels actual = context_.pixels.read({imported.texture.texture, GL_TEXTURE_2D}, expected.size);
        const std::string wrong =
            difference(expected.format, decode(expected.format, expected.planes.at(0)), actual, expected.size);
        return wrong.empty() ? passed() : failed("GL samples " + wrong);
    }

    Outcome fill(const dmabroker_image* image, const Pixels& pixels) override
    {
        const GlTexture imported(image, context_.egl, DMABROKER_IMPORT_WRITE);
        if (!imported.ok()) return declined(imported.error);
        Texels texels = decode(pixels.format, pixels.planes.at(0));
        if (imported.texture.swap_red_blue)
            for (auto& texel : texels) std::swap(texel[0], texel[2]);
        const std::string cannot = cannot_draw(context_.context.gl(), imported.texture.texture);
        if (!cannot.empty()) return {Outcome::refused, cannot};
        context_.pixels.draw(imported.texture.texture, pixels.size, texels);
        return passed();
    }

private:
    Context context_{""};
};

} // namespace

std::unique_ptr<Way> make_egl_way(const std::string& node) { return std::make_unique<EglWay>(node); }
std::unique_ptr<Way> make_gl_way() { return std::make_unique<GlWay>(); }

} // namespace dmb::matrix
