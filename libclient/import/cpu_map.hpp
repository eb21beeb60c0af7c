// SPDX-License-Identifier: MIT
// The CPU as an importer: mappings of an image's memory objects, and the brackets around reading and writing.
#pragma once
#include "libclient/handle.hpp"
#include "proto/sync/cpu_bracket.hpp"

#include <array>
#include <memory>

struct dmabroker_cpu_mapping;

namespace dmb {

/// Of enum dmabroker_direction: not empty, known flags only.
Result<Directions> to_directions(std::uint32_t flags);

class CpuMapping {
public:
    /// Refuses what the CPU would misread or what it may not do.
    static Result<std::unique_ptr<dmabroker_cpu_mapping>> create(const dmabroker_image&, Directions);
    CpuMapping() = default;
    ~CpuMapping();
    CpuMapping(const CpuMapping&) = delete;
    CpuMapping& operator=(const CpuMapping&) = delete;

    /// First byte of the plane's first row; null for a plane that is not there.
    std::byte* data(std::size_t plane) const { return plane < planes_.size() ? planes_[plane] : nullptr; }
    /// Waits for pending GPU work, at most the connection's time limit.
    Result<> begin(Directions);
    /// Nothing to do without a begin.
    Result<> end(Directions);

private:
    struct Part {
        std::byte* address = nullptr;
        std::size_t size = 0;
        UniqueFd dma_buf; ///< for the brackets; none for memfds
    };
    Result<> add(const dmabroker_image&, std::size_t memory);
    Result<> check(Directions) const;

    BoundedVector<Part, max_planes> parts_;
    BoundedVector<std::byte*, max_planes> planes_;
    /// By the directions that a bracket has. A bracket begins on all memory objects or on none.
    std::array<BoundedVector<CpuBracket, max_planes>, Directions::all().bits + 1> open_;
    Directions directions_;
    std::uint64_t timeout_ns_ = 0;
};

} // namespace dmb

struct dmabroker_cpu_mapping final : dmb::CpuMapping {};
