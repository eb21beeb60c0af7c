// SPDX-License-Identifier: MIT
// demo-cpu, one of the three renderers: draws with the CPU a Julia set whose far field is transparent. It goes through
// a mapping of the image; where GPUs take opaque memory only, which the CPU cannot map, the broker uploads it instead.
// It holds its image until the demo ends it (stage.hpp).
#include "tools/demo/stage.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <vector>

namespace {

constexpr std::uint32_t format = dmabroker::fourcc("AR24"); // B, G, R, A in memory

/// How fast a point escapes, smoothly: 0 at once, 1 never.
float escape(std::complex<float> z)
{
    constexpr int steps = 120;
    for (int i = 0; i < steps; ++i) {
        if (std::norm(z) > 256)
            return std::clamp((static_cast<float>(i) + 1 - std::log2(std::log2(std::abs(z)))) / steps, 0.f, 1.f);
        z = z * z + std::complex<float>(-0.79f, 0.156f);
    }
    return 1;
}

std::uint8_t byte(float value) { return static_cast<std::uint8_t>(std::lrint(std::clamp(value, 0.f, 1.f) * 255)); }

void colour(float e, std::uint8_t* bgra)
{
    const float glow = std::pow(e, 0.45f);
    const auto wave = [&](float phase) { return 0.5f + 0.5f * std::cos(6.2832f * (1.6f * glow + phase)); };
    bgra[0] = byte(wave(0.55f));
    bgra[1] = byte(wave(0.72f) * (0.3f + 0.7f * glow));
    bgra[2] = byte(wave(0.95f) * (0.2f + 1.2f * glow));
    bgra[3] = byte(3.2f * glow - 0.45f);
}

void paint(std::uint8_t* pixels, std::size_t stride)
{
    const auto [width, height] = dmb::demo::picture;
    for (unsigned y = 0; y < height; ++y)
        for (unsigned x = 0; x < width; ++x) {
            const float scale = 2.5f / static_cast<float>(height);
            const std::complex<float> z((static_cast<float>(x) + 0.5f - static_cast<float>(width) / 2) * scale,
                                        (static_cast<float>(y) + 0.5f - static_cast<float>(height) / 2) * scale);
            colour(escape(z), pixels + y * stride + x * 4);
        }
}

dmabroker::Allocation wanted(std::uint32_t backends, dmabroker::Usage usage)
{
    dmabroker::Allocation out{.size = dmb::demo::picture, .format = format, .usage = usage};
    out.backends = backends;
    out.label = "demo: CPU";
    return out;
}

constexpr std::uint32_t system_memory = DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_MEMFD) |
                                        DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_UDMABUF) |
                                        DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_DMA_HEAP);

void render_mapped(dmabroker::Client& client)
{
    using dmabroker::Direction, dmabroker::Usage;
    auto image = client.allocate(wanted(system_memory, Usage::cpu_write | Usage::sample));
    const dmb::demo::Stopwatch watch;
    auto mapping = image.map(Direction::write);
    auto bytes = mapping.begin(Direction::write);
    paint(bytes.row<std::uint8_t>(0), bytes.stride());
    bytes.end();
    dmb::demo::present("CPU", image, watch.milliseconds(), "CPU mapping");
}

void render_uploaded(dmabroker::Client& client)
{
    const dmb::demo::Stopwatch watch;
    std::vector<std::uint8_t> pixels(std::size_t{dmb::demo::picture.width} * dmb::demo::picture.height * 4);
    paint(pixels.data(), dmb::demo::picture.width * 4);
    auto request = wanted(DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_VULKAN_OPAQUE), dmabroker::Usage::sample);
    request.contents = dmabroker_pixels{{pixels.data()}, {0}};
    auto image = client.allocate(request);
    dmb::demo::present("CPU", image, watch.milliseconds(), "upload by the broker's worker");
}

/// NVIDIA's EGL imports neither memfds nor dma-bufs of others.
bool wants_opaque() { return ::access("/dev/nvidiactl", F_OK) == 0; }

void render()
{
    auto client = dmabroker::Client::connect();
    if (wants_opaque()) {
        try {
            return render_uploaded(client);
        } catch (const dmabroker::Error& e) {
            std::cerr << "demo-cpu: " << e.what() << "; going on with system memory" << std::endl;
        }
    }
    render_mapped(client);
}

} // namespace

int main() { return dmb::demo::run("demo-cpu", render); }
