// SPDX-License-Identifier: MIT
// One way of reading and writing an image's pixels: the CPU, an EGL context, a Vulkan device, GL memory
// objects. Exporters and importers are made of the same parts, in different processes.
#pragma once
#include "tests/drm/matrix/pattern.hpp"

#include <dmabroker/dmabroker.h>
#include <memory>

namespace dmb::matrix {

/// What came of it. `refused`: the library or the driver said no, with a reason; nothing was wrong with
/// the pixels. `failed`: wrong pixels, a crash, an error where there should be none.
struct Outcome {
    enum Kind { pass, refused, failed } kind = pass;
    std::string text; ///< the reason, or a remark on how it passed
};
inline Outcome passed(std::string remark = {}) { return {Outcome::pass, std::move(remark)}; }
inline Outcome failed(std::string reason) { return {Outcome::failed, std::move(reason)}; }
/// From an error of the library.
Outcome declined(const dmabroker_error&);

class Way {
public:
    virtual ~Way() = default;
    /// Compares the image's pixels with `expected`.
    virtual Outcome verify(const dmabroker_image*, const Pixels& expected) = 0;
    /// Replaces them. Refused where this way cannot write the format.
    virtual Outcome fill(const dmabroker_image*, const Pixels&) = 0;
};

Colour colour_of(const dmabroker_image_info&);

std::unique_ptr<Way> make_cpu_way();
/// `node`: empty for the software device (or the first one, where there is none), else a DRM node for GBM.
std::unique_ptr<Way> make_egl_way(const std::string& node);
std::unique_ptr<Way> make_gl_way();
std::unique_ptr<Way> make_vulkan_way();

} // namespace dmb::matrix
