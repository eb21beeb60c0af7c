// SPDX-License-Identifier: MIT
// A current GLES 3 context without a window, and what the matrix draws with it. Made once per process.
#pragma once
#include "tests/drm/matrix/pattern.hpp"

#include <EGL/egl.h>
#include <expected>
#include <GLES3/gl3.h>
#include <string>

namespace dmb::matrix {

/// `node`: empty for the software device (or the first one), else a DRM node for GBM. The error says
/// what is missing.
std::expected<EGLDisplay, std::string> make_context(const std::string& node);

/// Shaders and a float target for the current context.
class Painter {
public:
    Painter();
    /// What sampling the texture gives, texel by texel.
    Texels read(GLuint texture, GLenum target, Extent);
    /// Draws texels into the texture; the text says why it cannot be drawn to.
    std::string draw(GLuint texture, Extent, const Texels&);

private:
    GLuint program_2d_ = 0, program_external_ = 0;
};

} // namespace dmb::matrix
