// SPDX-License-Identifier: MIT
// What the worker's serve loop sees of a GPU driver. Two implementations: GbmBackend and VulkanBackend.
#pragma once
#include "daemon/worker/contents.hpp"
#include "proto/image/image.hpp"
#include "proto/wire/messages.hpp"

namespace dmb::worker {

/// A new image, exported: the memory lives in the descriptors only, nothing of the driver refers to it.
struct Exported {
    ImageDesc desc;
    ImageFds fds;
    bool contents_written = false;
};

class Driver {
public:
    virtual ~Driver() = default;
    /// Devices and formats, each proven by allocating and exporting a small image.
    virtual const wire::WorkerHello& hello() const = 0;
    /// `contents` may be null. The memory shows nothing of any other process.
    virtual Result<Exported> allocate(std::uint8_t device, const wire::AllocateSpec&, const Contents* contents) = 0;
    /// False: the driver is in a state that only a new process can leave.
    virtual bool usable() const { return true; }
};

} // namespace dmb::worker
