// SPDX-License-Identifier: MIT
// Descriptors of another process, for peers that know images by (pid, number) only: pidfd_open(2) and pidfd_getfd(2).
// The kernel allows it to whoever may trace the other process (ptrace(2), PTRACE_MODE_ATTACH_REALCREDS). What comes
// back is owned by the caller and not judged here: the receiver process of the broker does that.
#include "libclient/export/process.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dmb::exporting {
namespace {

std::unexpected<Error> fail_open(int pid, int error_number)
{
    if (error_number == ESRCH || error_number == EINVAL) return fail(Errc::not_found, "there is no process {}", pid);
    return fail_errno(Errc::unsupported, "pidfd_open", error_number);
}

std::unexpected<Error> fail_get(int pid, int remote, int error_number)
{
    switch (error_number) {
    case EBADF: return fail(Errc::bad_descriptor, "process {} has no descriptor {}", pid, remote);
    case ESRCH: return fail(Errc::not_found, "process {} has ended", pid);
    case EPERM:
        return fail(Errc::denied,
                    "the kernel lets this process not trace {} (ptrace rules: same user, dumpable); with Yama's ptrace_scope 1 "
                    "the other one must call prctl(PR_SET_PTRACER); else it should connect to the broker itself",
                    pid);
    case ENOSYS: return fail(Errc::unsupported, "pidfd_getfd needs Linux 5.6, or is forbidden by a seccomp filter");
    default: return fail_errno(Errc::internal, "pidfd_getfd", error_number);
    }
}

} // namespace

Result<UniqueFd> open_process(int pid)
{
    const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (fd < 0) return fail_open(pid, errno);
    return UniqueFd::adopt(fd);
}

Result<UniqueFd> take_from_process(const UniqueFd& process, int pid, int remote)
{
    const auto fd = static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), remote, 0));
    if (fd < 0) return fail_get(pid, remote, errno);
    return UniqueFd::adopt(fd);
}

} // namespace dmb::exporting
