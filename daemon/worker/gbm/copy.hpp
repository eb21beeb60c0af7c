// SPDX-License-Identifier: MIT
// Pixels of images on one DRM device: through the CPU where its view is true, else through the device's own GL. And
// what that GL imports.
#pragma once
#include "daemon/worker/gbm/device.hpp"
#include "proto/image/capabilities.hpp"
#include "proto/image/image.hpp"

#if DMB_HAVE_EGL
#include "daemon/worker/gl/device.hpp"
#endif

namespace dmb::worker {

class GbmCopy {
public:
    /// `id`: of the device. `cpu_access`: a mapping of its LINEAR buffers shows what the GPU drew.
    GbmCopy(const GbmDevice& device, const DeviceId& id, bool cpu_access) : device_(device), id_(id), cpu_access_(cpu_access) {}

    /// As Driver's functions of these names.
    Result<> read(Image, std::span<std::byte> to);
    Result<> write(Image, const Contents&);
    Result<> blit(Image from, Image to);
    /// As GlDevice's of this name; none in a build without EGL.
    Result<std::vector<Capability>> importable(FourCC);

private:
    bool cpu_sees(const ImageDesc&) const;
    Result<> read_by_gl(Image, std::span<std::byte> to);
    Result<> write_by_gl(Image, const Contents&);
    Result<> blit_by_gl(Image from, Image to);

    const GbmDevice& device_;
    DeviceId id_;
    bool cpu_access_;
#if DMB_HAVE_EGL
    Result<GlDevice*> gl();
    std::unique_ptr<GlDevice> gl_; ///< opened when it is first needed
#endif
};

} // namespace dmb::worker
