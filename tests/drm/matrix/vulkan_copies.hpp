// SPDX-License-Identifier: MIT
// The first Vulkan device, and copies between images and memory. Made once per process.
#pragma once
#include "libclient/headless/vulkan_context.hpp"
#include "tests/drm/matrix/pattern.hpp"

namespace dmb::matrix {

class VulkanCopies {
public:
    /// Throws std::runtime_error with what is missing.
    VulkanCopies() = default;
    VulkanCopies(const VulkanCopies&) = delete;
    VulkanCopies& operator=(const VulkanCopies&) = delete;

    const dmabroker_vulkan& handles() const { return handles_; }

    /// Plane by plane; a plane is an image of its own or an aspect of the only one.
    Pixels read(const dmabroker_vulkan_images&, FourCC, Extent) const;
    void write(const dmabroker_vulkan_images&, const Pixels&) const;

private:
    enum class Direction { from_image, to_image };
    void copy(const dmabroker_vulkan_images&, FourCC, Extent, Direction, std::vector<std::uint8_t>& bytes) const;
    void record(VkCommandBuffer, const dmabroker_vulkan_images&, FourCC, Extent, Direction, VkBuffer) const;
    void barrier(VkCommandBuffer, const dmabroker_vulkan_images&, bool acquire) const;

    gpu::VulkanContext context_{0};
    dmabroker_vulkan handles_ = context_.device().native();
};

} // namespace dmb::matrix
