// SPDX-License-Identifier: MIT
// The worker of kind `system`, which carries copies through plain memory where no GPU can. The memory may be a
// client's: what is mapped was identified before, a sealed memfd or a dma-buf, neither of which can shrink under the
// mapping. Should a driver's dma-buf fault all the same, this process is all that ends.
#include "daemon/worker/system_driver.hpp"

#include "daemon/worker/proofs/cpu_pixels.hpp"

namespace dmb::worker {

Result<> SystemDriver::read(Image image, std::span<std::byte> to) { return read_by_cpu(TRY(hold(std::move(image))), to); }

Result<> SystemDriver::write(Image image, const Contents& contents)
{
    return write_by_cpu(TRY(hold(std::move(image))), contents);
}

Result<> SystemDriver::blit(Image from, Image to)
{
    const dmabroker::Image source = TRY(hold(std::move(from)));
    return copy_by_cpu(source, TRY(hold(std::move(to))));
}

} // namespace dmb::worker
