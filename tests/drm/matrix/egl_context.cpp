// SPDX-License-Identifier: MIT
// The software EGLDevice is preferred because it is the one that takes foreign memory (with DRM nodes
// present Mesa's other displays do not). libgbm is opened at run time: machines without it can run the
// rest of the matrix.
#include "tests/drm/matrix/egl_context.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdexcept>
#include <sys/stat.h>

namespace dmb::matrix {
namespace {

/// Node and gbm_device stay open as long as the process: the display lives in them.
gpu::EglContext on_gbm(const std::string& node)
{
    void* library = ::dlopen("libgbm.so.1", RTLD_NOW);
    if (!library) throw std::runtime_error("libgbm.so.1 is missing");
    const auto create = reinterpret_cast<void* (*)(int)>(::dlsym(library, "gbm_create_device"));
    const int fd = ::open(node.c_str(), O_RDWR | O_CLOEXEC);
    struct stat status{};
    if (fd < 0 || ::fstat(fd, &status) != 0) throw std::runtime_error("cannot open " + node);
    void* gbm = create ? create(fd) : nullptr;
    if (!gbm) throw std::runtime_error("gbm_create_device failed on " + node);
    return gpu::EglContext(gbm, status.st_rdev);
}

} // namespace

gpu::EglContext make_context(const std::string& node)
{
    if (!node.empty()) return on_gbm(node);
    for (unsigned i = 0; i < gpu::EglContext::count(); ++i)
        if (gpu::EglContext::place(i).software) return gpu::EglContext(i);
    return gpu::EglContext(0);
}

std::string cannot_draw(const gpu::Gl& gl, GLuint texture)
{
    try {
        const GLuint framebuffer = gpu::make_framebuffer(gl, texture);
        gl.DeleteFramebuffers(1, &framebuffer);
        return {};
    } catch (const std::exception& e) {
        return e.what();
    }
}

} // namespace dmb::matrix
