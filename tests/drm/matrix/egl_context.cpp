// SPDX-License-Identifier: MIT
// The software EGLDevice is preferred because it is the one that takes foreign memory (with DRM nodes
// present Mesa's other displays do not). libgbm is opened at run time: machines without it can run the
// rest of the matrix.
#include "tests/drm/matrix/egl_context.hpp"

#include <cstring>
#include <dlfcn.h>
#include <EGL/eglext.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <GLES2/gl2ext.h>
#include <stdexcept>

namespace dmb::matrix {
namespace {

bool has(const char* list, const char* word) { return list && std::strstr(list, word); }

std::expected<EGLDisplay, std::string> device_display()
{
    const auto query_devices = reinterpret_cast<PFNEGLQUERYDEVICESEXTPROC>(eglGetProcAddress("eglQueryDevicesEXT"));
    const auto query_string = reinterpret_cast<PFNEGLQUERYDEVICESTRINGEXTPROC>(eglGetProcAddress("eglQueryDeviceStringEXT"));
    if (!query_devices || !query_string) return std::unexpected("EGL has no EGL_EXT_device_enumeration");
    EGLDeviceEXT devices[16];
    EGLint count = 0;
    if (!query_devices(16, devices, &count) || count == 0) return std::unexpected("EGL lists no device");
    EGLDeviceEXT chosen = devices[0];
    for (EGLint i = 0; i < count; ++i)
        if (has(query_string(devices[i], EGL_EXTENSIONS), "EGL_MESA_device_software")) chosen = devices[i];
    return eglGetPlatformDisplay(EGL_PLATFORM_DEVICE_EXT, chosen, nullptr);
}

/// Node and gbm_device stay open as long as the process: the display lives in them.
std::expected<EGLDisplay, std::string> gbm_display(const std::string& node)
{
    void* library = ::dlopen("libgbm.so.1", RTLD_NOW);
    if (!library) return std::unexpected("libgbm.so.1 is missing");
    const auto create = reinterpret_cast<void* (*)(int)>(::dlsym(library, "gbm_create_device"));
    const int fd = ::open(node.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return std::unexpected("cannot open " + node);
    void* gbm = create ? create(fd) : nullptr;
    if (!gbm) return std::unexpected("gbm_create_device failed on " + node);
    return eglGetPlatformDisplay(EGL_PLATFORM_GBM_KHR, gbm, nullptr);
}

EGLContext create_context(EGLDisplay display)
{
    const EGLint wanted[] = {EGL_CONTEXT_MAJOR_VERSION, 3, EGL_NONE};
    if (has(eglQueryString(display, EGL_EXTENSIONS), "EGL_KHR_no_config_context"))
        return eglCreateContext(display, EGL_NO_CONFIG_KHR, EGL_NO_CONTEXT, wanted);
    const EGLint attributes[] = {EGL_RENDERABLE_TYPE, EGL_OPENGL_ES3_BIT, EGL_SURFACE_TYPE, 0, EGL_NONE};
    EGLConfig config{};
    EGLint count = 0;
    if (!eglChooseConfig(display, attributes, &config, 1, &count) || count == 0) return EGL_NO_CONTEXT;
    return eglCreateContext(display, config, EGL_NO_CONTEXT, wanted);
}

constexpr const char* vertex_source = R"(#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1), 0, 1); })";
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

GLuint compile(GLenum type, const char* source)
{
    const GLuint shader = glCreateShader(type);
    glShaderSource(shader, 1, &source, nullptr);
    glCompileShader(shader);
    GLint ok = 0;
    glGetShaderiv(shader, GL_COMPILE_STATUS, &ok);
    if (!ok) {
        char log[512] = {};
        glGetShaderInfoLog(shader, sizeof log, nullptr, log);
        throw std::runtime_error(fmt::format("shader: {}", log));
    }
    return shader;
}

GLuint link(const char* fragment)
{
    const GLuint program = glCreateProgram();
    const GLuint vertex = compile(GL_VERTEX_SHADER, vertex_source), colour = compile(GL_FRAGMENT_SHADER, fragment);
    glAttachShader(program, vertex);
    glAttachShader(program, colour);
    glLinkProgram(program);
    glDeleteShader(vertex);
    glDeleteShader(colour);
    return program;
}

/// A 2D float texture of its own, deleted at the end of the scope.
class FloatTexture {
public:
    FloatTexture(Extent size, const Texels* texels)
    {
        glGenTextures(1, &name_);
        glBindTexture(GL_TEXTURE_2D, name_);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
        glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA32F, static_cast<GLsizei>(size.width), static_cast<GLsizei>(size.height), 0,
                     GL_RGBA, GL_FLOAT, texels ? texels->data() : nullptr);
    }
    FloatTexture(const FloatTexture&) = delete;
    FloatTexture& operator=(const FloatTexture&) = delete;
    ~FloatTexture() { glDeleteTextures(1, &name_); }
    GLuint name() const { return name_; }

private:
    GLuint name_ = 0;
};

class Framebuffer {
public:
    explicit Framebuffer(GLuint texture)
    {
        glGenFramebuffers(1, &name_);
        glBindFramebuffer(GL_FRAMEBUFFER, name_);
        glFramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, texture, 0);
    }
    Framebuffer(const Framebuffer&) = delete;
    Framebuffer& operator=(const Framebuffer&) = delete;
    ~Framebuffer() { glDeleteFramebuffers(1, &name_); }
    bool complete() const { return glCheckFramebufferStatus(GL_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE; }

private:
    GLuint name_ = 0;
};

void draw_all(GLuint program, Extent size)
{
    glUseProgram(program);
    const GLint at = glGetUniformLocation(program, "size");
    if (at >= 0) glUniform2f(at, static_cast<float>(size.width), static_cast<float>(size.height));
    glDisable(GL_BLEND);
    glDisable(GL_DITHER); // GLES turns it on by itself
    glViewport(0, 0, static_cast<GLsizei>(size.width), static_cast<GLsizei>(size.height));
    glDrawArrays(GL_TRIANGLES, 0, 3);
}

} // namespace

std::expected<EGLDisplay, std::string> make_context(const std::string& node)
{
    const auto display = node.empty() ? device_display() : gbm_display(node);
    if (!display) return display;
    if (*display == EGL_NO_DISPLAY || !eglInitialize(*display, nullptr, nullptr))
        return std::unexpected(fmt::format("eglInitialize failed, {:#x}", eglGetError()));
    eglBindAPI(EGL_OPENGL_ES_API);
    const EGLContext context = create_context(*display);
    if (context == EGL_NO_CONTEXT) return std::unexpected("no OpenGL ES 3 context");
    if (!eglMakeCurrent(*display, EGL_NO_SURFACE, EGL_NO_SURFACE, context))
        return std::unexpected("no context without a surface (EGL_KHR_surfaceless_context)");
    return display;
}

Painter::Painter() : program_2d_(link(source_2d))
{
    const auto* extensions = reinterpret_cast<const char*>(glGetString(GL_EXTENSIONS));
    if (!has(extensions, "GL_EXT_color_buffer_float")) throw std::runtime_error("no GL_EXT_color_buffer_float");
    if (has(extensions, "GL_OES_EGL_image_external_essl3")) program_external_ = link(source_external);
}

Texels Painter::read(GLuint texture, GLenum target, Extent size)
{
    const bool external = target == GL_TEXTURE_EXTERNAL_OES;
    if (external && !program_external_) throw std::runtime_error("no GL_OES_EGL_image_external_essl3");
    const FloatTexture result(size, nullptr);
    const Framebuffer framebuffer(result.name());
    if (!framebuffer.complete()) throw std::runtime_error("float textures cannot be drawn to");
    glActiveTexture(GL_TEXTURE0);
    glBindTexture(target, texture);
    glTexParameteri(target, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
    glTexParameteri(target, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
    draw_all(external ? program_external_ : program_2d_, size);
    Texels texels(std::size_t{size.width} * size.height);
    glReadPixels(0, 0, static_cast<GLsizei>(size.width), static_cast<GLsizei>(size.height), GL_RGBA, GL_FLOAT, texels.data());
    if (const GLenum error = glGetError()) throw std::runtime_error(fmt::format("reading: GL error {:#x}", error));
    return texels;
}

std::string Painter::draw(GLuint texture, Extent size, const Texels& texels)
{
    const FloatTexture source(size, &texels);
    const Framebuffer framebuffer(texture);
    if (!framebuffer.complete()) return "the driver cannot draw into a texture of this format";
    glActiveTexture(GL_TEXTURE0);
    glBindTexture(GL_TEXTURE_2D, source.name());
    draw_all(program_2d_, size);
    glFinish();
    if (const GLenum error = glGetError()) throw std::runtime_error(fmt::format("drawing: GL error {:#x}", error));
    return {};
}

} // namespace dmb::matrix
