// SPDX-License-Identifier: MIT
// Allocates through Vulkan on every physical device of the drivers that the loader finds (in a worker: one driver), as
// dma-buf and as opaque memory.
#pragma once
#include "daemon/worker/vulkan/support.hpp"

namespace dmb::worker {

class VulkanBackend : public Driver {
public:
    VulkanBackend();
    std::span<const Exports> exports() const override { return exports_; }
    Result<Exported> allocate(std::uint8_t device, const AllocateSpec&, const LayoutRules&, const Contents*) override;
    Result<> read(Image, std::span<std::byte> to) override;
    Result<> write(Image, const Contents&) override;
    Result<> blit(Image from, Image to) override;
    bool usable() const override;

private:
    /// One entry of exports_. Null where it could not be opened: see the entry's problem.
    struct Target {
        VulkanDevice* device = nullptr;
        bool opaque = false;
    };
    Result<> find_devices();
    void add_device(unsigned place);
    void add_target(Target, const Exporter&, VulkanSupport);
    Result<VulkanNeeds> wish_for(std::uint8_t device, const AllocateSpec&) const;
    template <class Work> Result<> on_some_device(const ImageDesc&, Work work);

    std::vector<std::unique_ptr<VulkanDevice>> devices_;
    std::vector<Target> targets_;
    std::vector<Exports> exports_;
};

} // namespace dmb::worker
