// SPDX-License-Identifier: MIT
// What the lives of brokers must know of each other, on disk: which numbers are given out, and the keys of the last ones.
#pragma once
#include "daemon/core/state/life.hpp"

#include <optional>
#include <string>

namespace dmb {

class LifeFile {
public:
    /// Begins a life. "lives" in that folder, which is made; without one that can be used, numbers begin at the clock.
    explicit LifeFile(const std::string& folder);

    const Life& life() const { return life_; }
    /// `highest`: the highest number given out so far. A number: those set aside for this life come to an end, count on
    /// from this one.
    std::optional<std::uint64_t> count_on_from(std::uint64_t highest);

private:
    std::uint64_t begin_block(std::uint64_t size);
    Result<std::uint64_t> set_aside(std::uint64_t size);

    std::string path_;
    Life life_;
    std::uint64_t end_ = 0; ///< of the numbers set aside
};

} // namespace dmb
