// SPDX-License-Identifier: MIT
// The system calls behind UniqueFd, so that its header includes none. A descriptor is closed exactly once and never
// again: EINTR leaves it closed on Linux, and EBADF means that somebody closed what UniqueFd owned, which is asserted.
// Closing may block for as long as whoever made the file likes, which is why the broker never owns what clients sent
// unverified.
#include "proto/base/unique_fd.hpp"

#include <cassert>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace dmb {

void UniqueFd::close(int fd)
{
    // EINTR leaves the descriptor closed on Linux; EBADF is always a bug of ours.
    [[maybe_unused]] const int closed = ::close(fd);
    assert(closed == 0 || errno != EBADF);
}

Result<UniqueFd> UniqueFd::duplicate() const
{
    const int fd = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return fail_errno(Errc::internal, "duplicate a descriptor", errno);
    return adopt(fd);
}

} // namespace dmb
