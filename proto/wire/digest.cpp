// SPDX-License-Identifier: MIT
#include "proto/wire/digest.hpp"

#include "proto/wire/codec.hpp"

#include <sha2.h>

namespace dmb::wire {

Digest digest_of(std::span<const std::byte> bytes)
{
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    Digest digest;
    SHA256Final(digest.data(), &context);
    return digest;
}

Result<Digest> digest_of(const Capabilities& table) { return digest_of(TRY(encode_capabilities(table))); }

} // namespace dmb::wire
