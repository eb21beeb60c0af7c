// SPDX-License-Identifier: MIT
// What a descriptor from somebody else really is, found out without ever blocking on it: F_GET_SEALS
// and /proc/self/fdinfo only. fstat, read or mmap on a foreign descriptor may hang for ever (FUSE,
// userfaultfd). Kernel: Documentation/filesystems/proc.rst "fdinfo", fcntl(2), driver-api/dma-buf.
#pragma once
#include "proto/base/unique_fd.hpp"
#include "proto/image/types.hpp"

namespace dmb {

enum class FdType { dma_buf, sealed_memfd, other };

struct FdIdentity {
    FdType type = FdType::other;
    std::uint64_t mount = 0; ///< mnt_id: with the inode number it identifies the memory
    std::uint64_t inode = 0;
    std::uint64_t size = 0;   ///< bytes; 0 for `other`
    bool writable = false;    ///< opened O_RDWR
    BoundedText<160> problem; ///< for `other`: what it is or lacks, for the error text
    friend bool operator==(const FdIdentity&, const FdIdentity&) = default;
};

/// What the memory is wanted for.
/// image: others map it and import it into their drivers for as long as they like. A memfd must have
/// F_SEAL_SHRINK (a mapping would fault), F_SEAL_GROW (its owner is charged for this size), F_SEAL_SEAL
/// (so that nobody seals it against writing later) and not be sealed against writing, on which GPU
/// drivers crash.
/// contents: it is read once. F_SEAL_SHRINK suffices, and it may be sealed against writing.
enum class FdUse { image, contents };

/// Never blocks and touches neither the content nor the file position. A memfd without the seals for
/// its use, or on huge pages, is `other`.
FdIdentity identify(int fd, FdUse use = FdUse::image);

/// For descriptors that the broker has identified, or this process made: works where a sandbox has no /proc, but asks the
/// file system. A memfd counts as sealed if it cannot shrink.
FdType type_without_proc(int fd);

/// References to a dma-buf as the kernel counts them (descriptors, mappings, importers, packets in
/// flight); 0 when it does not say.
std::uint64_t dma_buf_references(int fd);

} // namespace dmb
