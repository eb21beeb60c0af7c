// SPDX-License-Identifier: MIT
// A dma-buf or memfd mapped for the CPU, inside one DMA_BUF_IOCTL_SYNC bracket.
#pragma once
#include "proto/base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

namespace dmb::worker {

class Mapping {
public:
    /// Borrows `fd` for the life of the mapping. Blocks until pending GPU work on it is done.
    static Result<Mapping> map(int fd, std::uint64_t size);
    Mapping(Mapping&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(other.size_), fd_(other.fd_) {}
    Mapping& operator=(Mapping&&) = delete;
    ~Mapping();

    std::byte* data() const { return data_; }

private:
    Mapping(std::byte* data, std::uint64_t size, int fd) : data_(data), size_(size), fd_(fd) {}
    std::byte* data_;
    std::uint64_t size_;
    int fd_;
};

} // namespace dmb::worker
