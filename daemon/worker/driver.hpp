// SPDX-License-Identifier: MIT
// What the worker's serve loop sees of whatever does the work: one implementation per kind of worker (GbmBackend,
// VulkanBackend, Prover, SystemDriver).
#pragma once
#include "daemon/worker/contents.hpp"
#include "proto/image/image.hpp"
#include "proto/inspect/proof.hpp"
#include "proto/request/request.hpp"

#include <span>

namespace dmb::worker {

/// A new image, exported: the memory lives in the descriptors only, nothing of the driver refers to it.
struct Exported {
    ImageDesc desc;
    ImageFds fds;
    bool contents_written = false;
};

/// A kind of worker does some of this and refuses the rest. Images that are handed in were checked against their
/// descriptors, opaque ones excepted.
class Driver {
public:
    virtual ~Driver() = default;
    /// Each proven by allocating and exporting a small image. None: it allocates nothing.
    virtual std::span<const Exports> exports() const { return {}; }
    /// `device`: an index into exports(). `contents` may be null. The memory shows nothing of any other process.
    virtual Result<Exported> allocate(std::uint8_t device, const AllocateSpec&, const LayoutRules&, const Contents* contents);
    /// Tries the importer of `api` on a device. The image is used up: whatever was in it may be drawn over.
    virtual Proven prove(Api, const Device&, Usage, Image);
    /// All planes, tightly packed one after the other, into `to`, which has just that many bytes.
    virtual Result<> read(Image, std::span<std::byte> to);
    virtual Result<> write(Image, const Contents&);
    /// Both have one size and format.
    virtual Result<> blit(Image from, Image to);
    /// False: the driver is in a state that only a new process can leave.
    virtual bool usable() const { return true; }
};

} // namespace dmb::worker
