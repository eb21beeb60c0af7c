// SPDX-License-Identifier: MIT
// Scene: the compositor's shaders and what it draws with them; for the context that is current. One quad per thing. A
// card's quad is larger than the card, so that its shadow and its smooth edges, both made of the distance to a rounded
// rectangle, have room. Textures are the caller's.
#include "tools/demo/scene.hpp"

#include "tools/demo/font.hpp"

#include <cmath>

namespace dmb::demo {
namespace {

constexpr const char* vertex_shader = R"(
attribute vec2 position;
uniform vec2 target, centre, half_size, turn;
varying vec2 local;
void main()
{
    local = position * half_size;
    vec2 at = centre + vec2(local.x * turn.x - local.y * turn.y, local.x * turn.y + local.y * turn.x);
    gl_Position = vec4(at / target * 2.0 - 1.0, 0.0, 1.0);
}
)";

constexpr const char* background_shader = R"(
precision highp float;
varying vec2 local;
uniform vec2 target;
void main()
{
    vec2 at = local / target + 0.5;
    vec3 colour = mix(vec3(0.10, 0.12, 0.20), vec3(0.03, 0.03, 0.06), at.y);
    colour += 0.10 * vec3(0.35, 0.45, 0.9) * exp(-6.0 * dot(at - vec2(0.5, 0.45), at - vec2(0.5, 0.45)));
    vec2 grid = abs(fract(local / 32.0) - 0.5);
    colour += 0.018 * smoothstep(0.47, 0.5, max(grid.x, grid.y));
    gl_FragColor = vec4(colour, 1.0);
}
)";

constexpr const char* card_shader = R"(
precision highp float;
varying vec2 local;
uniform vec2 picture_size;
float distance_to(vec2 point, vec2 half_size, float radius)
{
    vec2 d = abs(point) - half_size + radius;
    return length(max(d, 0.0)) + min(max(d.x, d.y), 0.0) - radius;
}
void main()
{
    vec2 half_size = picture_size * 0.5;
    float frame = distance_to(local, half_size + 7.0, 10.0), inside = distance_to(local, half_size, 5.0);
    float shadow = 0.55 * (1.0 - smoothstep(-14.0, 22.0, distance_to(local - vec2(5.0, 10.0), half_size + 7.0, 10.0)));
    vec4 picture = texture2D(image, local / picture_size + 0.5);
    float check = mod(floor(local.x / 12.0) + floor(local.y / 12.0), 2.0);
    vec3 colour = mix(mix(vec3(0.30), vec3(0.38), check), picture.rgb, picture.a);
    colour = mix(colour, vec3(0.93, 0.94, 0.97), smoothstep(-0.75, 0.75, inside));
    float cover = 1.0 - smoothstep(-0.75, 0.75, frame);
    gl_FragColor = vec4(colour * cover, cover + shadow * (1.0 - cover));
}
)";

constexpr const char* text_shader = R"(
precision highp float;
varying vec2 local;
uniform sampler2D image;
uniform vec2 picture_size, brightness;
void main()
{
    float cover = texture2D(image, local / picture_size + 0.5).a;
    gl_FragColor = vec4(vec3(0.92, 0.95, 1.0) * brightness.x * cover, cover);
}
)";

const std::string sampler_2d = "uniform sampler2D image;\n";
const std::string sampler_external = "#extension GL_OES_EGL_image_external : require\nuniform samplerExternalOES image;\n";

/// The extension directive must precede everything else, the precision its use.
std::string card_source(bool external) { return external ? sampler_external + card_shader : sampler_2d + card_shader; }

constexpr float card_margin = 48;

} // namespace

Scene::Scene(const gpu::Gl& gl, dmabroker::Size size)
    : gl_(gl),
      size_(size),
      background_(gpu::make_program(gl, vertex_shader, background_shader)),
      card_(gpu::make_program(gl, vertex_shader, card_source(false))),
      text_(gpu::make_program(gl, vertex_shader, text_shader))
{
    try {
        external_card_ = gpu::make_program(gl, vertex_shader, card_source(true));
    } catch (const std::exception&) {
        // A driver without external textures gives none to draw either.
    }
    gl.Viewport(0, 0, static_cast<GLsizei>(size.width), static_cast<GLsizei>(size.height));
    gl.Enable(GL_BLEND);
    gl.BlendFuncSeparate(GL_ONE, GL_ONE_MINUS_SRC_ALPHA, GL_ONE, GL_ONE_MINUS_SRC_ALPHA); // shaders premultiply
}

Scene::~Scene()
{
    for (const GLuint program : {background_, card_, external_card_, text_}) gl_.DeleteProgram(program);
}

void Scene::set(GLuint program, const char* name, float x, float y) const
{
    gl_.Uniform2f(gl_.GetUniformLocation(program, name), x, y);
}

void Scene::use(GLuint program, const dmabroker::egl::Texture& texture) const
{
    gl_.UseProgram(program);
    set(program, "target", static_cast<float>(size_.width), static_cast<float>(size_.height));
    set(program, "turn", 1, 0);
    if (!texture.name) return;
    gl_.ActiveTexture(GL_TEXTURE0);
    gl_.BindTexture(texture.target, texture.name);
    gl_.Uniform1i(gl_.GetUniformLocation(program, "image"), 0);
}

void Scene::background() const
{
    const auto width = static_cast<float>(size_.width), height = static_cast<float>(size_.height);
    use(background_, {});
    set(background_, "centre", width / 2, height / 2);
    set(background_, "half_size", width / 2, height / 2);
    gpu::draw_quad(gl_);
}

void Scene::card(const Card& card) const
{
    const GLuint program = card.picture.target == GL_TEXTURE_2D ? card_ : external_card_;
    use(program, card.picture);
    for (const GLenum filter : {GL_TEXTURE_MIN_FILTER, GL_TEXTURE_MAG_FILTER})
        gl_.TexParameteri(card.picture.target, filter, GL_LINEAR);
    for (const GLenum wrap : {GL_TEXTURE_WRAP_S, GL_TEXTURE_WRAP_T})
        gl_.TexParameteri(card.picture.target, wrap, GL_CLAMP_TO_EDGE);
    set(program, "centre", card.centre_x, card.centre_y);
    set(program, "half_size", card.width / 2 + card_margin, card.height / 2 + card_margin);
    set(program, "turn", std::cos(card.angle), std::sin(card.angle));
    set(program, "picture_size", card.width, card.height);
    gpu::draw_quad(gl_);
}

void Scene::text(const std::string& text, float centre_x, float top, float dot, float brightness) const
{
    const TextPixels pixels = draw_text(text);
    const float width = static_cast<float>(pixels.width) * dot, height = static_cast<float>(pixels.height) * dot;
    const GLuint texture = gpu::make_texture(gl_, {pixels.width, pixels.height}, pixels.rgba.data());
    for (const GLenum filter : {GL_TEXTURE_MIN_FILTER, GL_TEXTURE_MAG_FILTER})
        gl_.TexParameteri(GL_TEXTURE_2D, filter, GL_NEAREST);
    use(text_, {texture, GL_TEXTURE_2D});
    // Whole pixels: a dot must not be wider than its neighbour.
    set(text_, "centre", std::floor(centre_x - width / 2) + width / 2, std::floor(top) + height / 2);
    set(text_, "half_size", width / 2, height / 2);
    set(text_, "picture_size", width, height);
    set(text_, "brightness", brightness, 0);
    gpu::draw_quad(gl_);
    gl_.DeleteTextures(1, &texture);
}

} // namespace dmb::demo
