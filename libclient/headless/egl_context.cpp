// SPDX-License-Identifier: MIT
// EglContext owns a display and its context; the functions at the end are what little GL its users share. libEGL is
// opened once per process and never closed: drivers leave threads and handlers behind that do not survive it. Displays
// are named by index: EGL devices in the driver's order, then surfaceless. A context is current on the thread that made
// it or called make_current() last. Errors are exceptions with a sentence.
#include "libclient/headless/egl_context.hpp"

#include <array>
#include <cstring>
#include <dlfcn.h>
#include <stdexcept>

namespace dmb::gpu {
namespace {

[[noreturn]] void fail(const std::string& sentence) { throw std::runtime_error(sentence); }

struct EglLibrary {
    PFNEGLGETPROCADDRESSPROC get_proc_address = nullptr;
    PFNEGLQUERYSTRINGPROC query_string = nullptr;
    PFNEGLINITIALIZEPROC initialize = nullptr;
    PFNEGLTERMINATEPROC terminate = nullptr;
    PFNEGLBINDAPIPROC bind_api = nullptr;
    PFNEGLCHOOSECONFIGPROC choose_config = nullptr;
    PFNEGLCREATECONTEXTPROC create_context = nullptr;
    PFNEGLDESTROYCONTEXTPROC destroy_context = nullptr;
    PFNEGLMAKECURRENTPROC make_current = nullptr;
    PFNEGLGETPLATFORMDISPLAYEXTPROC get_platform_display = nullptr;
    PFNEGLQUERYDEVICESEXTPROC query_devices = nullptr;            ///< may be null
    PFNEGLQUERYDEVICESTRINGEXTPROC query_device_string = nullptr; ///< may be null
    std::vector<EGLDeviceEXT> devices;
};

template <class F> void load(void* handle, const char* name, F& function)
{
    function = reinterpret_cast<F>(::dlsym(handle, name));
    if (!function) fail(std::string("libEGL lacks ") + name + ": install libegl1 and libegl-mesa0");
}

template <class F> void load_extension(const EglLibrary& egl, const char* name, F& function)
{
    function = reinterpret_cast<F>(egl.get_proc_address(name));
}

EglLibrary open_egl()
{
    void* handle = ::dlopen("libEGL.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!handle) fail("there is no libEGL.so.1: install libegl1 and libegl-mesa0");
    EglLibrary egl;
    load(handle, "eglGetProcAddress", egl.get_proc_address);
    load(handle, "eglQueryString", egl.query_string);
    load(handle, "eglInitialize", egl.initialize);
    load(handle, "eglTerminate", egl.terminate);
    load(handle, "eglBindAPI", egl.bind_api);
    load(handle, "eglChooseConfig", egl.choose_config);
    load(handle, "eglCreateContext", egl.create_context);
    load(handle, "eglDestroyContext", egl.destroy_context);
    load(handle, "eglMakeCurrent", egl.make_current);
    load_extension(egl, "eglGetPlatformDisplayEXT", egl.get_platform_display);
    load_extension(egl, "eglQueryDevicesEXT", egl.query_devices);
    load_extension(egl, "eglQueryDeviceStringEXT", egl.query_device_string);
    if (!egl.get_platform_display) fail("this EGL has no platforms (EGL_EXT_platform_base): install libegl1 and libegl-mesa0");
    std::array<EGLDeviceEXT, 32> devices{};
    EGLint count = 0;
    if (egl.query_devices && egl.query_devices(static_cast<EGLint>(devices.size()), devices.data(), &count))
        egl.devices.assign(devices.begin(), devices.begin() + count);
    return egl;
}

const EglLibrary& egl_library()
{
    static const EglLibrary egl = open_egl();
    return egl;
}

bool has_word(const char* list, const char* word)
{
    if (!list) return false;
    const std::string padded = std::string(" ") + list + " ";
    return padded.find(std::string(" ") + word + " ") != std::string::npos;
}

std::string or_empty(const void* text) { return text ? static_cast<const char*>(text) : ""; }

EglContext::Place place_of(const EglLibrary& egl, unsigned index)
{
    EglContext::Place place;
    if (index >= egl.devices.size() || !egl.query_device_string) return place;
    const EGLDeviceEXT device = egl.devices[index];
    const char* extensions = egl.query_device_string(device, EGL_EXTENSIONS);
    if (has_word(extensions, "EGL_EXT_device_drm_render_node"))
        place.render_node = or_empty(egl.query_device_string(device, EGL_DRM_RENDER_NODE_FILE_EXT));
    if (has_word(extensions, "EGL_EXT_device_drm"))
        place.primary_node = or_empty(egl.query_device_string(device, EGL_DRM_DEVICE_FILE_EXT));
    place.software = has_word(extensions, "EGL_MESA_device_software");
    return place;
}

/// The node, where the device has one.
std::string device_name(const EglLibrary& egl, unsigned index)
{
    if (index >= egl.devices.size()) return "surfaceless EGL";
    const EglContext::Place place = place_of(egl, index);
    const std::string& node = place.render_node.empty() ? place.primary_node : place.render_node;
    return "EGL device " + (node.empty() ? std::to_string(index) : node);
}

EGLDisplay platform_display(const EglLibrary& egl, unsigned index)
{
    if (index < egl.devices.size()) return egl.get_platform_display(EGL_PLATFORM_DEVICE_EXT, egl.devices[index], nullptr);
    return egl.get_platform_display(EGL_PLATFORM_SURFACELESS_MESA, nullptr, nullptr);
}

bool names_software_renderer(const std::string& renderer)
{
    return renderer.find("llvmpipe") != std::string::npos || renderer.find("softpipe") != std::string::npos ||
           renderer.find("swrast") != std::string::npos;
}

} // namespace

struct EglContext::State {
    const EglLibrary& egl = egl_library();
    EGLDisplay display = EGL_NO_DISPLAY;
    EGLContext context = EGL_NO_CONTEXT;
    Gl gl;
    std::string name, version;
    bool software = false;
    std::uint64_t drm_node = 0;

    ~State()
    {
        if (context != EGL_NO_CONTEXT) {
            egl.make_current(display, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT);
            egl.destroy_context(display, context);
        }
        if (display != EGL_NO_DISPLAY) egl.terminate(display);
    }
    void open(unsigned index);
    void open(void* gbm_device);
    void initialise();
    void make_context();
    void load_gl();
};

void EglContext::State::open(unsigned index)
{
    name = device_name(egl, index);
    display = platform_display(egl, index);
    initialise();
}

void EglContext::State::open(void* gbm_device)
{
    name = "EGL on GBM";
    display = egl.get_platform_display(EGL_PLATFORM_GBM_KHR, gbm_device, nullptr);
    initialise();
}

void EglContext::State::initialise()
{
    if (display == EGL_NO_DISPLAY) fail(name + " gives no display");
    if (!egl.initialize(display, nullptr, nullptr)) {
        display = EGL_NO_DISPLAY;
        fail(name + " cannot be initialised: its driver is missing or its node may not be opened");
    }
}

void EglContext::State::make_context()
{
    egl.bind_api(EGL_OPENGL_ES_API);
    const EGLint wanted[] = {EGL_SURFACE_TYPE, 0, EGL_RENDERABLE_TYPE, EGL_OPENGL_ES2_BIT, EGL_NONE};
    EGLConfig config = EGL_NO_CONFIG_KHR;
    EGLint count = 0;
    if (!egl.choose_config(display, wanted, &config, 1, &count) || count == 0) config = EGL_NO_CONFIG_KHR;
    for (const EGLint major : {3, 2}) {
        const EGLint attributes[] = {EGL_CONTEXT_CLIENT_VERSION, major, EGL_NONE};
        context = egl.create_context(display, config, EGL_NO_CONTEXT, attributes);
        if (context != EGL_NO_CONTEXT) break;
    }
    if (context == EGL_NO_CONTEXT || !egl.make_current(display, EGL_NO_SURFACE, EGL_NO_SURFACE, context))
        fail(name + " gives no GLES context without a window");
}

void EglContext::State::load_gl()
{
#define X(function, upper)                                                                                                     \
    gl.function = reinterpret_cast<PFNGL##upper##PROC>(egl.get_proc_address("gl" #function));                                  \
    if (!gl.function) fail(name + " lacks gl" #function);
    DMB_GL_FUNCTIONS(X)
#undef X
    const std::string renderer = or_empty(gl.GetString(GL_RENDERER));
    version = or_empty(gl.GetString(GL_VERSION));
    software = names_software_renderer(renderer);
    name += " (" + renderer + ")";
}

unsigned EglContext::count() { return static_cast<unsigned>(egl_library().devices.size()) + 1; }

std::string EglContext::display_name(unsigned index) { return device_name(egl_library(), index); }
EglContext::Place EglContext::place(unsigned index) { return place_of(egl_library(), index); }

EglContext::EglContext(unsigned index) : state_(std::make_unique<State>())
{
    state_->open(index);
    state_->make_context();
    state_->load_gl();
}

EglContext::EglContext(void* gbm_device, std::uint64_t node) : state_(std::make_unique<State>())
{
    state_->drm_node = node;
    state_->open(gbm_device);
    state_->make_context();
    state_->load_gl();
}

EglContext::EglContext(EglContext&&) noexcept = default;
EglContext::~EglContext() = default;

dmabroker::egl::Display EglContext::display() const
{
    return {state_->display, state_->egl.get_proc_address, state_->drm_node};
}
const Gl& EglContext::gl() const { return state_->gl; }
const std::string& EglContext::name() const { return state_->name; }
const std::string& EglContext::version() const { return state_->version; }
bool EglContext::software() const { return state_->software; }

void EglContext::make_current() const
{
    if (!state_->egl.make_current(state_->display, EGL_NO_SURFACE, EGL_NO_SURFACE, state_->context))
        fail(state_->name + " does not make its context current");
}

bool EglContext::lists_extension(const char* name) const
{
    return has_word(state_->egl.query_string(state_->display, EGL_EXTENSIONS), name);
}

bool EglContext::lists_gl_extension(const char* name) const
{
    return has_word(reinterpret_cast<const char*>(state_->gl.GetString(GL_EXTENSIONS)), name);
}

// --- drawing -------------------------------------------------------------------------------

namespace {

GLuint compile(const Gl& gl, GLenum kind, const std::string& source)
{
    const GLuint shader = gl.CreateShader(kind);
    const char* text = source.c_str();
    gl.ShaderSource(shader, 1, &text, nullptr);
    gl.CompileShader(shader);
    GLint compiled = GL_FALSE;
    gl.GetShaderiv(shader, GL_COMPILE_STATUS, &compiled);
    if (compiled) return shader;
    std::array<char, 512> log{};
    gl.GetShaderInfoLog(shader, static_cast<GLsizei>(log.size()), nullptr, log.data());
    gl.DeleteShader(shader);
    fail(std::string("a shader does not compile: ") + log.data());
}

} // namespace

GLuint make_program(const Gl& gl, const std::string& vertex, const std::string& fragment)
{
    const GLuint program = gl.CreateProgram();
    for (const GLuint shader : {compile(gl, GL_VERTEX_SHADER, vertex), compile(gl, GL_FRAGMENT_SHADER, fragment)}) {
        gl.AttachShader(program, shader);
        gl.DeleteShader(shader); // lives on with the program
    }
    gl.BindAttribLocation(program, 0, "position");
    gl.LinkProgram(program);
    GLint linked = GL_FALSE;
    gl.GetProgramiv(program, GL_LINK_STATUS, &linked);
    if (linked) return program;
    std::array<char, 512> log{};
    gl.GetProgramInfoLog(program, static_cast<GLsizei>(log.size()), nullptr, log.data());
    fail(std::string("shaders do not link: ") + log.data());
}

GLuint make_framebuffer(const Gl& gl, GLuint texture)
{
    GLuint framebuffer = 0;
    gl.GenFramebuffers(1, &framebuffer);
    gl.BindFramebuffer(GL_FRAMEBUFFER, framebuffer);
    gl.FramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, texture, 0);
    if (gl.CheckFramebufferStatus(GL_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE) return framebuffer;
    gl.DeleteFramebuffers(1, &framebuffer);
    fail("the driver cannot draw into this texture");
}

GLuint make_texture(const Gl& gl, dmabroker::Size size, const void* rgba)
{
    GLuint texture = 0;
    gl.GenTextures(1, &texture);
    gl.BindTexture(GL_TEXTURE_2D, texture);
    gl.TexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, static_cast<GLsizei>(size.width), static_cast<GLsizei>(size.height), 0, GL_RGBA,
                  GL_UNSIGNED_BYTE, rgba);
    gl.TexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_LINEAR);
    gl.TexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_LINEAR);
    gl.TexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
    gl.TexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
    return texture;
}

void draw_quad(const Gl& gl)
{
    static const GLfloat corners[] = {-1, -1, 1, -1, -1, 1, 1, 1};
    gl.EnableVertexAttribArray(0);
    gl.VertexAttribPointer(0, 2, GL_FLOAT, GL_FALSE, 0, corners);
    gl.DrawArrays(GL_TRIANGLE_STRIP, 0, 4);
}

std::vector<std::uint8_t> sample_pixels(const Gl& gl, dmabroker::egl::Texture texture, dmabroker::Size size)
{
    const bool external = texture.target == GL_TEXTURE_EXTERNAL_OES;
    const std::string fragment = std::string(external ? "#extension GL_OES_EGL_image_external : require\n" : "") +
                                 "precision highp float;\nvarying vec2 at;\nuniform " +
                                 (external ? "samplerExternalOES" : "sampler2D") +
                                 " image;\nvoid main() { gl_FragColor = texture2D(image, at); }\n";
    const GLuint program = make_program(gl,
                                        "attribute vec2 position;\nvarying vec2 at;\n"
                                        "void main() { at = position * 0.5 + 0.5; gl_Position = vec4(position, 0.0, 1.0); }\n",
                                        fragment);
    const GLuint target = make_texture(gl, size);
    const GLuint framebuffer = make_framebuffer(gl, target);
    gl.Viewport(0, 0, static_cast<GLsizei>(size.width), static_cast<GLsizei>(size.height));
    gl.Disable(GL_BLEND);
    gl.UseProgram(program);
    gl.ActiveTexture(GL_TEXTURE0);
    gl.BindTexture(texture.target, texture.name);
    gl.TexParameteri(texture.target, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
    gl.TexParameteri(texture.target, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
    draw_quad(gl);
    std::vector<std::uint8_t> pixels(std::size_t{size.width} * size.height * 4);
    gl.ReadPixels(0, 0, static_cast<GLsizei>(size.width), static_cast<GLsizei>(size.height), GL_RGBA, GL_UNSIGNED_BYTE,
                  pixels.data());
    gl.DeleteFramebuffers(1, &framebuffer);
    gl.DeleteTextures(1, &target);
    gl.DeleteProgram(program);
    return pixels;
}

} // namespace dmb::gpu
