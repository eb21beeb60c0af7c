// SPDX-License-Identifier: MIT
// System memory as a sealed memfd: works everywhere, for the CPU and for software GPU drivers.
#pragma once
#include "daemon/alloc/allocator.hpp"

namespace dmb {

/// A memfd of `size` bytes (whole pages) that cannot be resized or executed, for the owner's uid only.
Result<UniqueFd> create_memfd(const char* name, std::uint64_t size, unsigned seals);
/// A memfd with these bytes that nobody can change.
Result<UniqueFd> sealed_copy(const char* name, std::span<const std::byte>);
/// The same file opened once more, O_RDWR or O_RDONLY, through /proc. Only for memfds of the broker.
Result<UniqueFd> reopen(int fd, int flags);

class MemfdAllocator : public Allocator {
public:
    MemfdAllocator();
    std::span<const Exports> exports() const override { return {&exports_, 1}; }
    BackendSet offers() const override;
    void allocate(std::uint8_t device, const AllocateSpec&, const LayoutRules&, int contents, Instant now,
                  Completion done) override;

private:
    Exports exports_;
};

} // namespace dmb
