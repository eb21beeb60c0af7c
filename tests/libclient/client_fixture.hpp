// SPDX-License-Identifier: MIT
// What tests of started requests and of reconnecting have in common: a client's events, and a fake's images.
#pragma once
#include "tests/libclient/code_of.hpp"
#include "tests/libclient/fake_broker.hpp"
#include "tests/support/fixture.hpp"

#include <poll.h>

namespace dmb::test {

inline constexpr const char* some_token = "00112233445566778899aabbccddeeff";
inline const dmabroker::Allocation small_image{.size = {16, 16}, .format = dmabroker::fourcc("AB24")};
inline const ImageDesc small_desc = linear_desc({16, 16}, fourcc("AB24"));

class ClientTest : public FdTest {
protected:
    static bool readable(const dmabroker::Client& client, int wait_ms = 0)
    {
        pollfd p{client.fd(), POLLIN, 0};
        return ::poll(&p, 1, wait_ms) == 1;
    }
    /// The next event, waited for. What was read before the end is told before it.
    static dmabroker::Event wait_event(dmabroker::Client& client)
    {
        for (;;) {
            if (auto event = client.next_event()) return std::move(*event);
            EXPECT_TRUE(readable(client, 10'000)) << "no event in time";
            dmabroker_dispatch(client.native(), nullptr);
        }
    }
    /// Answers with a small image.
    static void give(Peer& peer, std::uint64_t serial, std::uint32_t handle)
    {
        const UniqueFd memory = sealed_memfd(small_desc.memories[0].size);
        const int fd = memory.get();
        peer.send(image_reply(small_desc, handle), serial, {&fd, 1});
    }
    static void deny(Peer& peer) { peer.reply(wire::ErrorReply{Errc::not_found, "no such token", {}}); }
    /// Of the next request, which must be a T.
    template <class T> static std::uint64_t serial_of(Peer& peer)
    {
        peer.expect<T>();
        return peer.serial();
    }
    /// A small image to register.
    static dmabroker_image_info small_info()
    {
        dmabroker_image_info info{};
        info.width = info.height = 16;
        info.format = small_image.format;
        info.kind = DMABROKER_MEMFD;
        info.plane_count = info.memory_count = 1;
        info.planes[0].stride = small_desc.planes[0].stride;
        info.memory_size[0] = small_desc.memories[0].size;
        return info;
    }
};

} // namespace dmb::test
