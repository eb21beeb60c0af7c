// SPDX-License-Identifier: MIT
// demo-egl, one of the three renderers: draws with GLES, straight into the broker's image: three glass balls over a
// floor, ray-traced in the fragment shader. The sky is transparent. It takes the first display whose GL can draw into
// such an image, hardware first, and holds the image until the demo ends it (stage.hpp).
#include "tools/demo/gl_image.hpp"
#include "tools/demo/stage.hpp"

namespace {

constexpr const char* vertex_shader = R"(
attribute vec2 position;
varying vec2 at;
void main() { at = position; gl_Position = vec4(position, 0.0, 1.0); }
)";

// The image's first row is the top of the picture, so y points down here.
constexpr const char* fragment_shader = R"(
precision highp float;
varying vec2 at;

vec4 ball(int i)
{
    if (i == 0) return vec4(-0.95, 0.62, 3.1, 0.62);
    if (i == 1) return vec4(0.35, 0.85, 3.7, 0.85);
    return vec4(0.55, 0.32, 2.2, 0.32);
}
vec3 tint(int i)
{
    if (i == 0) return vec3(0.95, 0.30, 0.25);
    if (i == 1) return vec3(0.20, 0.55, 0.95);
    return vec3(1.00, 0.78, 0.20);
}
float hit(vec3 from, vec3 ray, vec4 b)
{
    vec3 to = from - b.xyz;
    float half_b = dot(to, ray), d = half_b * half_b - dot(to, to) + b.w * b.w;
    return d < 0.0 ? -1.0 : -half_b - sqrt(d);
}
vec3 light() { return normalize(vec3(-0.5, 0.9, -0.6)); }
float lit(vec3 point)
{
    for (int i = 0; i < 3; ++i)
        if (hit(point, light(), ball(i)) > 0.001) return 0.25;
    return 1.0;
}
vec4 floor_colour(vec3 point)
{
    float check = mod(floor(point.x * 2.0) + floor(point.z * 2.0), 2.0);
    float fade = smoothstep(9.0, 3.0, point.z);
    return vec4(mix(vec3(0.16, 0.18, 0.24), vec3(0.86, 0.88, 0.92), check) * mix(0.35, 1.0, lit(point)), fade);
}
vec3 shade(int i, vec3 point, vec3 ray)
{
    vec3 normal = normalize(point - ball(i).xyz);
    float diffuse = max(dot(normal, light()), 0.0) * lit(point + normal * 0.01);
    float shine = pow(max(dot(reflect(ray, normal), light()), 0.0), 60.0);
    float rim = pow(1.0 - max(dot(normal, -ray), 0.0), 3.0);
    return tint(i) * (0.18 + 0.85 * diffuse) + shine + rim * vec3(0.25, 0.35, 0.55);
}
void main()
{
    vec3 from = vec3(0.0, 1.0, -0.6);
    vec3 ray = normalize(vec3(at.x * 1.33, -at.y - 0.12, 2.1));
    float nearest = 1e9;
    vec4 colour = vec4(0.45, 0.65, 0.95, 0.0);
    if (ray.y < 0.0) {
        nearest = -from.y / ray.y;
        colour = floor_colour(from + ray * nearest);
    }
    for (int i = 0; i < 3; ++i) {
        float t = hit(from, ray, ball(i));
        if (t > 0.0 && t < nearest) {
            nearest = t;
            colour = vec4(shade(i, from + ray * t, ray), 1.0);
        }
    }
    gl_FragColor = colour;
}
)";

void draw(const dmb::gpu::EglContext& context, const dmb::demo::GlImage& target)
{
    const auto& gl = context.gl();
    const auto program = dmb::gpu::make_program(gl, vertex_shader, fragment_shader);
    dmb::gpu::make_framebuffer(gl, target.texture.name);
    gl.Viewport(0, 0, static_cast<GLsizei>(target.image.size().width), static_cast<GLsizei>(target.image.size().height));
    gl.UseProgram(program);
    dmb::gpu::draw_quad(gl);
    gl.Finish();
}

void render()
{
    auto client = dmabroker::Client::connect();
    std::optional<dmb::demo::GlImage> target;
    const auto context = dmb::gpu::first_working_display([&](const dmb::gpu::EglContext& candidate) {
        target = dmb::demo::make_target(client, candidate, dmb::demo::picture, dmabroker::fourcc("AB24"), "demo: EGL");
        return true;
    });
    const dmb::demo::Stopwatch watch;
    draw(context, *target);
    dmb::demo::present("EGL", target->image, watch.milliseconds(), target->how);
}

} // namespace

int main() { return dmb::demo::run("demo-egl", render); }
