// SPDX-License-Identifier: MIT
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
