// SPDX-License-Identifier: MIT
// The provers of Api::egl and Api::gl_memory: dma-bufs as EGLImages and opaque memory as GL memory objects. Both are
// sampled as floats and compared texel by texel; what is drawn is looked at again through a second import. Displays are
// opened for the first trial that needs them and stay. What libdmabroker refuses or the driver throws is the result
// `refused`.
#include "daemon/worker/gl/displays.hpp"
#include "daemon/worker/proofs/prover.hpp"
#include "libclient/headless/gl_buffer.hpp"

#include <dmabroker/gl.hpp>

namespace dmb::worker {
namespace {

struct Shape {
    const FormatInfo& format;
    Extent size;
    explicit Shape(const dmabroker::Image& image)
        : format(*find_format({image.info().format})), size{image.info().width, image.info().height}
    {
    }
};

/// What a texture over one plane must hold to show the pattern.
Texels texels_of(const FormatInfo& format, std::size_t plane, Extent extent, ProofPattern pattern)
{
    const auto channels = channels_of(format, plane);
    const PlaneFormat& shape = format.planes[plane];
    Texels out;
    for (std::uint32_t y = 0; y < extent.height; ++y)
        for (std::uint32_t x = 0; x < extent.width; ++x) {
            Sampled texel{0, 0, 0, 1};
            for (std::size_t i = 0; i < channels.size(); ++i) {
                const bool bit = proof_bit(channels[i].channel, x * shape.horizontal, y * shape.vertical, pattern);
                const auto component = format.model == ColourModel::rgb ? static_cast<std::size_t>(channels[i].channel) : i;
                texel[component] = bit ? 1.0F : 0.0F;
            }
            out.push_back(texel);
        }
    return out;
}

/// What a texture is: the whole image, or one plane of it.
enum class Part : bool { whole, plane };

BoundedText<160> wrong_texels(const FormatInfo& format, Part part, std::size_t plane, Extent extent, const Texels& texels,
                              ProofPattern pattern)
{
    for (std::uint32_t y = 0; y < extent.height; ++y)
        for (std::uint32_t x = 0; x < extent.width; ++x) {
            const Sampled& seen = texels[std::size_t{y} * extent.width + x];
            auto wrong = part == Part::plane ? wrong_plane_sample(format, plane, x, y, seen, pattern)
                                             : wrong_sample(format, x, y, seen, pattern);
            if (!wrong.empty()) return wrong;
        }
    return {};
}

std::string_view how(std::string_view api, ProofPattern pattern)
{
    if (pattern == ProofPattern::plain) return api;
    return api == "EGL" ? "EGL, after drawing" : "OpenGL, after drawing";
}

/// look, draw, look: the same for both. `look` and `draw` may throw.
template <class Look, class Draw> Proven try_all(Usage usage, const dmabroker::Image& image, Look look, Draw draw)
{
    auto seen = caught([&] { return look(ProofPattern::plain); });
    if (!seen) return refused(seen.error());
    if (seen->result != ProofResult::works || !usage.has(UsageFlag::render)) return *seen;
    if (auto drawn = caught(draw); !drawn) return refused(drawn.error());
    if (auto fenced = wait_for_fence(image); !fenced) return refused(fenced.error());
    seen = caught([&] { return look(ProofPattern::inverse); });
    if (!seen) return refused(seen.error());
    return seen->result == ProofResult::works ? check_by_cpu(image, ProofPattern::inverse) : *seen;
}

class EglProver : public ApiProver {
public:
    Proven prove(const Device& wanted, Usage usage, const dmabroker::Image& image) override
    {
        const auto device = displays_.find(wanted);
        if (!device) return impossible(device.error().reason);
        return try_all(
            usage, image, [&](ProofPattern pattern) { return look(**device, image, pattern); },
            [&] { draw(**device, image, ProofPattern::inverse); });
    }

private:
    static Proven look(const GlDevice& device, const dmabroker::Image& image, ProofPattern pattern)
    {
        const Shape shape(image);
        const GlImport imported(device, image, 0);
        for (std::uint32_t i = 0; i < imported.count(); ++i) {
            const Part part = imported.per_plane() ? Part::plane : Part::whole;
            const auto wrong = wrong_texels(shape.format, part, i, imported.extent(i), imported.read(i), pattern);
            if (!wrong.empty()) return judged(how("EGL", pattern), wrong);
        }
        return {ProofResult::works, {}};
    }

    static void draw(const GlDevice& device, const dmabroker::Image& image, ProofPattern pattern)
    {
        const Shape shape(image);
        const std::uint32_t cut = shape.format.plane_count > 1 ? std::uint32_t{DMABROKER_IMPORT_PER_PLANE} : 0;
        const GlImport imported(device, image, DMABROKER_IMPORT_WRITE | cut);
        for (std::uint32_t i = 0; i < imported.count(); ++i)
            imported.draw(i, texels_of(shape.format, i, imported.extent(i), pattern));
    }

    GlDisplays displays_;
};

class GlBytes : public BufferAccess {
public:
    GlBytes(const GlDevice& device, const dmabroker::Image& image) : device_(device), image_(image) {}
    Result<> read(std::span<std::byte> to) const override
    {
        return caught([&] { gpu::read_buffer(device_.context().gl(), import(0).name(), to); });
    }
    Result<> write(std::span<const std::byte> from) const override
    {
        return caught([&] { gpu::write_buffer(device_.context().gl(), import(DMABROKER_IMPORT_WRITE).name(), from); });
    }

private:
    dmabroker::gl::Buffer import(std::uint32_t flags) const
    {
        device_.context().make_current();
        return dmabroker::gl::import_buffer(image_, device_.context().display().get_proc, flags);
    }
    const GlDevice& device_;
    const dmabroker::Image& image_;
};

class GlMemoryProver : public ApiProver {
public:
    Proven prove(const Device& wanted, Usage usage, const dmabroker::Image& image) override
    {
        const auto device = displays_.find_uuid(wanted.id);
        if (!device) return impossible(device.error().reason);
        const bool buffer = image.info().format == buffer_format.value;
        if (buffer) return try_buffer(image, usage, "OpenGL", GlBytes(**device, image));
        return try_all(
            usage, image, [&](ProofPattern pattern) { return look(**device, image, pattern); },
            [&] { draw(**device, image, ProofPattern::inverse); });
    }

private:
    static dmabroker::gl::Texture import(const GlDevice& device, const dmabroker::Image& image, std::uint32_t flags)
    {
        device.context().make_current();
        return dmabroker::gl::import(image, device.context().display().get_proc, flags);
    }

    static Proven look(const GlDevice& device, const dmabroker::Image& image, ProofPattern pattern)
    {
        const Shape shape(image);
        const auto texture = import(device, image, 0);
        const Texels seen = device.pixels().read({texture.name(), GL_TEXTURE_2D}, shape.size);
        return judged(how("OpenGL", pattern), wrong_texels(shape.format, Part::whole, 0, shape.size, seen, pattern));
    }

    static void draw(const GlDevice& device, const dmabroker::Image& image, ProofPattern pattern)
    {
        const Shape shape(image);
        const auto texture = import(device, image, DMABROKER_IMPORT_WRITE);
        Texels texels = texels_of(shape.format, 0, shape.size, pattern);
        if (texture->swap_red_blue)
            for (Sampled& texel : texels) std::swap(texel[0], texel[2]);
        device.pixels().draw(texture.name(), shape.size, texels);
    }

    GlDisplays displays_;
};

} // namespace

std::unique_ptr<ApiProver> make_egl_prover() { return std::make_unique<EglProver>(); }
std::unique_ptr<ApiProver> make_gl_memory_prover() { return std::make_unique<GlMemoryProver>(); }

} // namespace dmb::worker
