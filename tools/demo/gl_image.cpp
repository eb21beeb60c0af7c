// SPDX-License-Identifier: MIT
// Which memory suits a driver is known to the driver only, so a target is found by trying: allocate,
// import, attach to a framebuffer. Software drivers start with system memory, which is what they draw
// into anyway; a GPU's memory seen by the CPU may be slow or not even coherent.
#include "tools/demo/gl_image.hpp"

#include <array>

namespace dmb::demo {
namespace {

constexpr std::array hardware_first{DMABROKER_BACKEND_GBM, DMABROKER_BACKEND_VULKAN, DMABROKER_BACKEND_VULKAN_OPAQUE,
                                    DMABROKER_BACKEND_UDMABUF, DMABROKER_BACKEND_MEMFD};
constexpr std::array system_first{DMABROKER_BACKEND_UDMABUF, DMABROKER_BACKEND_DMA_HEAP, DMABROKER_BACKEND_MEMFD,
                                  DMABROKER_BACKEND_VULKAN_OPAQUE, DMABROKER_BACKEND_GBM};

void require_drawable(const gpu::EglContext& context, const GlImage& target)
{
    if (target.texture.target != GL_TEXTURE_2D) throw std::runtime_error("this driver only samples such an image");
    const GLuint framebuffer = gpu::make_framebuffer(context.gl(), target.texture.name);
    context.gl().BindFramebuffer(GL_FRAMEBUFFER, 0);
    context.gl().DeleteFramebuffers(1, &framebuffer);
}

} // namespace

GlImage import_image(dmabroker::Image image, const gpu::EglContext& context, std::uint32_t flags)
{
    GlImage out{std::move(image), {}, {}, {}, {}};
    if (out.image.info().kind == DMABROKER_OPAQUE) {
        out.memory_object = dmabroker::gl::import(out.image, context.display().get_proc, flags);
        out.texture = {out.memory_object->name(), GL_TEXTURE_2D};
        out.how = "GL memory object";
    } else {
        out.egl = dmabroker::egl::import(out.image, context.display(), flags | DMABROKER_IMPORT_WHOLE);
        out.texture = out.egl->texture();
        out.how = "EGLImage";
    }
    return out;
}

GlImage make_target(dmabroker::Client& client, const gpu::EglContext& context, dmabroker::Size size, std::uint32_t format,
                    const std::string& label)
{
    std::string reason;
    for (const auto backend : context.software() ? system_first : hardware_first) {
        try {
            dmabroker::Allocation wanted{
                .size = size, .format = format, .usage = dmabroker::Usage::render | dmabroker::Usage::sample};
            wanted.backends = DMABROKER_BACKEND_BIT(backend);
            wanted.label = label;
            GlImage target = import_image(client.allocate(wanted), context, DMABROKER_IMPORT_WRITE);
            require_drawable(context, target);
            return target;
        } catch (const std::runtime_error& e) {
            reason = e.what();
        }
    }
    throw std::runtime_error("no image that this EGL can draw into: " + reason);
}

} // namespace dmb::demo
