// SPDX-License-Identifier: MIT
// Reads opaque memory as an importer does: repeats the exporter's VkImageCreateInfo.
#pragma once
#include "daemon/worker/vulkan/device.hpp"
#include "proto/image/format_table.hpp"
#include "proto/image/image_desc.hpp"

namespace dmb::test {

class OpaqueReader {
public:
    OpaqueReader();
    /// All planes tightly packed. Takes over the descriptor.
    Result<std::vector<std::byte>> read(const ImageDesc&, UniqueFd);

private:
    Result<worker::VulkanDevice*> find(const DeviceId&);
    std::vector<std::unique_ptr<worker::VulkanDevice>> devices_;
};

} // namespace dmb::test
