// SPDX-License-Identifier: MIT
// SyncFile owns its descriptor. The fences of a dma-buf stay where they are: an exported one is a copy of what was
// pending at that moment, and of later work it says nothing.
#include "proto/sync/sync_file.hpp"

#include <cerrno>
#include <linux/dma-buf.h>
#include <sys/ioctl.h>

namespace dmb {

Result<SyncFile> SyncFile::export_from(int dma_buf, Directions directions)
{
    dma_buf_export_sync_file request{directions.bits, -1};
    if (::ioctl(dma_buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &request) == 0) return SyncFile(UniqueFd::adopt(request.fd));
    return fail_errno(errno == ENOTTY ? Errc::unsupported : Errc::import_failed, "DMA_BUF_IOCTL_EXPORT_SYNC_FILE", errno);
}

Result<> SyncFile::wait(const Deadline& deadline) const
{
    if (deadline.wait_readable(fd_.get())) return {};
    return fail(Errc::timed_out, "a fence did not signal in {} ms", deadline.timeout_ms());
}

} // namespace dmb
