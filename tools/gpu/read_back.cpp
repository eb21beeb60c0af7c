// SPDX-License-Identifier: MIT
// The importer refuses what is not this device's, so trying them all is safe.
#include "tools/gpu/read_back.hpp"

#include "tools/gpu/vulkan_context.hpp"

#include <cstring>
#include <stdexcept>

namespace dmb::gpu {

std::vector<std::byte> read_back(const dmabroker::Image& image, std::size_t bytes_per_pixel)
{
    std::string reason = "there is no Vulkan device";
    for (unsigned i = 0; i < VulkanContext::count(); ++i) {
        try {
            const VulkanContext context(i);
            const auto imported = dmabroker::vulkan::import(image, context.device(), VK_IMAGE_USAGE_TRANSFER_SRC_BIT);
            const auto pixels = context.read(imported, image.size(), bytes_per_pixel);
            std::vector<std::byte> out(pixels.size());
            std::memcpy(out.data(), pixels.data(), out.size());
            return out;
        } catch (const std::exception& e) {
            reason = e.what();
        }
    }
    throw std::runtime_error(reason);
}

} // namespace dmb::gpu
