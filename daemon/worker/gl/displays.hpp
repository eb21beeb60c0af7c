// SPDX-License-Identifier: MIT
// The EGL displays of this machine, each opened when it is first needed and then kept.
#pragma once
#include "daemon/worker/gl/device.hpp"
#include "proto/image/capabilities.hpp"

#include <map>

namespace dmb::worker {

class GlDisplays {
public:
    /// The display on which an application with this device draws. Errc::not_found: there is none here.
    Result<GlDevice*> find(const Device&);
    /// The display whose GL names these UUIDs.
    Result<GlDevice*> find_uuid(const DeviceId&);

private:
    Result<GlDevice*> display(unsigned index);
    Result<GlDevice*> on_gbm(const Device&);
    std::map<unsigned, std::unique_ptr<GlDevice>> displays_;
    std::map<std::uint64_t, std::unique_ptr<GlDevice>> gbm_displays_; ///< by node; their gbm_devices stay open for ever
};

} // namespace dmb::worker
