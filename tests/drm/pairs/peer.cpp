// SPDX-License-Identifier: MIT
// The CPU, every EGL display (as an importer of dma-bufs and of memory objects) and every Vulkan device, through
// the public headers only, as an application would.
#include "tests/drm/pairs/peer.hpp"

#include "libclient/headless/egl_context.hpp"
#include "libclient/headless/gl_buffer.hpp"
#include "libclient/headless/vulkan_context.hpp"

#include <algorithm>
#include <cstring>
#include <dmabroker/gl.hpp>

namespace dmb::pairs {
namespace {

using dmabroker::Direction;
using dmabroker::Image;
using dmabroker::Usage;
constexpr std::size_t row_bytes = std::size_t{size.width} * 4;

class Cpu : public Peer {
public:
    Cpu() : Peer("cpu", dmabroker::Capabilities::cpu(), Usage::cpu_read | Usage::cpu_write, Usage::cpu_read) {}

    void draw(const Image& image, const Pixels& pixels) override
    {
        auto mapping = image.map(Direction::write);
        auto mapped = mapping.begin(Direction::write);
        for (std::uint32_t y = 0; y < size.height; ++y)
            std::memcpy(mapped.row<std::uint8_t>(y), pixels.data() + y * row_bytes, row_bytes);
        mapped.end();
    }
    Pixels look(const Image& image) override
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
    Usage writing() const override { return producing(); }
    Usage reading() const override { return consuming(); }
    void write(const Image& image, const Bytes& bytes) override
    {
        auto mapping = image.map(Direction::write);
        auto mapped = mapping.begin(Direction::write);
        std::memcpy(mapped.data(), bytes.data(), bytes.size());
        mapped.end();
    }
    Bytes read(const Image& image) override
    {
        auto mapping = image.map(Direction::read);
        const auto mapped = mapping.begin(Direction::read);
        const auto* first = mapped.row<std::uint8_t>(0);
        return {first, first + image.info().width};
    }
};

/// Copies a texture into what is bound as the framebuffer, pixel by pixel.
void draw_texture(const gpu::Gl& gl, GLuint texture)
{
    static constexpr auto vertex = "attribute vec2 position; varying vec2 at;\n"
                                   "void main() { at = position * 0.5 + 0.5; gl_Position = vec4(position, 0.0, 1.0); }\n";
    static constexpr auto fragment = "precision mediump float; varying vec2 at; uniform sampler2D source;\n"
                                     "void main() { gl_FragColor = texture2D(source, at); }\n";
    const GLuint program = gpu::make_program(gl, vertex, fragment);
    gl.UseProgram(program);
    gl.ActiveTexture(GL_TEXTURE0);
    gl.BindTexture(GL_TEXTURE_2D, texture);
    gl.TexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
    gl.TexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
    gl.Uniform1i(gl.GetUniformLocation(program, "source"), 0);
    gl.Viewport(0, 0, size.width, size.height);
    gpu::draw_quad(gl);
    gl.Finish();
    gl.DeleteProgram(program);
}

void draw_into(const gpu::Gl& gl, GLuint target, const Pixels& pixels)
{
    const GLuint framebuffer = gpu::make_framebuffer(gl, target);
    gl.BindFramebuffer(GL_FRAMEBUFFER, framebuffer);
    const GLuint source = gpu::make_texture(gl, size, pixels.data());
    draw_texture(gl, source);
    gl.BindFramebuffer(GL_FRAMEBUFFER, 0);
    gl.DeleteTextures(1, &source);
    gl.DeleteFramebuffers(1, &framebuffer);
}

using Context = std::shared_ptr<gpu::EglContext>;

class Egl : public Peer {
public:
    explicit Egl(Context context)
        : Peer("egl " + context->name(), dmabroker::egl::capabilities(context->display()), Usage::render | Usage::sample,
               Usage::sample),
          context_(std::move(context))
    {
    }
    void draw(const Image& image, const Pixels& pixels) override
    {
        context_->make_current();
        const auto images = dmabroker::egl::import(image, context_->display(), DMABROKER_IMPORT_WRITE);
        const auto texture = images.texture();
        draw_into(context_->gl(), texture.name, pixels);
        context_->gl().DeleteTextures(1, &texture.name);
    }
    Pixels look(const Image& image) override
    {
        context_->make_current();
        const auto images = dmabroker::egl::import(image, context_->display());
        const auto texture = images.texture();
        Pixels out = gpu::sample_pixels(context_->gl(), texture, size);
        context_->gl().DeleteTextures(1, &texture.name);
        return out;
    }

private:
    Context context_;
};

class GlMemory : public Peer {
public:
    explicit GlMemory(Context context)
        : Peer("gl_memory " + context->name(), table(*context), Usage::render | Usage::sample, Usage::sample),
          context_(std::move(context))
    {
    }
    void draw(const Image& image, const Pixels& pixels) override
    {
        context_->make_current();
        const auto texture = dmabroker::gl::import(image, context_->display().get_proc, DMABROKER_IMPORT_WRITE);
        draw_into(context_->gl(), texture.name(), pixels);
    }
    Pixels look(const Image& image) override
    {
        context_->make_current();
        const auto texture = dmabroker::gl::import(image, context_->display().get_proc);
        return gpu::sample_pixels(context_->gl(), {texture.name(), GL_TEXTURE_2D}, size);
    }
    void write(const Image& image, const Bytes& bytes) override
    {
        context_->make_current();
        const auto buffer = dmabroker::gl::import_buffer(image, context_->display().get_proc, DMABROKER_IMPORT_WRITE);
        gpu::write_buffer(context_->gl(), buffer.name(), std::as_bytes(std::span(bytes)));
    }
    Bytes read(const Image& image) override
    {
        context_->make_current();
        const auto buffer = dmabroker::gl::import_buffer(image, context_->display().get_proc);
        Bytes out(buffer->size);
        gpu::read_buffer(context_->gl(), buffer.name(), std::as_writable_bytes(std::span(out)));
        return out;
    }

private:
    static dmabroker::Capabilities table(const gpu::EglContext& context)
    {
        context.make_current();
        return dmabroker::gl::capabilities(context.display().get_proc);
    }
    Context context_;
};

class Vulkan : public Peer {
public:
    explicit Vulkan(gpu::VulkanContext context)
        : Peer("vulkan " + context.name(), dmabroker::vulkan::capabilities(context.device()), Usage::render | Usage::sample,
               Usage::sample),
          context_(std::move(context))
    {
    }
    void draw(const Image& image, const Pixels& pixels) override
    {
        const auto images = dmabroker::vulkan::import(image, context_.device(), 0, DMABROKER_IMPORT_WRITE);
        const gpu::HostBuffer source(context_, pixels.size(), VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
        std::memcpy(source.data(), pixels.data(), pixels.size());
        const auto writing = context_.mine(VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_ACCESS_TRANSFER_WRITE_BIT);
        context_.run([&](VkCommandBuffer commands) {
            context_.barrier(commands, images.image(), context_.external(images), writing);
            VkBufferImageCopy copy{};
            copy.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
            copy.imageExtent = {size.width, size.height, 1};
            context_.vk().CmdCopyBufferToImage(commands, source.buffer(), images.image(), VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
                                               1, &copy);
            context_.barrier(commands, images.image(), writing, context_.external(images));
        });
    }
    Pixels look(const Image& image) override
    {
        return context_.read(dmabroker::vulkan::import(image, context_.device()), size, 4);
    }
    void write(const Image& image, const Bytes& bytes) override
    {
        context_.write(dmabroker::vulkan::import_buffer(image, context_.device(), 0, DMABROKER_IMPORT_WRITE), bytes);
    }
    Bytes read(const Image& image) override
    {
        return context_.read(dmabroker::vulkan::import_buffer(image, context_.device()));
    }

private:
    gpu::VulkanContext context_;
};

/// Adds what `make` returns, or says why it could not.
template <class Make>
void add(std::vector<std::unique_ptr<Peer>>& peers, std::vector<std::string>& missing, const std::string& what, Make make)
{
    try {
        peers.push_back(make());
    } catch (const std::exception& e) {
        missing.push_back(what + ": " + e.what());
    }
}

void add_displays(std::vector<std::unique_ptr<Peer>>& peers, std::vector<std::string>& missing)
{
    for (unsigned i = 0; i < gpu::EglContext::count(); ++i) {
        const std::string name = gpu::EglContext::display_name(i);
        Context context;
        try {
            context = std::make_shared<gpu::EglContext>(i);
        } catch (const std::exception& e) {
            missing.push_back(name + ": " + e.what());
            continue;
        }
        add(peers, missing, "egl " + name, [&] { return std::make_unique<Egl>(context); });
        add(peers, missing, "gl_memory " + name, [&] { return std::make_unique<GlMemory>(context); });
    }
}

} // namespace

bool Peer::knows_buffers() const
{
    return std::ranges::any_of(table_, [](const auto& row) { return row.format == DMABROKER_FORMAT_BUFFER; });
}

std::vector<std::unique_ptr<Peer>> all_peers(std::vector<std::string>& missing)
{
    std::vector<std::unique_ptr<Peer>> peers;
    peers.push_back(std::make_unique<Cpu>());
    try {
        add_displays(peers, missing);
    } catch (const std::exception& e) {
        missing.push_back(std::string("egl: ") + e.what());
    }
    try {
        for (unsigned i = 0; i < gpu::VulkanContext::count(); ++i)
            add(peers, missing, "vulkan " + std::to_string(i), [&] { return std::make_unique<Vulkan>(gpu::VulkanContext(i)); });
    } catch (const std::exception& e) {
        missing.push_back(std::string("vulkan: ") + e.what());
    }
    return peers;
}

} // namespace dmb::pairs
