// SPDX-License-Identifier: MIT
// SHA-256 by libmd, whose header stays in this file; a pure function. Two things are kept as their digest: capability tables,
// which are named by it (wire/digest), and resume keys, so that whoever reads a saved state cannot come back as somebody's
// client.
#include "proto/base/sha256.hpp"

#include <sha2.h>

namespace dmb {

std::array<std::uint8_t, 32> sha256(std::span<const std::uint8_t> bytes)
{
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, bytes.data(), bytes.size());
    std::array<std::uint8_t, 32> digest;
    SHA256Final(digest.data(), &context);
    return digest;
}

} // namespace dmb
