// SPDX-License-Identifier: MIT
// A dma-buf or memfd mapped for the CPU, inside one bracket for reading and writing.
#pragma once
#include "proto/sync/cpu_bracket.hpp"

#include <cstddef>

namespace dmb::worker {

class Mapping {
public:
    /// Borrows `fd` for the life of the mapping. Blocks until pending GPU work on it is done.
    static Result<Mapping> map(int fd, std::uint64_t size);
    Mapping(Mapping&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(other.size_), bracket_(std::move(other.bracket_))
    {
    }
    Mapping& operator=(Mapping&&) = delete;
    ~Mapping();

    std::byte* data() const { return data_; }

private:
    Mapping(std::byte* data, std::uint64_t size) : data_(data), size_(size) {}
    std::byte* data_;
    std::uint64_t size_;
    CpuBracket bracket_;
};

} // namespace dmb::worker
