// SPDX-License-Identifier: MIT
// Real memfds: what is proven unshared is reused, what is not is dropped, what changes hands is zero. What somebody had
// who may open memfds of the broker anew does not change hands.
#include "tests/daemon/broker_fixture.hpp"

#include "proto/wire/channel.hpp"

#include <sys/socket.h>
#include <sys/stat.h>

namespace dmb::test {
namespace {

class Reuse : public BrokerTest {
protected:
    static std::uint64_t inode(const Got& got)
    {
        struct stat info{};
        EXPECT_EQ(::fstat(got.fd.get(), &info), 0);
        return info.st_ino;
    }
    static void write_pixel(const Got& got) { EXPECT_EQ(::pwrite(got.fd.get(), "secret", 6, 0), 6); }
    static std::string read_pixel(const Got& got)
    {
        char text[6] = {};
        EXPECT_EQ(::pread(got.fd.get(), text, 6, 0), 6);
        return {text, 6};
    }
    const std::string zeros = std::string(6, '\0');
};

TEST_F(Reuse, what_a_client_freed_serves_it_again)
{
    auto first = allocate(alice);
    const auto memory = inode(*first);
    write_pixel(*first);
    EXPECT_EQ(release(alice, *first), Errc{});
    EXPECT_EQ(pool->info().images, 1u);
    const auto second = allocate(alice);
    EXPECT_EQ(inode(*second), memory);
    EXPECT_EQ(read_pixel(*second), "secret");
    EXPECT_EQ(pool->info(), PoolInfo{});
}

TEST_F(Reuse, what_changes_hands_is_cleared)
{
    auto first = allocate(alice);
    write_pixel(*first);
    EXPECT_EQ(release(alice, *first), Errc{});
    const auto second = allocate(bob);
    EXPECT_EQ(pool->info(), PoolInfo{}) << "it was reused";
    EXPECT_EQ(read_pixel(*second), zeros);
}

TEST_F(Reuse, what_another_client_had_open_is_cleared_even_for_its_owner)
{
    auto first = allocate(alice);
    const auto token = mint(alice, first->handle, Right::read | Right::write);
    auto opened = open(bob, *token, Right::read | Right::write);
    write_pixel(*opened);
    EXPECT_EQ(release(bob, *opened), Errc{});
    EXPECT_EQ(release(alice, *first), Errc{});
    EXPECT_EQ(pool->info().images, 1u);
    EXPECT_EQ(read_pixel(*allocate(alice)), zeros);
}

TEST_F(Reuse, what_a_client_had_that_may_reopen_serves_itself_only)
{
    const ClientId carol{3};
    join(carol, false, 0, true);
    auto first = allocate(carol);
    const auto memory = inode(*first);
    EXPECT_EQ(release(carol, *first), Errc{});
    EXPECT_NE(inode(*allocate(bob)), memory);
    EXPECT_EQ(pool->info().images, 1u);
    EXPECT_EQ(inode(*allocate(carol)), memory);
}

TEST_F(Reuse, what_a_client_had_that_may_reopen_goes_with_it)
{
    const ClientId carol{3};
    join(carol, false, 0, true);
    auto first = allocate(carol), second = allocate(carol);
    EXPECT_EQ(release(carol, *first), Errc{});
    second->fd.reset();
    broker->disconnect(carol, now);
    EXPECT_EQ(pool->info(), PoolInfo{});
}

TEST_F(Reuse, what_was_shown_to_one_that_may_reopen_serves_nobody)
{
    const ClientId carol{3};
    join(carol, false, 0, true);
    for (const auto& [owner, reader] : {std::pair{alice, carol}, {carol, alice}}) {
        auto first = allocate(owner);
        auto opened = open(reader, *mint(owner, first->handle));
        EXPECT_EQ(release(reader, *opened), Errc{});
        EXPECT_EQ(release(owner, *first), Errc{});
        EXPECT_EQ(pool->info(), PoolInfo{});
    }
}

TEST_F(Reuse, pages_kept_in_a_pipe_do_not_show_the_next_owner)
{
    auto first = allocate(alice);
    write_pixel(*first);
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd out = UniqueFd::adopt(ends[0]), in = UniqueFd::adopt(ends[1]);
    loff_t offset = 0;
    ASSERT_EQ(::splice(first->fd.get(), &offset, in.get(), nullptr, 4096, 0), 4096);
    EXPECT_EQ(release(alice, *first), Errc{});
    const auto second = allocate(bob);
    EXPECT_EQ(::pwrite(second->fd.get(), "bob's!", 6, 0), 6);
    char seen[6] = {};
    ASSERT_EQ(::read(out.get(), seen, 6), 6);
    EXPECT_NE(std::string(seen, 6), "bob's!");
}

TEST_F(Reuse, a_kept_descriptor_keeps_the_memory_out_of_the_pool)
{
    auto first = allocate(alice);
    const auto duplicate = first->fd.duplicate();
    EXPECT_EQ(release(alice, *first), Errc{});
    EXPECT_EQ(pool->info(), PoolInfo{});
}

TEST_F(Reuse, a_reopened_descriptor_keeps_the_memory_out_of_the_pool)
{
    auto first = allocate(alice);
    const auto again = reopen(first->fd.get(), O_RDONLY);
    EXPECT_EQ(release(alice, *first), Errc{});
    EXPECT_EQ(pool->info(), PoolInfo{});
}

TEST_F(Reuse, a_mapping_keeps_the_memory_out_of_the_pool)
{
    auto first = allocate(alice);
    void* at = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, first->fd.get(), 0);
    ASSERT_NE(at, MAP_FAILED);
    EXPECT_EQ(release(alice, *first), Errc{});
    EXPECT_EQ(pool->info(), PoolInfo{});
    ::munmap(at, 4096);
}

TEST_F(Reuse, an_unread_packet_keeps_the_memory_out_of_the_pool)
{
    auto first = allocate(alice);
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const UniqueFd to = UniqueFd::adopt(ends[0]), from = UniqueFd::adopt(ends[1]);
    const int fd = first->fd.get();
    const std::byte packet[1]{};
    ASSERT_TRUE(wire::send(to.get(), packet, {&fd, 1}, wire::Wait::yes));
    EXPECT_EQ(release(alice, *first), Errc{});
    EXPECT_EQ(pool->info(), PoolInfo{});
}

TEST_F(Reuse, only_the_same_shape_serves)
{
    auto first = allocate(alice, request({64, 64}));
    EXPECT_EQ(release(alice, *first), Errc{});
    EXPECT_TRUE(allocate(alice, request({65, 64})));
    ImageRequest other = request();
    other.spec.format = fourcc("XR24");
    EXPECT_TRUE(allocate(alice, other));
    other = request();
    other.spec.modifiers.push_back(modifier_invalid);
    EXPECT_EQ(code(allocate(alice, other)), Errc::no_backend);
    EXPECT_EQ(pool->info().images, 1u);
}

TEST_F(Reuse, nothing_stays_for_long)
{
    auto first = allocate(alice);
    EXPECT_EQ(release(alice, *first), Errc{});
    EXPECT_LE(time_left(now, broker->deadline()), 2 * second);
    pass(2 * second);
    EXPECT_EQ(pool->info(), PoolInfo{});
    EXPECT_EQ(broker->deadline(), never);
}

TEST_F(Reuse, the_colour_is_the_new_request_s)
{
    auto first = allocate(alice);
    EXPECT_EQ(release(alice, *first), Errc{});
    ImageRequest other = request();
    other.spec.colour.alpha = AlphaMode::premultiplied;
    EXPECT_EQ(allocate(alice, other)->desc.colour.alpha, AlphaMode::premultiplied);
    EXPECT_EQ(pool->info(), PoolInfo{});
}

TEST_F(Reuse, the_oldest_goes_when_the_pool_is_full)
{
    pool.emplace(3 * 64 * 256);
    broker.emplace(limits, std::vector<Allocator*>{&memfd}, *pool, proofs, Helpers{}, events);
    join(alice);
    std::vector<Got> images;
    for (int i = 0; i < 5; ++i) images.push_back(std::move(*allocate(alice)));
    for (Got& image : images) EXPECT_EQ(release(alice, image), Errc{});
    EXPECT_EQ(pool->info(), (PoolInfo{.bytes = 3 * 64 * 256, .images = 3}));
    auto large = allocate(alice, request({64, 1024}));
    EXPECT_EQ(release(alice, *large), Errc{});
    EXPECT_EQ(pool->info().images, 3u) << "what is larger than the pool is not kept";
}

} // namespace
} // namespace dmb::test
