// SPDX-License-Identifier: MIT
// The bytes of a parcel's head, written by the receiver process and read by the broker. The receiver has met hostile
// descriptors, so the broker checks what it reads even here: kinds, codes and lengths. The client's packet behind the
// head is not looked at; net/server decodes it.
#include "proto/wire/parcel.hpp"

#include <cassert>
#include <cstring>

namespace dmb::wire {
namespace {

struct Head {
    std::uint64_t client;
    std::uint16_t descriptors;
    std::uint16_t code;
    std::uint16_t reason_size;
    std::uint8_t kind;
    std::uint8_t zero;
    char reason[decltype(Error::reason)::max_size()];
};
static_assert(sizeof(Head) <= parcel_head_bytes && sizeof(Head) % 8 == 0);

bool carries_error(Parcel::Kind kind) { return kind == Parcel::Kind::refused || kind == Parcel::Kind::cut; }

} // namespace

void write_head(const Parcel& parcel, std::span<std::byte> out)
{
    assert(out.size() >= parcel_head_bytes);
    Head head{};
    head.client = parcel.client.value;
    head.descriptors = parcel.descriptors;
    head.code = static_cast<std::uint16_t>(parcel.error.code);
    head.reason_size = static_cast<std::uint16_t>(parcel.error.reason.size());
    head.kind = static_cast<std::uint8_t>(parcel.kind);
    std::ranges::copy(parcel.error.reason.view(), head.reason);
    std::memset(out.data(), 0, parcel_head_bytes);
    std::memcpy(out.data(), &head, sizeof head);
}

Result<Parcel> read_head(std::span<const std::byte> bytes)
{
    Head head{};
    if (bytes.size() < parcel_head_bytes) return fail(Errc::protocol_violation, "a parcel of {} bytes", bytes.size());
    std::memcpy(&head, bytes.data(), sizeof head);
    const auto kind = static_cast<Parcel::Kind>(head.kind);
    const auto code = static_cast<Errc>(head.code);
    if (kind > Parcel::Kind::ended || head.reason_size > sizeof head.reason || (carries_error(kind) && !is_valid(code)))
        return fail(Errc::protocol_violation, "a parcel that no receiver sends");
    return Parcel{kind, ClientId{head.client}, head.descriptors, {code, std::string_view(head.reason, head.reason_size)}};
}

} // namespace dmb::wire
