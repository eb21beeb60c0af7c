// SPDX-License-Identifier: MIT
// A broker image as a GL texture, whatever its memory is: dma-bufs and memfds become EGLImages, opaque
// memory a GL memory object.
#pragma once
#include "libclient/headless/egl_context.hpp"

#include <dmabroker/gl.hpp>
#include <optional>

namespace dmb::demo {

struct GlImage {
    dmabroker::Image image;
    std::optional<dmabroker::egl::Images> egl;
    std::optional<dmabroker::gl::Texture> memory_object;
    dmabroker::egl::Texture texture;
    std::string how; ///< "EGLImage" or "GL memory object"
};

/// `flags`: as for dmabroker_egl_import. Throws with the importer's reason.
GlImage import_image(dmabroker::Image image, const gpu::EglContext& context, std::uint32_t flags = 0);

/// Allocates an image that this context can draw into: what suits the driver best first. Throws with
/// the last reason when none can be.
GlImage make_target(dmabroker::Client& client, const gpu::EglContext& context, dmabroker::Size size, std::uint32_t format,
                    const std::string& label);

} // namespace dmb::demo
