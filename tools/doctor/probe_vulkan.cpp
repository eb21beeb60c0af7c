// SPDX-License-Identifier: MIT
// One Vulkan device, tried in a process of its own: images become VkImages, are copied out and compared. The driver
// meets them here for the first time; a crash ends the probe and becomes a finding of whoever started it
// (tools/dmabrokerctl/doctor.cpp).
#include "libclient/headless/vulkan_context.hpp"
#include "tools/doctor/probe.hpp"

namespace dmb::doctor {

unsigned count_vulkan() { return gpu::VulkanContext::count(); }

void probe_vulkan(dmabroker::Client& client, unsigned index, const Sink& sink)
{
    announce("Vulkan device " + std::to_string(index) + ": opening");
    const gpu::VulkanContext context(index);
    sink(try_all(client, "vulkan", "Vulkan " + context.name(), dmabroker::Usage::sample, [&](const dmabroker::Image& image) {
        const auto images = dmabroker::vulkan::import(image, context.device());
        compare(context.read(images, test_size, 4));
    }));
}

} // namespace dmb::doctor
