// SPDX-License-Identifier: MIT
// The two shaders of a GlDevice and what is done with them. Texels are fetched without any filter and without
// coordinates that could round; external textures, which have no texelFetch everywhere, are sampled at the middle of
// each texel. Targets are float textures, so no value is rounded. Every function waits for the GPU and throws what GL
// reports; errors from before are forgotten first.
#include "daemon/worker/gl/pixels.hpp"

#include <fmt/format.h>
#include <stdexcept>

namespace dmb::worker {
namespace {

constexpr const char* vertex_source =
    "#version 300 es\nin vec2 position;\nvoid main() { gl_Position = vec4(position, 0.0, 1.0); }";
constexpr const char* source_2d = R"(#version 300 es
precision highp float;
uniform highp sampler2D image;
out vec4 colour;
void main() { colour = texelFetch(image, ivec2(gl_FragCoord.xy), 0); })";
constexpr const char* source_external = R"(#version 300 es
#extension GL_OES_EGL_image_external_essl3 : require
precision highp float;
uniform highp samplerExternalOES image;
uniform vec2 size;
out vec4 colour;
void main() { colour = texture(image, gl_FragCoord.xy / size); })";

GLuint float_texture(const gpu::Gl& gl, Extent size, const Texels* texels)
{
    GLuint name = 0;
    gl.GenTextures(1, &name);
    gl.BindTexture(GL_TEXTURE_2D, name);
    gl.TexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
    gl.TexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
    gl.TexImage2D(GL_TEXTURE_2D, 0, GL_RGBA32F, static_cast<GLsizei>(size.width), static_cast<GLsizei>(size.height), 0, GL_RGBA,
                  GL_FLOAT, texels ? texels->data() : nullptr);
    return name;
}

class Framebuffer {
public:
    Framebuffer(const gpu::Gl& gl, GLuint texture) : gl_(gl), name_(gpu::make_framebuffer(gl, texture)) {}
    Framebuffer(const Framebuffer&) = delete;
    Framebuffer& operator=(const Framebuffer&) = delete;
    ~Framebuffer()
    {
        gl_.BindFramebuffer(GL_FRAMEBUFFER, 0);
        gl_.DeleteFramebuffers(1, &name_);
    }
    GLuint get() const { return name_; }

private:
    const gpu::Gl& gl_;
    GLuint name_;
};

void check(const gpu::Gl& gl, const char* what)
{
    if (const GLenum error = gl.GetError()) throw std::runtime_error(fmt::format("{}: GL error {:#x}", what, error));
}

void forget_errors(const gpu::Gl& gl)
{
    for (int i = 0; i < 16 && gl.GetError() != GL_NO_ERROR; ++i) {}
}

} // namespace

GlPixels::GlPixels(const gpu::Gl& gl) : gl_(gl)
{
    const auto* listed = reinterpret_cast<const char*>(gl.GetString(GL_EXTENSIONS));
    const std::string extensions = listed ? listed : "";
    if (extensions.find("GL_EXT_color_buffer_float") == std::string::npos)
        throw std::runtime_error("this GLES driver cannot draw floats (GL_EXT_color_buffer_float)");
    program_2d_ = gpu::make_program(gl, vertex_source, source_2d);
    if (extensions.find("GL_OES_EGL_image_external_essl3") != std::string::npos)
        program_external_ = gpu::make_program(gl, vertex_source, source_external);
}

void GlPixels::draw_over(GLuint framebuffer, dmabroker::egl::Texture from, Extent size) const
{
    const bool external = from.target == GL_TEXTURE_EXTERNAL_OES;
    const GLuint program = external ? program_external_ : program_2d_;
    if (!program) throw std::runtime_error("this GLES driver has no GL_OES_EGL_image_external_essl3");
    gl_.BindFramebuffer(GL_FRAMEBUFFER, framebuffer);
    gl_.UseProgram(program);
    gl_.ActiveTexture(GL_TEXTURE0);
    gl_.BindTexture(from.target, from.name);
    gl_.TexParameteri(from.target, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
    gl_.TexParameteri(from.target, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
    const auto width = static_cast<float>(size.width), height = static_cast<float>(size.height);
    if (external) gl_.Uniform2f(gl_.GetUniformLocation(program, "size"), width, height);
    gl_.Disable(GL_BLEND);
    gl_.Disable(GL_DITHER); // GLES turns it on by itself
    gl_.Viewport(0, 0, static_cast<GLsizei>(size.width), static_cast<GLsizei>(size.height));
    gpu::draw_quad(gl_);
}

Texels GlPixels::read(dmabroker::egl::Texture from, Extent size) const
{
    forget_errors(gl_);
    const OwnedTexture target(gl_, {float_texture(gl_, size, nullptr), GL_TEXTURE_2D});
    const Framebuffer framebuffer(gl_, target.get().name);
    draw_over(framebuffer.get(), from, size);
    Texels out(std::size_t{size.width} * size.height);
    gl_.ReadPixels(0, 0, static_cast<GLsizei>(size.width), static_cast<GLsizei>(size.height), GL_RGBA, GL_FLOAT, out.data());
    check(gl_, "sampling");
    return out;
}

void GlPixels::draw(GLuint texture, Extent size, const Texels& texels) const
{
    forget_errors(gl_);
    const OwnedTexture source(gl_, {float_texture(gl_, size, &texels), GL_TEXTURE_2D});
    copy(source.get(), texture, size);
}

void GlPixels::copy(dmabroker::egl::Texture from, GLuint to, Extent size) const
{
    forget_errors(gl_);
    const Framebuffer framebuffer(gl_, to);
    draw_over(framebuffer.get(), from, size);
    gl_.Finish();
    check(gl_, "drawing");
}

} // namespace dmb::worker
