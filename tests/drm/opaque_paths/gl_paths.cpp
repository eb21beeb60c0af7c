// SPDX-License-Identifier: MIT
// GL waits and signals in its own command stream (GL_EXT_semaphore), with the texture and the layout in which Vulkan
// released it or wants it back: GENERAL. The display is the first whose context takes the image: the importer
// compares UUIDs. GL has no timelines.
#include "tests/drm/opaque_paths/gl_paths.hpp"

#include "libclient/headless/egl_context.hpp"

#include <dmabroker/gl.hpp>

namespace dmb::paths {
namespace {

using dmabroker::Rights;

struct Functions {
    PFNGLGENSEMAPHORESEXTPROC gen_semaphores;
    PFNGLDELETESEMAPHORESEXTPROC delete_semaphores;
    PFNGLIMPORTSEMAPHOREFDEXTPROC import_semaphore;
    PFNGLWAITSEMAPHOREEXTPROC wait_semaphore;
    PFNGLSIGNALSEMAPHOREEXTPROC signal_semaphore;
    PFNGLFENCESYNCPROC fence;
    PFNGLCLIENTWAITSYNCPROC wait_fence;
    PFNGLDELETESYNCPROC delete_fence;
    PFNGLFLUSHPROC flush;
};

Functions load(const gpu::EglContext& context)
{
    if (!context.lists_gl_extension("GL_EXT_semaphore_fd")) throw Skip(context.name() + " has no GL_EXT_semaphore_fd");
    const auto get = context.display().get_proc;
    Functions f{};
    const auto find = [&](auto& function, const char* name) {
        function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(get(name));
        if (!function) throw std::runtime_error(context.name() + " lacks " + name);
    };
    find(f.gen_semaphores, "glGenSemaphoresEXT");
    find(f.delete_semaphores, "glDeleteSemaphoresEXT");
    find(f.import_semaphore, "glImportSemaphoreFdEXT");
    find(f.wait_semaphore, "glWaitSemaphoreEXT");
    find(f.signal_semaphore, "glSignalSemaphoreEXT");
    find(f.fence, "glFenceSync");
    find(f.wait_fence, "glClientWaitSync");
    find(f.delete_fence, "glDeleteSync");
    find(f.flush, "glFlush");
    return f;
}

/// A context with the image as a texture.
class View {
public:
    View(const dmabroker::Image& image, std::uint32_t flags)
    {
        for (unsigned i = 0; i < gpu::EglContext::count() && !texture_; ++i) open(i, image, flags);
        if (!texture_) throw Skip("no OpenGL context takes the image" + reasons_);
    }
    const gpu::EglContext& context() const { return *context_; }
    const gpu::Gl& gl() const { return context_->gl(); }
    GLuint texture() const { return texture_->name(); }

private:
    void open(unsigned index, const dmabroker::Image& image, std::uint32_t flags)
    {
        try {
            context_.emplace(index);
            texture_.emplace(dmabroker::gl::import(image, context_->display().get_proc, flags));
        } catch (const std::exception& e) {
            reasons_ += "; " + gpu::EglContext::display_name(index) + ": " + e.what();
        }
    }
    std::optional<gpu::EglContext> context_;
    std::optional<dmabroker::gl::Texture> texture_;
    std::string reasons_;
};

/// A semaphore object; its functions are only looked for where there is one.
class Semaphores {
public:
    Semaphores(const View& view, UniqueFd fd) : view_(view), gl_(load(view.context()))
    {
        gl_.gen_semaphores(1, &name_);
        gl_.import_semaphore(name_, GL_HANDLE_TYPE_OPAQUE_FD_EXT, fd.get());
        check("glImportSemaphoreFdEXT");
        static_cast<void>(fd.release()); // GL's now
    }
    Semaphores(const Semaphores&) = delete;
    Semaphores& operator=(const Semaphores&) = delete;
    ~Semaphores() { gl_.delete_semaphores(1, &name_); }

    /// What follows waits. Returns whether there was something to wait for.
    bool wait()
    {
        const GLuint texture = view_.texture();
        const GLenum layout = GL_LAYOUT_GENERAL_EXT;
        gl_.wait_semaphore(name_, 0, nullptr, 1, &texture, &layout);
        check("glWaitSemaphoreEXT");
        const GLsync fence = gl_.fence(GL_SYNC_GPU_COMMANDS_COMPLETE, 0);
        const bool pending = gl_.wait_fence(fence, GL_SYNC_FLUSH_COMMANDS_BIT, 0) == GL_TIMEOUT_EXPIRED;
        gl_.delete_fence(fence);
        return pending;
    }
    void signal()
    {
        const GLuint texture = view_.texture();
        const GLenum layout = GL_LAYOUT_GENERAL_EXT;
        gl_.signal_semaphore(name_, 0, nullptr, 1, &texture, &layout);
        check("glSignalSemaphoreEXT");
        gl_.flush();
    }

private:
    void check(const std::string& call) const
    {
        if (const GLenum error = view_.gl().GetError(); error != GL_NO_ERROR)
            throw std::runtime_error(call + ": GL error " + std::to_string(error));
    }
    const View& view_;
    const Functions gl_;
    GLuint name_ = 0;
};

/// Copies the texture that is bound into what is bound as the framebuffer, `times` times.
void draw_texture(const gpu::Gl& gl, GLuint texture, dmabroker::Size extent, unsigned times)
{
    static constexpr auto vertex = "attribute vec2 position; varying highp vec2 at;\n"
                                   "void main() { at = position * 0.5 + 0.5; gl_Position = vec4(position, 0.0, 1.0); }\n";
    static constexpr auto fragment = "precision highp float; varying highp vec2 at; uniform sampler2D source;\n"
                                     "void main() { gl_FragColor = texture2D(source, at); }\n";
    const GLuint program = gpu::make_program(gl, vertex, fragment);
    gl.UseProgram(program);
    gl.ActiveTexture(GL_TEXTURE0);
    gl.BindTexture(GL_TEXTURE_2D, texture);
    gl.TexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
    gl.TexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
    gl.Uniform1i(gl.GetUniformLocation(program, "source"), 0);
    gl.Disable(GL_BLEND);
    gl.Viewport(0, 0, static_cast<GLsizei>(extent.width), static_cast<GLsizei>(extent.height));
    for (unsigned i = 0; i < times; ++i) gpu::draw_quad(gl);
    gl.DeleteProgram(program);
}

void draw_into(const gpu::Gl& gl, GLuint target, dmabroker::Size extent, const Pixels& pixels, unsigned times)
{
    const GLuint framebuffer = gpu::make_framebuffer(gl, target);
    const GLuint source = gpu::make_texture(gl, size, pixels.data());
    draw_texture(gl, source, extent, times);
    gl.BindFramebuffer(GL_FRAMEBUFFER, 0);
    gl.DeleteTextures(1, &source);
    gl.DeleteFramebuffers(1, &framebuffer);
}

/// Some tenths of a second of drawing elsewhere, so that what follows is not done when it is waited for.
void draw_for_long(const gpu::Gl& gl)
{
    constexpr dmabroker::Size large{4096, 4096};
    const GLuint target = gpu::make_texture(gl, large);
    draw_into(gl, target, large, before(), 3000);
    gl.DeleteTextures(1, &target);
}

std::unique_ptr<Semaphores> import_semaphore(const View& view, Opened& opened, Sync sync)
{
    return sync == Sync::binary ? std::make_unique<Semaphores>(view, std::move(opened.semaphore)) : nullptr;
}

} // namespace

std::string gl_reads(Link& link, const Setup& setup, Sync sync)
{
    Opened opened = open_shared(link, setup, "gl reads", Rights::read);
    const View view(opened.image, 0);
    auto semaphore = import_semaphore(view, opened, sync);
    link.send("ready");
    link.expect("drawn");
    std::string note = view.context().name();
    if (semaphore) note += semaphore->wait() ? ", the wait was pending" : ", the signal came before the wait";
    compare(gpu::sample_pixels(view.gl(), {view.texture(), GL_TEXTURE_2D}, size), after());
    link.send("seen");
    return note;
}

std::string gl_draws(Link& link, const Setup& setup, Sync sync)
{
    Opened opened = open_shared(link, setup, "gl draws", Rights::read | Rights::write);
    const View view(opened.image, DMABROKER_IMPORT_WRITE);
    auto semaphore = import_semaphore(view, opened, sync);
    link.send("ready");
    if (semaphore) draw_for_long(view.gl());
    draw_into(view.gl(), view.texture(), size, after(), 1);
    if (semaphore) semaphore->signal();
    else view.gl().Finish();
    link.send("drawn");
    link.expect("seen");
    return view.context().name();
}

} // namespace dmb::paths
