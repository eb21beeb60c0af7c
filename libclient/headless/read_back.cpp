// SPDX-License-Identifier: MIT
// Pixels or bytes of an image whatever device it is on, for dmabrokerctl get: every Vulkan device is tried, each with a
// context of its own for the time of the call. The importer refuses what is not this device's, so trying them all is
// safe, and the last refusal is the one that is thrown.
#include "libclient/headless/read_back.hpp"

#include "libclient/headless/vulkan_context.hpp"

#include <span>
#include <stdexcept>

namespace dmb::gpu {
namespace {

template <class Read> std::vector<std::byte> with_any_device(Read read)
{
    std::string reason = "there is no Vulkan device";
    for (unsigned i = 0; i < VulkanContext::count(); ++i) {
        try {
            const VulkanContext context(i);
            const std::vector<std::uint8_t> bytes = read(context);
            const auto view = std::as_bytes(std::span(bytes));
            return {view.begin(), view.end()};
        } catch (const std::exception& e) {
            reason = e.what();
        }
    }
    throw std::runtime_error(reason);
}

} // namespace

std::vector<std::byte> read_back(const dmabroker::Image& image, std::size_t bytes_per_pixel)
{
    return with_any_device([&](const VulkanContext& context) {
        return context.read(dmabroker::vulkan::import(image, context.device(), VK_IMAGE_USAGE_TRANSFER_SRC_BIT), image.size(),
                            bytes_per_pixel);
    });
}

std::vector<std::byte> read_back_buffer(const dmabroker::Image& buffer)
{
    return with_any_device([&](const VulkanContext& context) {
        return context.read(dmabroker::vulkan::import_buffer(buffer, context.device(), VK_BUFFER_USAGE_TRANSFER_SRC_BIT));
    });
}

} // namespace dmb::gpu
