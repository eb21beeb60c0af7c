// SPDX-License-Identifier: MIT
// What the compositor draws: cards with a picture, and text.
#pragma once
#include "libclient/headless/egl_context.hpp"

#include <string>

namespace dmb::demo {

/// Coordinates are pixels of the target, y down.
struct Card {
    dmabroker::egl::Texture picture;
    float centre_x, centre_y, width, height;
    float angle; ///< radians
};

class Scene {
public:
    Scene(const gpu::Gl& gl, dmabroker::Size size);
    ~Scene();
    Scene(const Scene&) = delete;
    Scene& operator=(const Scene&) = delete;

    void background() const;
    /// A frame, a shadow, and the picture over a chequerboard that shows its alpha.
    void card(const Card&) const;
    /// Centred at x; `dot` is the size of a font's dot in pixels.
    void text(const std::string& text, float centre_x, float top, float dot, float brightness) const;

private:
    void use(GLuint program, const dmabroker::egl::Texture& texture) const;
    void set(GLuint program, const char* name, float x, float y) const;
    const gpu::Gl& gl_;
    dmabroker::Size size_;
    GLuint background_, card_, external_card_ = 0, text_;
};

} // namespace dmb::demo
