// SPDX-License-Identifier: MIT
// Reads a GPU's own buffers as another process with the same driver does.
#pragma once
#include "proto/base/unique_fd.hpp"
#include "proto/image/format_table.hpp"

#include <gbm.h>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace dmb::test {

class GbmReader {
public:
    /// The first plane, tightly packed, through gbm_bo_import and gbm_bo_map. Borrows the descriptor.
    Result<std::vector<std::byte>> read(const std::string& node, const ImageDesc&, int fd);

private:
    struct Destroy {
        void operator()(gbm_device* device) const { gbm_device_destroy(device); }
    };
    struct Device {
        UniqueFd file; // outlives gbm
        std::unique_ptr<gbm_device, Destroy> gbm;
    };
    Result<gbm_device*> open(const std::string& node);
    std::map<std::string, Device> devices_; // starting a driver takes long: kept
};

} // namespace dmb::test
