// SPDX-License-Identifier: MIT
// A file whose flush is never answered: whoever closes a descriptor of it hangs in the kernel, and kill -9 does not help. It
// lies on a FUSE file system that a child process serves in a mount namespace of its own, speaking to /dev/fuse directly.
#pragma once
#include "proto/base/unique_fd.hpp"

#include <string>
#include <sys/types.h>

namespace dmb::test {

/// One at a time, and nothing else may be started while it is open here: exec closes what is close-on-exec, and hangs.
class SilentFile {
public:
    SilentFile();
    /// Ends the file system: everybody who hangs goes on.
    ~SilentFile();
    SilentFile(const SilentFile&) = delete;
    SilentFile& operator=(const SilentFile&) = delete;

    /// Why there is none on this machine; empty when there is.
    const std::string& missing() const { return missing_; }
    int fd() const { return file_.get(); }
    /// Somebody hangs in closing it; waits for that.
    bool is_being_closed(double seconds = 10);

private:
    [[noreturn]] void serve(int parent) const;

    std::string folder_;
    std::string missing_;
    UniqueFd server_;
    UniqueFd file_;
    pid_t pid_ = -1;
};

} // namespace dmb::test
