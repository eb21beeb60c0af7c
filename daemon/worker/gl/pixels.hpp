// SPDX-License-Identifier: MIT
// Pixels through GLES, as floats: exact for every format, because a float has room for 16 bits of each channel.
// All of it wants the context current, and throws std::runtime_error.
#pragma once
#include "libclient/headless/egl_context.hpp"
#include "proto/image/proof_pattern.hpp"

namespace dmb::worker {

using Texels = std::vector<Sampled>;

class GlPixels {
public:
    explicit GlPixels(const gpu::Gl&);
    GlPixels(const GlPixels&) = delete;
    GlPixels& operator=(const GlPixels&) = delete;

    /// What sampling shows, texel by texel, first row of memory first.
    Texels read(dmabroker::egl::Texture, Extent) const;
    /// Draws into a texture of target GL_TEXTURE_2D and waits for it.
    void draw(GLuint texture, Extent, const Texels&) const;
    void copy(dmabroker::egl::Texture from, GLuint to, Extent) const;

private:
    void draw_over(GLuint framebuffer, dmabroker::egl::Texture, Extent) const;
    const gpu::Gl& gl_;
    GLuint program_2d_ = 0;
    GLuint program_external_ = 0; ///< 0: the driver has no external textures
};

/// Deleted at the end of the scope.
class OwnedTexture {
public:
    OwnedTexture(const gpu::Gl& gl, dmabroker::egl::Texture texture) : gl_(gl), texture_(texture) {}
    OwnedTexture(const OwnedTexture&) = delete;
    OwnedTexture& operator=(const OwnedTexture&) = delete;
    ~OwnedTexture() { gl_.DeleteTextures(1, &texture_.name); }
    dmabroker::egl::Texture get() const { return texture_; }

private:
    const gpu::Gl& gl_;
    dmabroker::egl::Texture texture_;
};

} // namespace dmb::worker
