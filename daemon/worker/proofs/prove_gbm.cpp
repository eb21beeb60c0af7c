// SPDX-License-Identifier: MIT
// The prover of Api::gbm: gbm_bo_import, as compositors do before they scan out or draw. Only the first plane can be
// looked at (gbm_bo_map), so formats of several planes prove no more than that the import works. Drawing is the EGL
// prover's business. Devices stay open between trials, by the number of their node.
#include "daemon/worker/gbm/drm_node.hpp"
#include "daemon/worker/gbm/import.hpp"
#include "daemon/worker/proofs/prover.hpp"

#include <map>
#include <sys/stat.h>

namespace dmb::worker {
namespace {

std::uint32_t gbm_flags(Usage usage)
{
    std::uint32_t flags = 0;
    if (usage.has_any(UsageFlag::sample | UsageFlag::render)) flags |= GBM_BO_USE_RENDERING;
    if (usage.has(UsageFlag::scanout)) flags |= GBM_BO_USE_SCANOUT;
    return flags != 0 ? flags : std::uint32_t{GBM_BO_USE_RENDERING};
}

class GbmProver : public ApiProver {
public:
    Proven prove(const Device& wanted, Usage usage, const dmabroker::Image& image) override
    {
        const auto device = find(wanted);
        if (!device) return impossible(device.error().reason);
        const auto bo = import_bo(*device, image, gbm_flags(usage));
        if (!bo) return refused(bo.error());
        const FormatInfo& format = *find_format({image.info().format});
        const Extent size{image.info().width, image.info().height};
        if (format.plane_count > 1) return {ProofResult::works, {}};
        std::vector<std::byte> seen(packed_bytes(format, size));
        if (auto read = read_bo(bo->get(), format, size, seen); !read) return refused(read.error());
        return judged("GBM", wrong_packed(format, size, seen));
    }

private:
    struct Opened {
        UniqueFd fd; // outlives device
        std::unique_ptr<gbm_device, DeviceDeleter> device;
    };

    Result<gbm_device*> find(const Device& wanted)
    {
        UniqueFd fd = TRY(open_drm_node(wanted));
        struct stat status{};
        ::fstat(fd.get(), &status);
        Opened& known = devices_[status.st_rdev];
        if (known.device) return known.device.get();
        std::unique_ptr<gbm_device, DeviceDeleter> device(gbm_create_device(fd.get()));
        if (!device) return fail(Errc::not_found, "{}: gbm_create_device failed", wanted.node.view());
        known.fd = std::move(fd);
        known.device = std::move(device);
        return known.device.get();
    }

    std::map<std::uint64_t, Opened> devices_;
};

} // namespace

std::unique_ptr<ApiProver> make_gbm_prover() { return std::make_unique<GbmProver>(); }

} // namespace dmb::worker
