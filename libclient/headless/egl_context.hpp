// SPDX-License-Identifier: MIT
// An EGL display with a GLES context and no window, and the few GL calls that a probe or the demo
// needs. EGL is loaded at run time: a machine without it gets a sentence instead of a loader error.
#pragma once
#include <dmabroker/dmabroker.hpp>
#include <dmabroker/egl.hpp>

#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GLES3/gl32.h>
// Its header needs the types of the one before.
#include <GLES2/gl2ext.h>

#include <memory>
#include <string>
#include <vector>

namespace dmb::gpu {

// clang-format off: it does not know what X is
#define DMB_GL_FUNCTIONS(X)                                                                                                      \
    X(ActiveTexture, ACTIVETEXTURE) X(AttachShader, ATTACHSHADER) X(BindAttribLocation, BINDATTRIBLOCATION)                     \
    X(BindBuffer, BINDBUFFER) X(BufferData, BUFFERDATA) X(CopyBufferSubData, COPYBUFFERSUBDATA)                                  \
    X(DeleteBuffers, DELETEBUFFERS) X(GenBuffers, GENBUFFERS) X(MapBufferRange, MAPBUFFERRANGE)                                  \
    X(UnmapBuffer, UNMAPBUFFER) X(BindFramebuffer, BINDFRAMEBUFFER) X(BindTexture, BINDTEXTURE) X(BlendFuncSeparate, BLENDFUNCSEPARATE)                     \
    X(CheckFramebufferStatus, CHECKFRAMEBUFFERSTATUS)                                  \
    X(CompileShader, COMPILESHADER) X(CreateProgram, CREATEPROGRAM) X(CreateShader, CREATESHADER)                                \
    X(DeleteFramebuffers, DELETEFRAMEBUFFERS) X(DeleteProgram, DELETEPROGRAM) X(DeleteShader, DELETESHADER)                      \
    X(DeleteTextures, DELETETEXTURES) X(Disable, DISABLE) X(DrawArrays, DRAWARRAYS) X(Enable, ENABLE)                           \
    X(EnableVertexAttribArray, ENABLEVERTEXATTRIBARRAY) X(Finish, FINISH)                                                        \
    X(FramebufferTexture2D, FRAMEBUFFERTEXTURE2D) X(GenFramebuffers, GENFRAMEBUFFERS) X(GenTextures, GENTEXTURES)                \
    X(GetError, GETERROR) X(GetProgramInfoLog, GETPROGRAMINFOLOG) X(GetProgramiv, GETPROGRAMIV)                                  \
    X(GetShaderInfoLog, GETSHADERINFOLOG) X(GetShaderiv, GETSHADERIV) X(GetString, GETSTRING)                                    \
    X(GetUniformLocation, GETUNIFORMLOCATION) X(LinkProgram, LINKPROGRAM) X(ReadPixels, READPIXELS)                              \
    X(ShaderSource, SHADERSOURCE) X(TexImage2D, TEXIMAGE2D) X(TexParameteri, TEXPARAMETERI)              \
    X(Uniform1i, UNIFORM1I) X(Uniform2f, UNIFORM2F) X(UseProgram, USEPROGRAM)                            \
    X(VertexAttribPointer, VERTEXATTRIBPOINTER) X(Viewport, VIEWPORT)
// clang-format on

/// GLES functions under their names without "gl".
struct Gl {
#define X(name, upper) PFNGL##upper##PROC name = nullptr;
    DMB_GL_FUNCTIONS(X)
#undef X
};

class EglContext {
public:
    /// Displays that may exist here: one per EGL device, and the surfaceless one last. Throws where
    /// there is no EGL at all.
    static unsigned count();
    /// "EGL device /dev/dri/renderD128": without opening it.
    static std::string display_name(unsigned index);
    /// What EGL says about it, without opening it.
    struct Place {
        std::string render_node, primary_node; ///< may be empty
        bool software = false;                 ///< EGL_MESA_device_software
    };
    static Place place(unsigned index);
    /// Makes a context current on this thread, for good: whoever has several calls make_current. Throws std::runtime_error with
    /// a sentence.
    explicit EglContext(unsigned index);
    /// The same on a gbm_device, which must outlive it. `node`: st_rdev of its DRM node.
    EglContext(void* gbm_device, std::uint64_t node);
    EglContext(EglContext&&) noexcept;
    ~EglContext();

    dmabroker::egl::Display display() const;
    const Gl& gl() const;
    /// "EGL device /dev/dri/renderD128 (llvmpipe ...)".
    const std::string& name() const;
    /// GL_VERSION, which has Mesa's version in it.
    const std::string& version() const;
    bool software() const;
    void make_current() const;
    bool lists_extension(const char* name) const;
    bool lists_gl_extension(const char* name) const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// The first display for which `works` returns true: hardware before software. Displays that cannot
/// be opened, or for which it throws, are passed over; the last such reason is thrown if none is left.
template <class Works> EglContext first_working_display(Works works);

/// Compiled and linked; attribute 0 is `position`. Throws with the compiler's text.
GLuint make_program(const Gl&, const std::string& vertex, const std::string& fragment);
/// A framebuffer over a texture; throws when the driver cannot draw into it.
GLuint make_framebuffer(const Gl&, GLuint texture);
GLuint make_texture(const Gl&, dmabroker::Size size, const void* rgba = nullptr);
/// Two triangles over the whole viewport, with `position` from -1 to 1.
void draw_quad(const Gl&);
/// What a shader sees of a texture, as RGBA, first row of memory first.
std::vector<std::uint8_t> sample_pixels(const Gl&, dmabroker::egl::Texture texture, dmabroker::Size size);

} // namespace dmb::gpu

template <class Works> dmb::gpu::EglContext dmb::gpu::first_working_display(Works works)
{
    std::string reason = "no EGL display can be opened";
    for (const bool software : {false, true})
        for (unsigned i = 0; i < EglContext::count(); ++i) {
            try {
                EglContext context(i);
                if (context.software() == software && works(context)) return context;
            } catch (const std::exception& e) {
                reason = e.what();
            }
        }
    throw std::runtime_error(reason);
}
