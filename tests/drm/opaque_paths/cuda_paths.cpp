// SPDX-License-Identifier: MIT
// CUDA imports no dma-bufs, it only exports them; who else takes such memory is found out by trying. A driver that
// crashes on it fails the path, as does one that shows other pixels.
#include "tests/drm/opaque_paths/cuda_paths.hpp"

#include "libclient/headless/egl_context.hpp"
#include "proto/image/fd_identity.hpp"
#include "tests/drm/opaque_paths/cuda.hpp"

#include <cstring>
#include <dmabroker/gl.hpp>
#include <fmt/core.h>

namespace dmb::paths {
namespace {

using dmabroker::Direction;
using dmabroker::Image;
using dmabroker::Rights;
using dmabroker::Usage;
constexpr std::size_t cuda_granularity = 2 << 20; ///< exported ranges begin and end at pages; this is CUDA's largest
constexpr std::size_t row_bytes = std::size_t{size.width} * 4;
constexpr std::size_t stride = (row_bytes + 255) / 256 * 256;

Uuid uuid_of(const dmabroker_image_info& info)
{
    Uuid out;
    std::memcpy(out.data(), info.device_uuid, out.size());
    return out;
}

const Image& tiled(const Image& image)
{
    if (image.info().optimal_tiling) return image;
    throw Skip("a linear opaque image has a stride that only Vulkan knows");
}

/// What CUDA has of an image and its semaphore.
struct View {
    View(Opened& opened, Sync sync) : cuda(Cuda::with_uuid(uuid_of(opened.image.info()))), image(cuda, tiled(opened.image))
    {
        if (sync == Sync::binary) semaphore.emplace(cuda, std::move(opened.semaphore));
    }
    Cuda cuda;
    CudaImage image;
    std::optional<CudaSemaphore> semaphore;
};

// --- who takes a dma-buf of CUDA -------------------------------------------------------------

Pixels read_by_cpu(const Image& image)
{
    auto mapping = image.map(Direction::read);
    const auto mapped = mapping.begin(Direction::read);
    Pixels out;
    for (std::uint32_t y = 0; y < size.height; ++y) {
        const auto* row = mapped.row<std::uint8_t>(y);
        out.insert(out.end(), row, row + row_bytes);
    }
    return out;
}

Pixels read_by_egl(const Image& image, unsigned display)
{
    const gpu::EglContext context(display);
    const auto images = dmabroker::egl::import(image, context.display());
    return gpu::sample_pixels(context.gl(), images.texture(), size);
}

Pixels read_by_gl(const Image& image, unsigned display)
{
    const gpu::EglContext context(display);
    const auto texture = dmabroker::gl::import(image, context.display().get_proc);
    return gpu::sample_pixels(context.gl(), {texture.name(), GL_TEXTURE_2D}, size);
}

Pixels read_by_vulkan(const Image& image, unsigned device)
{
    const gpu::VulkanContext context(device);
    return context.read(dmabroker::vulkan::import(image, context.device()), size, 4);
}

/// A CUDA that took it would say what the documentation does not.
Pixels read_by_cuda(const Image& image)
{
    const Cuda cuda = Cuda::first();
    dmabroker_image_info info = image.info();
    info.kind = DMABROKER_OPAQUE; // there is no handle type for dma-bufs: OPAQUE_FD is the nearest
    info.plane_count = 0;
    info.optimal_tiling = 1;
    const Uuid device = cuda.uuid();
    std::copy(device.begin(), device.end(), info.device_uuid);
    const int fd = image.fd();
    return CudaImage(cuda, dmabroker::adopt(info, &fd)).read();
}

using Read = std::function<Pixels(const Image&)>;

/// In a process of its own: the next one is tried whatever this driver does.
std::string attempt(const Setup& setup, const std::string& token, const std::string& who, const Read& read)
{
    const Outcome outcome = run_alone([&] {
        dmabroker::Client client = connect(setup, who);
        const Image image = client.open(token, Rights::read, Usage::sample);
        Pixels seen;
        try {
            seen = read(image);
        } catch (const std::exception& e) {
            throw Skip(e.what());
        }
        compare(seen, after());
        return std::string("pixels right");
    });
    if (outcome.verdict == Verdict::failed) throw std::runtime_error(who + " takes CUDA's dma-buf: " + outcome.text);
    const char* verb = outcome.verdict == Verdict::passed ? "takes it" : "refuses";
    return fmt::format("\n     {} {}: {}", who, verb, outcome.text);
}

/// Counting loads drivers, which this process must not, for it forks.
unsigned count(unsigned (*how_many)())
{
    const Outcome outcome = run_alone([&] { return std::to_string(how_many()); });
    return outcome.verdict == Verdict::passed ? static_cast<unsigned>(std::stoul(outcome.text)) : 0;
}

std::string attempts(const Setup& setup, const std::string& token)
{
    const auto tried = [&](const std::string& who, const Read& read) { return attempt(setup, token, who, read); };
    std::string out = tried("cpu", read_by_cpu);
    for (unsigned i = 0; i < count(gpu::EglContext::count); ++i) {
        out += tried(fmt::format("egl display {}", i), [i](const Image& image) { return read_by_egl(image, i); });
        out += tried(fmt::format("gl memory object, display {}", i), [i](const Image& image) { return read_by_gl(image, i); });
    }
    for (unsigned i = 0; i < count(gpu::VulkanContext::count); ++i)
        out += tried(fmt::format("vulkan device {}", i), [i](const Image& image) { return read_by_vulkan(image, i); });
    return out + tried("cuda as OPAQUE_FD", read_by_cuda);
}

dmabroker_image_info describe(std::size_t bytes)
{
    dmabroker_image_info info{};
    info.width = size.width;
    info.height = size.height;
    info.format = dmabroker::fourcc("AB24");
    info.usage = DMABROKER_USAGE_SAMPLE;
    info.modifier = DMABROKER_MODIFIER_LINEAR;
    info.kind = DMABROKER_DMA_BUF;
    info.plane_count = info.memory_count = 1;
    info.planes[0].stride = stride;
    info.memory_size[0] = bytes;
    return info;
}

Pixels with_stride(const Pixels& pixels)
{
    Pixels out(stride * size.height);
    for (std::size_t y = 0; y < size.height; ++y)
        std::memcpy(out.data() + y * stride, pixels.data() + y * row_bytes, row_bytes);
    return out;
}

} // namespace

std::string cuda_reads(Link& link, const Setup& setup, Sync sync)
{
    Opened opened = open_shared(link, setup, "cuda reads", Rights::read);
    const View view(opened, sync);
    link.send("ready");
    link.expect("drawn");
    std::string note;
    if (view.semaphore) note = view.semaphore->wait() ? "the wait was pending" : "the signal came before the wait";
    compare(view.image.read(), after());
    link.send("seen");
    return note;
}

std::string cuda_draws(Link& link, const Setup& setup, Sync sync)
{
    Opened opened = open_shared(link, setup, "cuda draws", Rights::read | Rights::write);
    const View view(opened, sync);
    link.send("ready");
    view.image.write(after());
    if (view.semaphore) view.semaphore->signal();
    else view.cuda.synchronize();
    link.send("drawn");
    link.expect("seen");
    return "";
}

std::string cuda_registers(Link& link, const Setup& setup)
{
    const Cuda cuda = Cuda::first();
    const CudaBuffer buffer(cuda, cuda_granularity);
    buffer.write(with_stride(after()));
    const UniqueFd fd = buffer.export_dma_buf();
    dmabroker::Client client = connect(setup, "cuda registers");
    const int raw = fd.get();
    dmabroker::Image image = client.register_image(describe(identify(raw).size), &raw, "of CUDA");
    link.send(image.token(Rights::read), raw);
    link.expect("seen");
    return "";
}

std::string everybody_opens(Link& link, const Setup& setup)
{
    UniqueFd original;
    const std::string token = link.receive(original);
    dmabroker::Client client = connect(setup, "everybody");
    const dmabroker::Image image = client.open(token, Rights::read, Usage::sample);
    const FdIdentity made = identify(original.get()), got = identify(image.fd());
    if (made.inode != got.inode || made.size != got.size)
        throw std::runtime_error("the broker handed out other memory than was registered");
    const std::string out = fmt::format("one dma-buf of {} bytes at both ends", got.size) + attempts(setup, token);
    link.send("seen");
    return out;
}

} // namespace dmb::paths
