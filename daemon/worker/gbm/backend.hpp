// SPDX-License-Identifier: MIT
// Allocates through GBM on one DRM device.
#pragma once
#include "daemon/worker/gbm/copy.hpp"

#include <optional>

namespace dmb::worker {

class GbmBackend : public Driver {
public:
    explicit GbmBackend(const std::string& node);
    std::span<const Exports> exports() const override { return {&exports_, 1}; }
    Result<Exported> allocate(std::uint8_t device, const AllocateSpec&, const LayoutRules&, const Contents*) override;
    Result<> read(Image, std::span<std::byte> to) override;
    Result<> write(Image, const Contents&) override;
    Result<> blit(Image from, Image to) override;

private:
    void prove_cpu_access();
    Result<> prove_formats();
    bool lists_modifiers() const;
    void prove(const FormatInfo&, std::span<const Capability> listed);
    void prove_layout(const FormatInfo&, std::span<const Modifier> acceptable, Usage gpu_and_cpu);
    void record(FourCC, const Exported&, Usage);
    Result<> check_usage(FourCC, Usage) const;
    struct Made {
        Bo bo;
        Exported image;
    };
    Result<Made> make(const AllocateSpec&, const LayoutRules&, std::span<const Modifier> acceptable) const;
    Result<Exported> try_allocate(const AllocateSpec&, const LayoutRules&, std::span<const Modifier> acceptable,
                                  const Contents*);
    Result<> fill(gbm_bo*, const Exported&, const Contents*);

    Result<GbmCopy*> copier();

    std::optional<GbmDevice> device_;
    std::optional<GbmCopy> copier_; ///< for device_
    bool cpu_access_ = false;
    Exports exports_;
};

} // namespace dmb::worker
