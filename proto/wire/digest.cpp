// SPDX-License-Identifier: MIT
#include "proto/wire/digest.hpp"

#include "proto/wire/codec.hpp"

#include <sha2.h>

namespace dmb::wire {

Result<Digest> digest_of(const Capabilities& table)
{
    const std::vector<std::byte> bytes = TRY(encode_capabilities(table));
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    Digest digest;
    SHA256Final(digest.data(), &context);
    return digest;
}

} // namespace dmb::wire
