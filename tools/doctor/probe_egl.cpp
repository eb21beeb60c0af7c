// SPDX-License-Identifier: MIT
// One EGL display, tried in a process of its own: images become EGLImages, or GL memory objects, are sampled and
// compared. Mesa's version is looked at here, because this is where it is known without guessing. A crash in the driver
// ends the probe and becomes a finding of whoever started it (tools/dmabrokerctl/doctor.cpp).
#include "libclient/headless/egl_context.hpp"
#include "tools/doctor/probe.hpp"

#include <cstdio>
#include <dmabroker/gl.hpp>

namespace dmb::doctor {
namespace {

/// Software EGL takes dma-bufs and memfds from this version on.
constexpr int mesa_floor_major = 24, mesa_floor_minor = 3;

/// True for Mesa below the floor; other drivers have no such floor.
bool is_old_mesa(const std::string& version)
{
    const std::size_t at = version.find("Mesa ");
    int major = 0, minor = 0;
    if (at == std::string::npos || std::sscanf(version.c_str() + at, "Mesa %d.%d", &major, &minor) != 2) return false;
    return major < mesa_floor_major || (major == mesa_floor_major && minor < mesa_floor_minor);
}

std::string describe(const gpu::EglContext& context) { return context.name() + ", " + context.version(); }

void add_remedy(Finding& finding, const gpu::EglContext& context)
{
    if (context.software() && is_old_mesa(context.version())) {
        finding.level = "warn";
        finding.remedy =
            "install Mesa 24.3 or newer (Debian 12: from bookworm-backports); older ones import no dma-bufs in software";
    } else if (!finding.can_share && context.lists_extension("EGL_EXT_image_dma_buf_import")) {
        finding.text += ", although it lists EGL_EXT_image_dma_buf_import";
    }
}

Finding try_images(dmabroker::Client& client, const gpu::EglContext& context)
{
    Finding finding = try_all(client, "egl", describe(context), dmabroker::Usage::sample, [&](const dmabroker::Image& image) {
        const auto images = dmabroker::egl::import(image, context.display());
        const auto texture = images.texture();
        const auto pixels = gpu::sample_pixels(context.gl(), texture, test_size);
        context.gl().DeleteTextures(1, &texture.name);
        compare(pixels);
    });
    leave_out_opaque(finding); // the GL finding answers for it
    add_remedy(finding, context);
    return finding;
}

Finding try_memory_objects(dmabroker::Client& client, const gpu::EglContext& context)
{
    const std::string not_opaque = "not opaque";
    const auto get_proc = context.display().get_proc;
    Finding finding = try_all(client, "gl-memory", "GL memory objects on " + context.name(), dmabroker::Usage::sample,
                              [&](const dmabroker::Image& image) {
                                  if (image.info().kind != DMABROKER_OPAQUE) throw std::runtime_error(not_opaque);
                                  const auto texture = dmabroker::gl::import(image, get_proc);
                                  compare(gpu::sample_pixels(context.gl(), {texture.name(), GL_TEXTURE_2D}, test_size));
                              });
    std::erase_if(finding.detail, [&](const std::string& line) { return line.ends_with(not_opaque); });
    return finding;
}

} // namespace

unsigned count_egl() { return gpu::EglContext::count(); }

void probe_egl(dmabroker::Client& client, unsigned index, const Sink& sink)
{
    announce(gpu::EglContext::display_name(index) + ": opening");
    const gpu::EglContext context(index);
    sink(try_images(client, context));
    sink(try_memory_objects(client, context));
}

} // namespace dmb::doctor
