// SPDX-License-Identifier: MIT
// Which EGL display the matrix means. Made once per process.
#pragma once
#include "libclient/headless/egl_context.hpp"

namespace dmb::matrix {

/// `node`: empty for the software device (or the first one), else a DRM node for GBM. Throws with what is missing.
gpu::EglContext make_context(const std::string& node);

/// Empty, or why the driver cannot draw into a texture.
std::string cannot_draw(const gpu::Gl&, GLuint texture);

} // namespace dmb::matrix
