// SPDX-License-Identifier: MIT
// The worker that proves: imports images as applications do, uses them, and says what it saw. It may crash or hang
// in a driver; that is what it is a process for.
#pragma once
#include "daemon/worker/driver.hpp"
#include "daemon/worker/hold.hpp"
#include "proto/image/proof_pattern.hpp"

#include <memory>

namespace dmb::worker {

/// One API. Keeps displays and devices open between trials; opens none before the first.
class ApiProver {
public:
    virtual ~ApiProver() = default;
    virtual Proven prove(const Device&, Usage, const dmabroker::Image&) = 0;
    /// False: a device was lost.
    virtual bool usable() const { return true; }
};
std::unique_ptr<ApiProver> make_cpu_prover();
std::unique_ptr<ApiProver> make_vulkan_prover();
std::unique_ptr<ApiProver> make_egl_prover();
std::unique_ptr<ApiProver> make_gl_memory_prover();
std::unique_ptr<ApiProver> make_gbm_prover();

/// Words for the answer: a failed import is a refusal, whatever its code.
Proven refused(const Error&);
Proven impossible(std::string_view reason);
/// `wrong` as the functions of proof_pattern.hpp say it; empty: it works.
Proven judged(std::string_view how, const BoundedText<160>& wrong);
/// After a GPU drew: its fence in the dma-buf can be taken out and is signalled soon. Nothing to do for memfds and opaque
/// memory.
Result<> wait_for_fence(const dmabroker::Image&);
/// A buffer as one API sees it: through a fresh import each time.
class BufferAccess {
public:
    virtual ~BufferAccess() = default;
    virtual Result<> read(std::span<std::byte> to) const = 0;
    virtual Result<> write(std::span<const std::byte> from) const = 0;
};
/// Reads the plain pattern; for a usage that writes (storage), writes and reads the inverse. `api` is for the reasons.
Proven try_buffer(const dmabroker::Image&, Usage, std::string_view api, const BufferAccess&);
/// What the CPU finds in an image that it is meant to look at; else `works`.
Proven check_by_cpu(const dmabroker::Image&, ProofPattern);

class Prover : public Driver {
public:
    Proven prove(Api, const Device&, Usage, Image) override;
    bool usable() const override;

private:
    ApiProver* find(Api);
    static_assert(!is_valid(Api{static_cast<std::uint8_t>(Api::other) + 1}), "provers_ ends with Api::other");
    std::array<std::unique_ptr<ApiProver>, static_cast<std::size_t>(Api::other)> provers_; ///< by Api - 1
};

} // namespace dmb::worker
