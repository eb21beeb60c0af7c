// SPDX-License-Identifier: MIT
// One DRM device through GBM: which of its nodes allocates, making buffers, exporting them.
#pragma once
#include "daemon/worker/driver.hpp"

#include <gbm.h>
#include <memory>
#include <span>
#include <string>

namespace dmb::worker {

struct DeviceDeleter {
    void operator()(gbm_device* device) const { gbm_device_destroy(device); }
};
struct BoDeleter {
    void operator()(gbm_bo* bo) const { gbm_bo_destroy(bo); }
};
using Bo = std::unique_ptr<gbm_bo, BoDeleter>;

/// "out of memory", or words for the errno 0 that Mesa leaves behind now and then.
std::string describe_errno(int error_number);

class GbmDevice {
public:
    /// `node` names any node of the device. Takes the one on which an allocation works, the render
    /// node first. `info` is filled as far as it is known even when this fails.
    static Result<GbmDevice> open(const std::string& node, Exporter& info);

    /// `acceptable` empty: the driver's choice. INVALID in it: a layout only the driver knows.
    Result<Bo> create(Extent, FourCC, std::span<const Modifier> acceptable, std::uint32_t gbm_flags) const;
    /// Descriptors, planes and memories; the caller fills in the rest of the description.
    Result<Exported> export_bo(gbm_bo*) const;

    gbm_device* get() const { return device_.get(); }
    /// No GPU behind it: Mesa draws with the CPU into what the kernel calls a dumb buffer.
    bool software() const { return software_; }
    /// Takes modifiers where a buffer is made. Not virgl.
    bool knows_modifiers() const { return knows_modifiers_; }
    /// Can put buffers on a display.
    bool has_display() const;

private:
    GbmDevice(UniqueFd fd, gbm_device* device) : fd_(std::move(fd)), device_(device) {}
    static Result<GbmDevice> open_node(const std::string& path, Exporter& info);
    Result<> try_once();

    UniqueFd fd_; // outlives device_
    std::unique_ptr<gbm_device, DeviceDeleter> device_;
    bool software_ = false;
    bool knows_modifiers_ = false;
};

} // namespace dmb::worker
