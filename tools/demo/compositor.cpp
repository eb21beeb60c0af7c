// SPDX-License-Identifier: MIT
// The consumer: opens the renderers' images by their tokens, imports them as GL textures, and draws them
// into an image that the broker allocated for it. What no GL can import is copied, and said to be.
//
// Standard input: a line "NAME TOKEN MILLISECONDS HOW" per image. Standard output: the table, then
// "token TOKEN" of the composite, which is held until this process is ended.
#include "tools/demo/gl_image.hpp"
#include "tools/demo/scene.hpp"
#include "tools/demo/stage.hpp"

#include <array>
#include <cstdio>
#include <sstream>
#include <vector>

namespace dmb::demo {
namespace {

constexpr dmabroker::Size canvas{1344, 528};

struct Source {
    std::string name, token, how;
    double milliseconds = 0;
};

std::vector<Source> read_sources()
{
    std::vector<Source> out;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        Source source;
        if (words >> source.name >> source.token >> source.milliseconds && std::getline(words >> std::ws, source.how))
            out.push_back(source);
    }
    return out;
}

// --- images --------------------------------------------------------------------------------

struct Picture {
    Source source;
    dmabroker_image_info info;
    std::optional<GlImage> imported;
    dmabroker::egl::Texture texture;
    std::string how;
    double milliseconds = 0;
};

/// The rung below all others: through the CPU.
dmabroker::egl::Texture copy(const dmabroker::Image& image, const gpu::EglContext& context)
{
    auto mapping = image.map(dmabroker::Direction::read);
    const auto mapped = mapping.begin(dmabroker::Direction::read);
    const auto [width, height] = image.size();
    const bool swapped = image.info().format == dmabroker::fourcc("AR24");
    std::vector<std::uint8_t> rgba;
    for (unsigned y = 0; y < height; ++y)
        for (unsigned x = 0; x < width; ++x) {
            const auto* pixel = mapped.row<std::uint8_t>(y) + x * 4;
            for (const unsigned k : {swapped ? 2u : 0u, 1u, swapped ? 0u : 2u, 3u}) rgba.push_back(pixel[k]);
        }
    return {gpu::make_texture(context.gl(), image.size(), rgba.data()), GL_TEXTURE_2D};
}

Picture open_picture(dmabroker::Client& client, const gpu::EglContext& context, const Source& source, bool may_copy)
{
    dmabroker::Image image = client.open(source.token, dmabroker::Rights::read, dmabroker::Usage::sample);
    Picture out{source, image.info(), {}, {}, {}, 0};
    const Stopwatch watch;
    try {
        out.imported = import_image(std::move(image), context);
        out.texture = out.imported->texture;
        out.how = out.imported->how;
    } catch (const std::exception& e) {
        if (!may_copy) throw;
        std::cerr << "demo-compositor: " << source.name << " is copied: " << e.what() << std::endl;
        out.texture = copy(client.open(source.token, dmabroker::Rights::read, dmabroker::Usage::cpu_read), context);
        out.how = "copy by the CPU";
    }
    out.milliseconds = watch.milliseconds();
    return out;
}

struct Stage {
    gpu::EglContext context;
    std::vector<Picture> pictures;
};

/// A display that imports all images; or else the first that opens, with copies.
Stage set_up(dmabroker::Client& client, const std::vector<Source>& sources)
{
    std::vector<Picture> pictures;
    for (const bool may_copy : {false, true}) {
        const auto works = [&](const gpu::EglContext& context) {
            try {
                for (const Source& source : sources) pictures.push_back(open_picture(client, context, source, may_copy));
                return true;
            } catch (...) {
                pictures.clear(); // textures must go while their context is current
                throw;
            }
        };
        try {
            gpu::EglContext context = gpu::first_working_display(works);
            return {std::move(context), std::move(pictures)};
        } catch (const std::exception& e) {
            if (may_copy) throw;
            std::cerr << "demo-compositor: no display imports all images: " << e.what() << std::endl;
        }
    }
    throw std::logic_error("not reached");
}

// --- words ---------------------------------------------------------------------------------

template <std::size_t N> std::string word(std::uint32_t value, const std::array<const char*, N>& words)
{
    return value < N ? words[value] : "?";
}

std::string kind(const dmabroker_image_info& info) { return word(info.kind, std::array{"?", "dma_buf", "opaque", "memfd"}); }
std::string backend(const dmabroker_image_info& info)
{
    return word(info.backend, std::array{"?", "memfd", "udmabuf", "dma_heap", "gbm", "vulkan", "vulkan_opaque", "client"});
}
std::string rung(const dmabroker_image_info& info)
{
    return word(info.rung, std::array{"?", "copy", "blit", "system_dma_buf", "linear", "tiled"});
}
std::string fourcc_text(std::uint32_t code)
{
    std::string out;
    for (unsigned shift = 0; shift < 32; shift += 8) out += static_cast<char>(code >> shift & 0xff);
    return out;
}
std::string modifier(std::uint64_t value)
{
    if (value == DMABROKER_MODIFIER_LINEAR) return "LINEAR";
    if (value == DMABROKER_MODIFIER_INVALID) return "INVALID";
    std::array<char, 20> text{};
    std::snprintf(text.data(), text.size(), "0x%016llx", static_cast<unsigned long long>(value));
    return text.data();
}

// --- picture and table ---------------------------------------------------------------------

void compose(const Stage& stage, const GlImage& target)
{
    const auto& gl = stage.context.gl();
    gpu::make_framebuffer(gl, target.texture.name);
    const Scene scene(gl, canvas);
    scene.background();
    scene.text("dmabroker", canvas.width / 2.f, 24, 5, 1);
    const float step = static_cast<float>(canvas.width) / static_cast<float>(stage.pictures.size());
    float x = step / 2;
    float angle = -0.035f;
    for (const Picture& picture : stage.pictures) {
        scene.card({picture.texture, x, 262, 336, 252, angle});
        scene.text(picture.source.name, x, 88, 3, 1);
        scene.text(picture.source.how, x, 412, 2, 0.85f);
        scene.text("> " + kind(picture.info) + " > " + picture.how, x, 432, 2, 0.85f);
        scene.text(fourcc_text(picture.info.format) + " " + modifier(picture.info.modifier) + " from " + backend(picture.info),
                   x, 456, 2, 0.65f);
        x += step;
        angle = angle < 0 ? 0.03f : -0.02f;
    }
    scene.text("composited with " + stage.context.name() + " into " + kind(target.image.info()) + " " + target.how,
               canvas.width / 2.f, 492, 2, 0.5f);
    gl.Finish();
}

using Row = std::array<std::string, 9>;

Row row(const std::string& name, const dmabroker_image_info& info, const std::string& drawn, const std::string& imported,
        double milliseconds)
{
    std::array<char, 24> time{};
    std::snprintf(time.data(), time.size(), "%.1f ms", milliseconds);
    return {std::to_string(info.id) + " " + name,
            backend(info),
            drawn,
            imported,
            fourcc_text(info.format),
            modifier(info.modifier),
            kind(info),
            rung(info),
            time.data()};
}

void print_table(const std::vector<Row>& rows)
{
    std::array<std::size_t, 9> widths{};
    for (const Row& r : rows)
        for (std::size_t i = 0; i < r.size(); ++i) widths[i] = std::max(widths[i], r[i].size());
    for (const Row& r : rows) {
        for (std::size_t i = 0; i < r.size(); ++i) std::printf("%-*s  ", static_cast<int>(widths[i]), r[i].c_str());
        std::printf("\n");
    }
    std::fflush(stdout);
}

void run_compositor()
{
    const std::vector<Source> sources = read_sources();
    if (sources.empty()) throw std::runtime_error("no images to composite on standard input");
    auto client = dmabroker::Client::connect();
    const Stage stage = set_up(client, sources);
    GlImage target = make_target(client, stage.context, canvas, dmabroker::fourcc("AB24"), "demo: composite");
    const Stopwatch watch;
    compose(stage, target);
    const double milliseconds = watch.milliseconds();
    std::vector<Row> rows{
        {"IMAGE", "ALLOCATED BY", "DRAWN THROUGH", "IMPORTED BY", "FOURCC", "MODIFIER", "KIND", "RUNG", "TIME"}};
    for (const Picture& p : stage.pictures)
        rows.push_back(row(p.source.name, p.info, p.source.how, p.how, p.source.milliseconds + p.milliseconds));
    rows.push_back(row("composite", target.image.info(), target.how, "dmabrokerctl get", milliseconds));
    print_table(rows);
    std::cout << "token " << target.image.token(dmabroker::Rights::read) << std::endl;
    for (;;) ::pause();
}

} // namespace
} // namespace dmb::demo

int main() { return dmb::demo::run("demo-compositor", dmb::demo::run_compositor); }
