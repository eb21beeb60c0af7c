// SPDX-License-Identifier: MIT
// One EGL display with a context and what it paints with, and images imported there.
#pragma once
#include "daemon/worker/gl/pixels.hpp"
#include "daemon/worker/hold.hpp"
#include "proto/image/capabilities.hpp"

namespace dmb::worker {

class GlDevice {
public:
    /// As EglContext's constructors say. Takes seconds with some drivers.
    static Result<std::unique_ptr<GlDevice>> open(unsigned display);
    static Result<std::unique_ptr<GlDevice>> open_gbm(void* gbm_device, std::uint64_t node);
    explicit GlDevice(gpu::EglContext context) : context_(std::move(context)), pixels_(context_.gl()) {}

    const gpu::EglContext& context() const { return context_; }
    const GlPixels& pixels() const { return pixels_; }
    /// The modifiers that it lists for import, in its own order, which is Mesa's preference and which a capability table does
    /// not keep; none where it lists none.
    std::vector<Capability> importable(FourCC) const;

private:
    gpu::EglContext context_; // outlives pixels_
    GlPixels pixels_;
};

/// One image in a GL device: what its parts show, and drawing into them. Throws.
class GlImport {
public:
    /// `flags`: enum dmabroker_import_flags. Makes the device's context current.
    GlImport(const GlDevice&, const dmabroker::Image&, std::uint32_t flags);

    bool per_plane() const { return images_->per_plane != 0; }
    std::uint32_t count() const { return images_->count; }
    bool external_only() const { return images_->external_only != 0; }
    Extent extent(std::uint32_t part) const { return {images_->widths[part], images_->heights[part]}; }
    Texels read(std::uint32_t part) const;
    void draw(std::uint32_t part, const Texels&) const;
    /// Same size and format, same device.
    void copy_to(const GlImport&) const;

private:
    OwnedTexture texture(std::uint32_t part) const { return {device_.context().gl(), images_.texture(part)}; }
    const GlDevice& device_;
    dmabroker::egl::Images images_;
};

} // namespace dmb::worker
