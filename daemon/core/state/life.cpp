// SPDX-License-Identifier: MIT
// A token is 14 random bytes and a mark, 2 bytes of their SipHash-2-4 with the life's key. 112 random bits are as
// unguessable as 128, and the mark alone opens nothing: it only chooses the sentence that a refusal says. There is no
// fallback generator. SipHash: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012.
#include "daemon/core/state/life.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <span>
#include <sys/random.h>

namespace dmb {
namespace {

constexpr std::size_t random_bytes = 14;
using Mark = std::array<std::uint8_t, 2>;

Result<> fill(std::span<std::uint8_t> bytes)
{
    ssize_t got;
    do got = ::getrandom(bytes.data(), bytes.size(), 0);
    while (got < 0 && errno == EINTR);
    if (got == static_cast<ssize_t>(bytes.size())) return {};
    return fail_errno(Errc::internal, "getrandom", got < 0 ? errno : EIO);
}

struct SipState {
    std::uint64_t a, b, c, d;
    void round()
    {
        a += b, b = std::rotl(b, 13) ^ a, a = std::rotl(a, 32);
        c += d, d = std::rotl(d, 16) ^ c;
        a += d, d = std::rotl(d, 21) ^ a;
        c += b, b = std::rotl(b, 17) ^ c, c = std::rotl(c, 32);
    }
    void absorb(std::uint64_t word)
    {
        d ^= word;
        round(), round();
        a ^= word;
    }
};

Mark mark_of(const Token& token, std::uint64_t key)
{
    std::uint64_t words[2] = {};
    std::memcpy(words, token.bytes.data(), random_bytes);
    SipState s{key ^ 0x736f6d6570736575, 0x646f72616e646f6d, key ^ 0x6c7967656e657261, 0x7465646279746573};
    s.absorb(words[0]);
    s.absorb(words[1] | std::uint64_t{random_bytes} << 56);
    s.c ^= 0xff;
    for (int i = 0; i < 4; ++i) s.round();
    const std::uint64_t hash = s.a ^ s.b ^ s.c ^ s.d;
    return {static_cast<std::uint8_t>(hash), static_cast<std::uint8_t>(hash >> 8)};
}

} // namespace

Result<std::uint64_t> make_key()
{
    std::array<std::uint8_t, sizeof(std::uint64_t)> bytes;
    TRY(fill(bytes));
    return std::bit_cast<std::uint64_t>(bytes);
}

Result<Token> make_token(const Life& life)
{
    Token token;
    TRY(fill(std::span(token.bytes).first(random_bytes)));
    std::ranges::copy(mark_of(token, life.key), token.bytes.begin() + random_bytes);
    return token;
}

bool is_from_earlier_life(const Life& life, const Token& token)
{
    const Mark mark{token.bytes[random_bytes], token.bytes[random_bytes + 1]};
    return std::ranges::any_of(life.earlier, [&](std::uint64_t key) { return mark_of(token, key) == mark; });
}

} // namespace dmb
