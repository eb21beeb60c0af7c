// SPDX-License-Identifier: MIT
// System memory as a dma-buf: /dev/udmabuf over a memfd, or a heap below /dev/dma_heap. GPUs of every
// driver can try to import it.
#pragma once
#include "daemon/alloc/allocator.hpp"

#include <string>

namespace dmb {

/// The part both share: one device node, opened once, tried once.
class SystemDmaBufAllocator : public Allocator {
public:
    std::span<const Exports> exports() const override { return {&exports_, 1}; }
    BackendSet offers() const override;
    void allocate(std::uint8_t device, const AllocateSpec&, const LayoutRules&, int contents, Instant now,
                  Completion done) override;

protected:
    SystemDmaBufAllocator(Backend, const char* node, const char* name);
    /// Allocates a page; what goes wrong becomes the device's problem.
    void try_once(const char* remedy);
    /// A dma-buf of `size` bytes, whole pages.
    virtual Result<UniqueFd> create(std::uint64_t size) = 0;
    int node() const { return node_.get(); }

private:
    Result<Allocated> make_image(const AllocateSpec&, const LayoutRules&);
    Exports exports_;
    UniqueFd node_;
};

class UdmabufAllocator : public SystemDmaBufAllocator {
public:
    UdmabufAllocator();

private:
    Result<UniqueFd> create(std::uint64_t size) override;
};

class DmaHeapAllocator : public SystemDmaBufAllocator {
public:
    DmaHeapAllocator();

private:
    Result<UniqueFd> create(std::uint64_t size) override;
};

} // namespace dmb
