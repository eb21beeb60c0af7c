// SPDX-License-Identifier: MIT
// The digest of a capability table: SHA-256 over its encoding as it travelled, so that a broker which does not
// understand all of a later client's table names it as that client does. The encoding of a table that is not canonical
// has another digest, which is why Deciding takes canonical tables only.
#include "proto/wire/digest.hpp"

#include "proto/base/sha256.hpp"
#include "proto/wire/codec.hpp"

namespace dmb::wire {

Digest digest_of(std::span<const std::byte> bytes)
{
    return sha256({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

Result<Digest> digest_of(const Capabilities& table) { return digest_of(TRY(encode_capabilities(table))); }

} // namespace dmb::wire
