// SPDX-License-Identifier: MIT
// What the probes share: the test images, and a finding from many tries.
#pragma once
#include "tools/doctor/finding.hpp"

#include <dmabroker/dmabroker.hpp>
#include <functional>

namespace dmb::doctor {

inline constexpr dmabroker::Size test_size{64, 48};

/// One place that images come from.
struct Origin {
    dmabroker_backend backend;
    std::string device; ///< node or UUID; empty for system memory
    std::string text;   ///< "gbm /dev/dri/card0"
};
/// Every backend of the broker that says it works. Waits for workers that are still starting.
std::vector<Origin> origins(dmabroker::Client&);

/// A test image from there, in AB24 with the pattern of proofs, filled by whoever can.
dmabroker::Image test_image(dmabroker::Client&, const Origin&, dmabroker::Usage);
/// Throws, and says where the first wrong pixel is.
void compare(const std::vector<std::uint8_t>& pixels);

/// Tells the parent what comes next, in case it is the last thing this process does.
void announce(const std::string& text);

/// Runs `import` on an image from each origin for which `can` holds and sums up: who, from where, why not.
using Import = std::function<void(const dmabroker::Image&)>;
Finding try_all(dmabroker::Client&, const std::string& area, const std::string& who, dmabroker::Usage, const Import& import);

/// For importers that have no business with opaque memory: that it is refused is no news.
void leave_out_opaque(Finding&);

/// Called with each finding as soon as it is there: the next one may crash.
using Sink = std::function<void(const Finding&)>;

void probe_cpu(dmabroker::Client&, const Sink&);
void probe_egl(dmabroker::Client&, unsigned index, const Sink&); ///< EGLImages and GL memory objects
void probe_vulkan(dmabroker::Client&, unsigned index, const Sink&);
unsigned count_egl();
unsigned count_vulkan();

} // namespace dmb::doctor
