// SPDX-License-Identifier: MIT
// The CPU as an importer: mappings of an image's memory objects, and the brackets around every access.
#pragma once
#include "libclient/handle.hpp"

#include <memory>

struct dmabroker_cpu_mapping;

namespace dmb {

class CpuMapping {
public:
    /// `access`: read, write or both. Refuses what the CPU would misread or what it may not do.
    static Result<std::unique_ptr<dmabroker_cpu_mapping>> create(const dmabroker_image&, Rights access);
    CpuMapping() = default;
    ~CpuMapping();
    CpuMapping(const CpuMapping&) = delete;
    CpuMapping& operator=(const CpuMapping&) = delete;

    /// First byte of the plane's first row; null for a plane that is not there.
    std::byte* data(std::size_t plane) const { return plane < planes_.size() ? planes_[plane] : nullptr; }
    /// Waits for pending GPU work, at most the connection's time limit.
    Result<> begin(Rights access);
    Result<> end(Rights access);

private:
    struct Part {
        std::byte* address = nullptr;
        std::size_t size = 0;
        UniqueFd dma_buf; ///< for the brackets; none for memfds
    };
    Result<> add(const dmabroker_image&, std::size_t memory);
    Result<> check(Rights access) const;

    BoundedVector<Part, max_planes> parts_;
    BoundedVector<std::byte*, max_planes> planes_;
    Rights access_;
    std::uint64_t timeout_ns_ = 0;
};

} // namespace dmb

struct dmabroker_cpu_mapping final : dmb::CpuMapping {};
