// SPDX-License-Identifier: MIT
// The worker that copies with the CPU: memfds and dma-bufs with rows, of any device. No GPU driver is loaded.
#pragma once
#include "daemon/worker/driver.hpp"

namespace dmb::worker {

class SystemDriver : public Driver {
public:
    Result<> read(Image, std::span<std::byte> to) override;
    Result<> write(Image, const Contents&) override;
    Result<> blit(Image from, Image to) override;
};

} // namespace dmb::worker
