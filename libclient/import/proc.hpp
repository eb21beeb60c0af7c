// SPDX-License-Identifier: MIT
// Helpers of every importer: functions by name, descriptors to give away.
#pragma once
#include "proto/base/unique_fd.hpp"

#include <cerrno>
#include <dmabroker/import.h>
#include <fcntl.h>

namespace dmb::import {

/// False when `get` does not know the name.
template <class Function> bool load(dmabroker_get_proc get, const char* name, Function& out)
{
    out = reinterpret_cast<Function>(get(name));
    return out != nullptr;
}

/// A descriptor that a driver may take over.
inline Result<UniqueFd> duplicate(int fd)
{
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return fail_errno(Errc::internal, "duplicating a descriptor", errno);
    return UniqueFd::adopt(copy);
}

} // namespace dmb::import
