// SPDX-License-Identifier: MIT
// Images in the library against a fake broker: the CPU mapping and what it refuses, initial contents,
// registration.
#include "proto/image/fd_identity.hpp"
#include "tests/libclient/fake_broker.hpp"
#include "tests/support/fixture.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Direction;
using dmabroker::Rights;

constexpr const char* some_token = "00112233445566778899aabbccddeeff";
const FourCC ab24 = fourcc("AB24");

class ImageTest : public FdTest {
protected:
    /// Opens an image that the broker describes so; `memory` is borrowed.
    dmabroker::Image open(const wire::ImageReply& reply, const UniqueFd& memory)
    {
        FakeBroker broker([&](Peer& peer) {
            peer.greet();
            peer.expect<wire::Open>();
            const int fd = memory.get();
            peer.reply(reply, {&fd, 1});
        });
        return broker.connect().open(some_token);
    }
    /// The code with which mapping it fails; 0 when it does not.
    int map_code(const wire::ImageReply& reply, const UniqueFd& memory, Direction direction = Direction::read)
    {
        const auto image = open(reply, memory);
        try {
            image.map(direction);
            return 0;
        } catch (const dmabroker::Error& error) {
            return error.code();
        }
    }
};

wire::ImageReply small_reply(MemoryKind kind = MemoryKind::memfd) { return image_reply(linear_desc({16, 16}, ab24, kind)); }
UniqueFd memory_of(const wire::ImageReply& reply, int seals = -1) { return sealed_memfd(reply.desc.memories[0].size, seals); }

// ---- mapping -----------------------------------------------------------------------------------------

TEST_F(ImageTest, what_one_mapping_writes_another_reads)
{
    const wire::ImageReply reply = image_reply(linear_desc({17, 5}, fourcc("NV12")));
    const UniqueFd memory = memory_of(reply);
    auto writer = open(reply, memory).map(Direction::write);
    auto reader = open(reply, memory).map(Direction::read);
    auto write = writer.begin(Direction::write);
    write.row<char>(2, 1)[3] = 'x';
    write.end();
    auto read = reader.begin(Direction::read);
    EXPECT_EQ(read.row<char>(2, 1)[3], 'x');
    EXPECT_EQ(read.stride(1), reply.desc.planes[1].stride);
    EXPECT_EQ(read.data(1) - read.data(0), static_cast<std::ptrdiff_t>(reply.desc.planes[1].offset));
    EXPECT_EQ(read.data(2), nullptr);
}

TEST_F(ImageTest, a_mapping_needs_the_rights_of_its_hold)
{
    wire::ImageReply reply = small_reply();
    const UniqueFd memory = memory_of(reply);
    EXPECT_EQ(map_code(reply, memory, Direction::read_write), 0);
    EXPECT_EQ(map_code(reply, memory, Direction{4}), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(map_code(reply, memory, Direction{0}), DMABROKER_INVALID_ARGUMENT);
    reply.rights = Right::read;
    EXPECT_EQ(map_code(reply, memory, Direction::read), 0);
    EXPECT_EQ(map_code(reply, memory, Direction::write), DMABROKER_DENIED);
    reply.rights = Right::write;
    EXPECT_EQ(map_code(reply, memory, Direction::read), DMABROKER_DENIED);
}

TEST_F(ImageTest, a_read_only_descriptor_is_mapped_for_reading_only)
{
    wire::ImageReply reply = small_reply();
    reply.protection = Protection::read_only_descriptor;
    const UniqueFd memory = memory_of(reply);
    const UniqueFd readable =
        UniqueFd::adopt(::open(("/proc/self/fd/" + std::to_string(memory.get())).c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(map_code(reply, readable, Direction::read), 0);
    EXPECT_EQ(map_code(reply, readable, Direction::write), DMABROKER_DENIED);
    // A broker that forgets to say so gives an error, not a fault.
    reply.protection = Protection::none;
    EXPECT_EQ(map_code(reply, readable, Direction::write), DMABROKER_IMPORT_FAILED);
}

TEST_F(ImageTest, memory_smaller_than_described_is_refused_before_it_could_fault)
{
    const wire::ImageReply reply = small_reply();
    EXPECT_EQ(map_code(reply, sealed_memfd(reply.desc.memories[0].size - 1)), DMABROKER_BAD_LAYOUT);
    EXPECT_EQ(map_code(reply, sealed_memfd(0)), DMABROKER_BAD_LAYOUT);
}

TEST_F(ImageTest, memory_that_could_shrink_is_refused)
{
    const wire::ImageReply reply = small_reply();
    EXPECT_EQ(map_code(reply, memory_of(reply, F_SEAL_GROW)), DMABROKER_BAD_DESCRIPTOR);
}

TEST_F(ImageTest, what_is_called_a_dma_buf_must_be_one)
{
    const wire::ImageReply reply = small_reply(MemoryKind::dma_buf);
    EXPECT_EQ(map_code(reply, memory_of(reply)), DMABROKER_BAD_DESCRIPTOR);
    EXPECT_EQ(map_code(small_reply(), UniqueFd::adopt(::open("/dev/zero", O_RDWR | O_CLOEXEC))), DMABROKER_BAD_DESCRIPTOR);
}

TEST_F(ImageTest, layouts_that_only_a_driver_can_read_are_refused)
{
    wire::ImageReply tiled = small_reply(MemoryKind::dma_buf);
    tiled.desc.backend = Backend::gbm;
    tiled.desc.modifier = {0x0100000000000001};
    tiled.desc.usage = usage_cpu;
    const UniqueFd memory = memory_of(tiled);
    EXPECT_EQ(map_code(tiled, memory), DMABROKER_IMPORT_REFUSED);

    wire::ImageReply opaque = small_reply(MemoryKind::opaque);
    opaque.desc.backend = Backend::vulkan_opaque;
    opaque.desc.planes.clear();
    EXPECT_EQ(map_code(opaque, memory), DMABROKER_IMPORT_REFUSED);

    wire::ImageReply implicit = small_reply(MemoryKind::dma_buf);
    implicit.desc.modifier = modifier_invalid;
    for (const Backend backend : {Backend::client, Backend::vulkan}) {
        implicit.desc.backend = backend;
        EXPECT_EQ(map_code(implicit, memory), DMABROKER_IMPORT_REFUSED);
    }
}

TEST_F(ImageTest, gbm_images_are_mapped_only_with_the_cpu_usage_that_promises_coherence)
{
    wire::ImageReply reply = small_reply(MemoryKind::dma_buf);
    const UniqueFd memory = memory_of(reply);
    reply.desc.backend = Backend::gbm;
    reply.desc.usage = UsageFlag::render;
    for (const Modifier modifier : {modifier_linear, modifier_invalid}) {
        reply.desc.modifier = modifier;
        EXPECT_EQ(map_code(reply, memory), DMABROKER_IMPORT_REFUSED);
    }
    // Let through to the next check, which sees that this is no dma-buf.
    reply.desc.usage = UsageFlag::cpu_read;
    EXPECT_EQ(map_code(reply, memory), DMABROKER_BAD_DESCRIPTOR);
}

TEST_F(ImageTest, a_bracket_must_be_within_what_was_mapped)
{
    const wire::ImageReply reply = small_reply();
    auto mapping = open(reply, memory_of(reply)).map(Direction::read);
    EXPECT_THROW(mapping.begin(Direction::write), dmabroker::Error);
    EXPECT_LT(dmabroker_cpu_end(mapping.native(), DMABROKER_DIRECTION_WRITE, nullptr), 0);
}

// ---- initial contents ------------------------------------------------------------------------------------

/// Bytes that differ from row to row.
std::vector<unsigned char> picture(std::size_t size)
{
    std::vector<unsigned char> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<unsigned char>(i * 7 + i / 13);
    return bytes;
}

std::vector<unsigned char> read_all(int fd)
{
    std::vector<unsigned char> bytes(static_cast<std::size_t>(::lseek(fd, 0, SEEK_END)));
    EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    return bytes;
}

/// An NV12 picture of 5x3 with padded rows, and its packed form.
struct Nv12 {
    std::vector<unsigned char> luma = picture(8 * 3), chroma = picture(16 * 2);
    dmabroker_pixels pixels{{luma.data(), chroma.data()}, {8, 16}};
    std::vector<unsigned char> packed() const
    {
        std::vector<unsigned char> out;
        for (int y = 0; y < 3; ++y) out.insert(out.end(), luma.begin() + y * 8, luma.begin() + y * 8 + 5);
        for (int y = 0; y < 2; ++y) out.insert(out.end(), chroma.begin() + y * 16, chroma.begin() + y * 16 + 6);
        return out;
    }
};

TEST_F(ImageTest, contents_for_a_driver_travel_packed_in_a_sealed_memfd)
{
    Nv12 nv12;
    std::vector<unsigned char> received;
    FdIdentity identity;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        const auto request = peer.expect<wire::Allocate>();
        ASSERT_TRUE(request.has_contents);
        identity = identify(peer.fds()[0].get());
        received = read_all(peer.fds()[0].get());
        const ImageDesc desc = linear_desc({5, 3}, fourcc("NV12"));
        const UniqueFd memory = sealed_memfd(desc.memories[0].size);
        const int fd = memory.get();
        wire::ImageReply reply = image_reply(desc);
        reply.contents_written = true;
        peer.reply(reply, {&fd, 1});
        peer.expect<wire::Release>();
    });
    broker.connect().allocate(
        {.size = {5, 3}, .format = dmabroker::fourcc("NV12"), .usage = dmabroker::Usage::sample, .contents = nv12.pixels});
    broker.join();
    EXPECT_EQ(identity.type, FdType::sealed_memfd) << identity.problem.view();
    EXPECT_EQ(received, nv12.packed());
}

/// Serves an allocation without writing contents; returns the rows of both planes afterwards.
std::vector<unsigned char> serve_unwritten(Nv12& nv12, dmabroker::Usage usage, bool& has_contents)
{
    const ImageDesc desc = linear_desc({5, 3}, fourcc("NV12"));
    const UniqueFd memory = sealed_memfd(desc.memories[0].size);
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        has_contents = peer.expect<wire::Allocate>().has_contents;
        const int fd = memory.get();
        peer.reply(image_reply(desc), {&fd, 1});
        peer.expect<wire::Release>();
    });
    broker.connect().allocate({.size = {5, 3}, .format = dmabroker::fourcc("NV12"), .usage = usage, .contents = nv12.pixels});
    const auto all = read_all(memory.get());
    std::vector<unsigned char> rows;
    const auto append = [&](const Plane& plane, std::size_t count, std::size_t bytes) {
        for (std::size_t y = 0; y < count; ++y) {
            const auto row = all.begin() + static_cast<std::ptrdiff_t>(plane.offset + y * plane.stride);
            rows.insert(rows.end(), row, row + static_cast<std::ptrdiff_t>(bytes));
        }
    };
    append(desc.planes[0], 3, 5);
    append(desc.planes[1], 2, 6);
    return rows;
}

TEST_F(ImageTest, contents_that_the_broker_did_not_write_are_written_through_the_mapping)
{
    Nv12 nv12;
    bool sent = false;
    EXPECT_EQ(serve_unwritten(nv12, dmabroker::Usage::sample, sent), nv12.packed());
    EXPECT_TRUE(sent);
}

TEST_F(ImageTest, contents_of_memory_that_the_cpu_may_write_do_not_travel)
{
    Nv12 nv12;
    bool sent = true;
    EXPECT_EQ(serve_unwritten(nv12, dmabroker::Usage::cpu_write, sent), nv12.packed());
    EXPECT_FALSE(sent);
}

TEST_F(ImageTest, contents_travel_after_all_when_the_mapping_is_refused)
{
    Nv12 nv12;
    std::vector<unsigned char> received;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        EXPECT_FALSE(peer.expect<wire::Allocate>().has_contents);
        ImageDesc desc = linear_desc({5, 3}, fourcc("NV12"), MemoryKind::dma_buf);
        desc.modifier = {0x0100000000000001};
        const UniqueFd memory = sealed_memfd(desc.memories[0].size);
        const int fd = memory.get();
        peer.reply(image_reply(desc, 1), {&fd, 1});
        EXPECT_EQ(peer.expect<wire::Release>().handle, HandleId{1});
        EXPECT_TRUE(peer.expect<wire::Allocate>().has_contents);
        received = read_all(peer.fds()[0].get());
        wire::ImageReply reply = image_reply(desc, 2);
        reply.contents_written = true;
        peer.reply(reply, {&fd, 1});
        peer.expect<wire::Release>();
    });
    broker.connect().allocate(
        {.size = {5, 3}, .format = dmabroker::fourcc("NV12"), .usage = dmabroker::Usage::cpu_write, .contents = nv12.pixels});
    broker.join();
    EXPECT_EQ(received, nv12.packed());
}

TEST_F(ImageTest, contents_that_nobody_can_write_give_the_image_back)
{
    Nv12 nv12;
    bool released = false;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        peer.expect<wire::Allocate>();
        ImageDesc desc = linear_desc({5, 3}, fourcc("NV12"), MemoryKind::opaque);
        desc.planes.clear();
        const UniqueFd memory = sealed_memfd(4096);
        const int fd = memory.get();
        peer.reply(image_reply(desc, 9), {&fd, 1});
        released = peer.expect<wire::Release>().handle == HandleId{9};
    });
    auto client = broker.connect();
    EXPECT_THROW(client.allocate({.size = {5, 3}, .format = dmabroker::fourcc("NV12"), .contents = nv12.pixels}),
                 dmabroker::Error);
    broker.join();
    EXPECT_TRUE(released);
}

TEST_F(ImageTest, contents_need_a_pointer_and_a_long_enough_row_for_every_plane)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        EXPECT_TRUE(peer.wait_for_end());
    });
    auto client = broker.connect();
    const auto code = [&](dmabroker_pixels pixels, std::uint32_t format) {
        try {
            client.allocate({.size = {5, 3}, .format = format, .contents = pixels});
            return 0;
        } catch (const dmabroker::Error& error) {
            return static_cast<int>(error.code());
        }
    };
    Nv12 nv12;
    EXPECT_EQ(code({{nv12.luma.data()}, {8}}, dmabroker::fourcc("NV12")), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code({{nv12.luma.data(), nv12.chroma.data()}, {4, 16}}, dmabroker::fourcc("NV12")), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code(nv12.pixels, 0x12345678), DMABROKER_UNKNOWN_FORMAT);
}

// ---- registration, inspection -----------------------------------------------------------------

dmabroker_image_info info_of(const ImageDesc& desc)
{
    dmabroker_image_info info{};
    info.struct_size = sizeof info;
    info.width = desc.size.width;
    info.height = desc.size.height;
    info.format = desc.format.value;
    info.modifier = desc.modifier.value;
    info.kind = static_cast<std::uint32_t>(desc.kind);
    info.plane_count = static_cast<std::uint32_t>(desc.planes.size());
    info.memory_count = static_cast<std::uint32_t>(desc.memories.size());
    for (std::size_t i = 0; i < desc.planes.size(); ++i)
        info.planes[i] = {desc.planes[i].memory, desc.planes[i].stride, desc.planes[i].offset};
    for (std::size_t i = 0; i < desc.memories.size(); ++i) info.memory_size[i] = desc.memories[i].size;
    return info;
}

TEST_F(ImageTest, a_registered_image_keeps_its_own_descriptors)
{
    const ImageDesc desc = linear_desc({5, 3}, fourcc("NV12"));
    wire::Register request;
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        request = peer.expect<wire::Register>();
        wire::ImageReply reply = image_reply(request.desc, 4);
        reply.has_fds = false;
        peer.reply(reply);
        peer.expect<wire::Release>();
    });
    auto client = broker.connect();
    UniqueFd memory = sealed_memfd(desc.memories[0].size);
    const int fd = memory.get();
    const auto image = client.register_image(info_of(desc), &fd, "camera", dmabroker::forever);
    memory.reset();
    EXPECT_EQ(request.label.view(), "camera");
    EXPECT_EQ(request.lease_ns, wire::forever);
    EXPECT_EQ(request.desc.planes, desc.planes);
    image.map(Direction::read);
}

TEST_F(ImageTest, a_lost_channel_ends_what_was_sent_there_but_not_what_had_arrived)
{
    const ImageDesc desc = linear_desc({5, 3}, fourcc("NV12"));
    FakeBroker broker([&](Peer& peer) {
        peer.greet();
        peer.expect<wire::Register>();
        peer.lose_channel({Errc::interrupted, "the receiver ended", {}});
        const auto request = peer.expect<wire::Register>();
        peer.lose_channel({Errc::interrupted, "the receiver ended", {peer.serial()}});
        wire::ImageReply reply = image_reply(request.desc, 4);
        reply.has_fds = false;
        peer.reply(reply);
        peer.expect<wire::Release>();
    });
    auto client = broker.connect();
    const UniqueFd memory = sealed_memfd(desc.memories[0].size);
    const int fd = memory.get();
    try {
        client.register_image(info_of(desc), &fd);
        ADD_FAILURE() << "nothing answered it";
    } catch (const dmabroker::Error& error) {
        EXPECT_EQ(error.code(), DMABROKER_INTERRUPTED);
    }
    client.register_image(info_of(desc), &fd);
}

TEST_F(ImageTest, an_adopted_image_works_without_any_broker)
{
    const ImageDesc desc = linear_desc({5, 3}, fourcc("NV12"));
    UniqueFd memory = sealed_memfd(desc.memories[0].size);
    const int fd = memory.get();
    auto image = dmabroker::adopt(info_of(desc), &fd);
    memory.reset();
    EXPECT_EQ(image.info().rights, static_cast<std::uint32_t>(DMABROKER_READ | DMABROKER_WRITE | DMABROKER_MANAGE));
    auto mapping = image.map(Direction::read_write);
    auto mapped = mapping.begin(Direction::write);
    EXPECT_EQ(mapped.stride(1), desc.planes[1].stride);
    try {
        image.token(Rights::read);
        ADD_FAILURE() << "a token without a broker";
    } catch (const dmabroker::Error& error) {
        EXPECT_EQ(error.code(), DMABROKER_DISCONNECTED);
    }
}

TEST_F(ImageTest, what_is_adopted_is_checked_like_a_registration)
{
    const dmabroker_image_info good = info_of(linear_desc({5, 3}, fourcc("NV12")));
    const UniqueFd memory = sealed_memfd(good.memory_size[0]), unsealed = sealed_memfd(good.memory_size[0], 0);
    const auto code = [](const dmabroker_image_info& info, int fd) {
        try {
            dmabroker::adopt(info, &fd);
            return 0;
        } catch (const dmabroker::Error& error) {
            return static_cast<int>(error.code());
        }
    };
    EXPECT_EQ(code(good, memory.get()), 0);
    EXPECT_EQ(code(good, unsealed.get()), DMABROKER_BAD_DESCRIPTOR);
    EXPECT_EQ(code(good, -1), DMABROKER_BAD_DESCRIPTOR);
    auto info = good;
    info.memory_size[0] += 4096;
    EXPECT_EQ(code(info, memory.get()), DMABROKER_BAD_LAYOUT);
    info = good;
    info.kind = DMABROKER_DMA_BUF;
    EXPECT_EQ(code(info, memory.get()), DMABROKER_BAD_DESCRIPTOR);
    info = good;
    info.planes[1].offset = good.memory_size[0];
    EXPECT_EQ(code(info, memory.get()), DMABROKER_BAD_LAYOUT);
    info = good;
    info.rights = DMABROKER_READ;
    const int fd = memory.get();
    EXPECT_THROW(dmabroker::adopt(info, &fd).map(Direction::write), dmabroker::Error);
}

TEST_F(ImageTest, a_registration_that_contradicts_itself_is_refused_without_sending)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        EXPECT_TRUE(peer.wait_for_end());
    });
    auto client = broker.connect();
    const dmabroker_image_info good = info_of(linear_desc({5, 3}, fourcc("NV12")));
    const UniqueFd memory = sealed_memfd(good.memory_size[0]);
    const int fd = memory.get();
    const auto code = [&](const dmabroker_image_info& info, const int* fds) {
        try {
            client.register_image(info, fds);
            return 0;
        } catch (const dmabroker::Error& error) {
            return static_cast<int>(error.code());
        }
    };
    auto info = good;
    info.kind = DMABROKER_OPAQUE;
    EXPECT_EQ(code(info, &fd), DMABROKER_INVALID_ARGUMENT);
    info.kind = 0;
    EXPECT_EQ(code(info, &fd), DMABROKER_INVALID_ARGUMENT);
    info = good;
    info.planes[1].memory = 256;
    EXPECT_EQ(code(info, &fd), DMABROKER_BAD_LAYOUT);
    info = good;
    info.plane_count = 5;
    EXPECT_EQ(code(info, &fd), DMABROKER_BAD_LAYOUT);
    info = good;
    info.planes[1].offset = good.memory_size[0];
    EXPECT_EQ(code(info, &fd), DMABROKER_BAD_LAYOUT);
    const int closed = -1;
    EXPECT_EQ(code(good, &closed), DMABROKER_BAD_DESCRIPTOR);
}

TEST_F(ImageTest, a_snapshot_is_read_from_its_memfd_and_one_that_is_too_short_ends_the_connection)
{
    FakeBroker broker([](Peer& peer) {
        peer.greet();
        Snapshot snapshot;
        snapshot.server = "fake broker";
        const auto bytes = wire::encode_snapshot(snapshot).value();
        const UniqueFd memory = sealed_memfd(bytes.size());
        EXPECT_EQ(::pwrite(memory.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
        const int fd = memory.get();
        peer.expect<wire::Inspect>();
        peer.reply(wire::SnapshotReply{bytes.size()}, {&fd, 1});
        peer.expect<wire::Inspect>();
        peer.reply(wire::SnapshotReply{bytes.size() + 1}, {&fd, 1});
        EXPECT_TRUE(peer.wait_for_end());
    });
    auto client = broker.connect();
    EXPECT_NE(client.inspect().find("fake broker"), std::string::npos);
    EXPECT_THROW(client.inspect(), dmabroker::Error);
}

} // namespace
} // namespace dmb::test
