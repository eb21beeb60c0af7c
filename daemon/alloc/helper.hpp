// SPDX-License-Identifier: MIT
// What the broker has others do with images, because it never maps or imports one itself. Whoever does it runs
// drivers and may die of it: Errc::disconnected means that it crashed, Errc::timed_out that it hung and was
// killed, Errc::shutting_down that it ended for another reason or is not there, everything else that it declined.
#pragma once
#include "proto/base/instant.hpp"
#include "proto/base/unique_fd.hpp"
#include "proto/inspect/proof.hpp"

#include <functional>
#include <span>

namespace dmb {

/// Tightly packed planes in a sealed memfd.
struct Pixels {
    UniqueFd memory;
    std::uint64_t cost_ns = 0;
};

/// Who is to be tried: this API of this device, with images for this usage.
struct Importer {
    Api api = Api::cpu;
    Device device;
    Usage usage;
};

/// Descriptors are duplicated before a call returns. `done` is called exactly once, before the call returns or later.
class Helper {
public:
    virtual ~Helper() = default;
    template <class T> using Done = std::move_only_function<void(Result<T>, Instant now)>;

    virtual void prove(const Importer&, const ImageDesc&, std::span<const int> fds, Instant now, Done<Proven> done) = 0;
    /// Whatever it has to do is not wanted any more: before this returns, each `done` has got Errc::shutting_down.
    virtual void abandon(Instant now) = 0;
    virtual void read(const ImageDesc&, std::span<const int> fds, Instant now, Done<Pixels> done) = 0;
    /// `fds`: the image's, and last the pixels. What it took, in nanoseconds.
    virtual void write(const ImageDesc&, std::span<const int> fds, Instant now, Done<std::uint64_t> done) = 0;
    /// By the GPU. `fds`: the source's, then the destination's. What it took, in nanoseconds.
    virtual void blit(const ImageDesc& source, const ImageDesc& destination, std::span<const int> fds, Instant now,
                      Done<std::uint64_t> done) = 0;
};

} // namespace dmb
