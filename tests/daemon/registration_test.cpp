// SPDX-License-Identifier: MIT
// Images that clients made: what is believed, what is refused, and whose memory it is. Real memfds; what
// needs dma-bufs is tested in the VM.
#include "tests/daemon/broker_fixture.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

namespace dmb::test {
namespace {

class Registration : public BrokerTest {
protected:
    static UniqueFd memory(std::uint64_t size = 64 * 256, unsigned seals = F_SEAL_SHRINK | F_SEAL_GROW)
    {
        return std::move(*create_memfd("client", size, seals));
    }
    static ImageDesc describe(std::uint64_t size = 64 * 256)
    {
        ImageDesc out;
        out.kind = MemoryKind::memfd;
        out.size = {64, 64};
        out.format = fourcc("AB24");
        out.planes.push_back({0, 256, 0});
        out.memories.push_back({size});
        return out;
    }
    Errc try_register(ClientId id, const ImageDesc& what, UniqueFd fd, std::string_view label = {})
    {
        ImageFds fds;
        fds.push_back(std::move(fd));
        const auto held = broker->register_image(id, what, std::move(fds), {label, 0, now});
        return held ? Errc{} : held.error().code;
    }
};

TEST_F(Registration, a_sealed_memfd_becomes_an_image_of_its_client)
{
    EXPECT_EQ(try_register(alice, describe(), memory()), Errc{});
    const ImageInfo image = broker->inspect(alice, {}, now)->images.at(0);
    EXPECT_EQ(image.desc.backend, Backend::client);
    EXPECT_EQ(image.owner, alice);
    EXPECT_EQ(used(alice), (Amount{.bytes = 64 * 256, .images = 1, .fds = 1}));
    broker->disconnect(alice, now);
    EXPECT_EQ(pool->info(), PoolInfo{}) << "a client's memory never serves another";
}

TEST_F(Registration, what_a_client_says_of_its_device_is_not_believed)
{
    ImageDesc lie = describe();
    lie.backend = Backend::gbm;
    lie.device.render_node = 226 << 8 | 128;
    lie.device.device_uuid.fill(7);
    lie.rung = Rung::tiled;
    EXPECT_EQ(try_register(alice, lie, memory()), Errc{});
    const ImageInfo image = broker->inspect(alice, {}, now)->images.at(0);
    EXPECT_EQ(image.desc.backend, Backend::client);
    EXPECT_EQ(image.desc.device, DeviceId{}) << "an importer that trusts it crashes on other memory";
    EXPECT_EQ(image.desc.rung, Rung::system_dma_buf);
}

TEST_F(Registration, nothing_but_image_memory_is_taken)
{
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    int sockets[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    for (const int fd :
         {ends[0], ends[1], sockets[0], sockets[1], ::open("/dev/null", O_RDWR | O_CLOEXEC),
          ::open("/dev/zero", O_RDWR | O_CLOEXEC), ::open("/", O_PATH | O_CLOEXEC), ::open("/proc", O_RDONLY | O_CLOEXEC),
          ::epoll_create1(EPOLL_CLOEXEC), ::eventfd(0, EFD_CLOEXEC), ::memfd_create("unsealed", MFD_CLOEXEC)})
        EXPECT_EQ(try_register(alice, describe(), UniqueFd::adopt(fd)), Errc::bad_descriptor);
    EXPECT_EQ(try_register(alice, describe(), memory(64 * 256, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)),
              Errc::bad_descriptor);
    EXPECT_EQ(try_register(alice, describe(), memory(64 * 256, F_SEAL_SHRINK)), Errc::bad_descriptor)
        << "it could grow at the broker's cost";
    EXPECT_EQ(used(alice), Amount{});
}

TEST_F(Registration, the_last_byte_must_be_there)
{
    constexpr std::uint64_t end = 63 * 512 + 64 * 4;
    ImageDesc what = describe(end);
    what.planes[0].stride = 512;
    EXPECT_EQ(try_register(alice, what, memory(end - 1)), Errc::bad_layout);
    EXPECT_EQ(try_register(alice, what, memory(end)), Errc{});
    what.memories[0].size = end - 1;
    EXPECT_EQ(try_register(alice, what, memory(end)), Errc{}) << "the real size counts";
    what.memories[0].size = end + 1;
    EXPECT_EQ(try_register(alice, what, memory(end)), Errc::bad_layout) << "smaller than stated";
}

TEST_F(Registration, opaque_memory_and_unknown_modifiers_are_refused)
{
    ImageDesc what = describe();
    what.modifier = {0x0100000000000001};
    EXPECT_EQ(try_register(alice, what, memory()), Errc::unknown_modifier);
    what = describe();
    what.kind = MemoryKind::opaque;
    EXPECT_EQ(try_register(alice, what, memory()), Errc::bad_descriptor);
    what = describe();
    what.kind = MemoryKind::dma_buf;
    EXPECT_EQ(try_register(alice, what, memory()), Errc::bad_descriptor);
    EXPECT_EQ(try_register(alice, describe(), memory(), "\x1b"), Errc::invalid_argument);
}

TEST_F(Registration, a_reader_cannot_turn_its_descriptor_into_an_image_of_its_own)
{
    const auto made = allocate(alice);
    const auto token = mint(alice, made->handle);
    auto read_write = open(bob, *token, Right::read, UsageFlag::sample);
    EXPECT_EQ(try_register(bob, describe(), std::move(read_write->fd)), Errc::already_registered);
    auto read_only = open(bob, *token, Right::read, UsageFlag::cpu_read);
    EXPECT_EQ(try_register(bob, describe(), std::move(*reopen(read_only->fd.get(), O_RDWR))), Errc::already_registered);
    EXPECT_EQ(try_register(bob, describe(), std::move(read_only->fd)), Errc::bad_descriptor);
}

TEST_F(Registration, memory_has_one_owner_however_it_is_passed)
{
    UniqueFd mine = memory();
    EXPECT_EQ(try_register(alice, describe(), std::move(*mine.duplicate())), Errc{});
    EXPECT_EQ(try_register(bob, describe(), std::move(*mine.duplicate())), Errc::already_registered);
    EXPECT_EQ(try_register(bob, describe(), std::move(*reopen(mine.get(), O_RDWR))), Errc::already_registered);
    EXPECT_EQ(try_register(alice, describe(), std::move(*mine.duplicate())), Errc{}) << "twice by its owner";
    EXPECT_EQ(used(alice).images, 2u);
    EXPECT_TRUE(broker->release(alice, HandleId{1}, now));
    EXPECT_EQ(try_register(bob, describe(), std::move(*mine.duplicate())), Errc::already_registered);
    EXPECT_TRUE(broker->release(alice, HandleId{2}, now));
    EXPECT_EQ(try_register(bob, describe(), std::move(mine)), Errc{}) << "free again";
}

} // namespace
} // namespace dmb::test
