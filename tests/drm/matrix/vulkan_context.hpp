// SPDX-License-Identifier: MIT
// The first Vulkan device with everything sharing needs switched on, and copies between images and
// memory. Made once per process.
#pragma once
#include "tests/drm/matrix/pattern.hpp"

#include <dmabroker/vulkan.h>
#include <functional>

namespace dmb::matrix {

class VulkanContext {
public:
    /// Throws std::runtime_error with what is missing.
    VulkanContext();
    VulkanContext(const VulkanContext&) = delete;
    VulkanContext& operator=(const VulkanContext&) = delete;
    ~VulkanContext();

    const dmabroker_vulkan& handles() const { return handles_; }

    /// Plane by plane; a plane is an image of its own or an aspect of the only one.
    Pixels read(const dmabroker_vulkan_images&, FourCC, Extent);
    void write(const dmabroker_vulkan_images&, const Pixels&);

private:
    enum class Direction { from_image, to_image };
    void create_device();
    void create_pool();
    void copy(const dmabroker_vulkan_images&, FourCC, Extent, Direction, std::vector<std::uint8_t>& bytes);
    void record(VkCommandBuffer, const dmabroker_vulkan_images&, FourCC, Extent, Direction, VkBuffer);
    void barrier(VkCommandBuffer, const dmabroker_vulkan_images&, bool acquire);
    void submit(const std::function<void(VkCommandBuffer)>&);

    VkInstance instance_ = VK_NULL_HANDLE;
    VkPhysicalDevice physical_ = VK_NULL_HANDLE;
    VkDevice device_ = VK_NULL_HANDLE;
    VkQueue queue_ = VK_NULL_HANDLE;
    VkCommandPool pool_ = VK_NULL_HANDLE;
    dmabroker_vulkan handles_{};
};

} // namespace dmb::matrix
