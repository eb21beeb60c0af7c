// SPDX-License-Identifier: MIT
// A fresh memfd for the pixels of one image, tightly packed plane after plane: what the broker gets from a read.
#pragma once
#include "proto/base/unique_fd.hpp"
#include "proto/image/format_table.hpp"

#include <span>
#include <utility>

namespace dmb::worker {

class PixelMemory {
public:
    static Result<PixelMemory> create(FourCC, Extent);
    PixelMemory(PixelMemory&& other) noexcept : fd_(std::move(other.fd_)), bytes_(std::exchange(other.bytes_, {})) {}
    PixelMemory& operator=(PixelMemory&&) = delete;
    ~PixelMemory();

    std::span<std::byte> bytes() const { return bytes_; }
    /// Ends the mapping and seals size and seals.
    Result<UniqueFd> seal() &&;

private:
    PixelMemory(UniqueFd fd, std::span<std::byte> bytes) : fd_(std::move(fd)), bytes_(bytes) {}
    void unmap();
    UniqueFd fd_;
    std::span<std::byte> bytes_;
};

} // namespace dmb::worker
