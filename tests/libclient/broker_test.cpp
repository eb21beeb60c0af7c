// SPDX-License-Identifier: MIT
// The library against the real broker, without GPU workers: the whole way of an image, and what both
// sides must refuse. What belongs to the broker alone is tested in tests/daemon and tests/integration.
#include "proto/base/unique_fd.hpp"
#include "tests/libclient/code_of.hpp"
#include "tests/libclient/fake_broker.hpp"
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"
#include "tests/support/instrumented.hpp"

#include <csignal>
#include <cstring>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb::test {
namespace {

using namespace std::chrono_literals;
using dmabroker::Client;
using dmabroker::Direction;
using dmabroker::Image;
using dmabroker::Rights;
using dmabroker::Usage;

constexpr std::uint32_t ab24 = dmabroker::fourcc("AB24");

class BrokerTest : public FdTest {
protected:
    Client connect(bool manager = false) const { return Client::connect({.remote = broker_.socket(), .manager = manager}); }
    Image allocate(Client& client, Usage usage = Usage::cpu_read | Usage::cpu_write) const
    {
        return client.allocate({.size = {33, 17}, .format = ab24, .usage = usage, .label = "test"});
    }
    static void wait_readable(const Client& client)
    {
        pollfd p{client.fd(), POLLIN, 0};
        EXPECT_EQ(::poll(&p, 1, 10'000), 1);
    }

    BrokerProcess broker_;
};

TEST_F(BrokerTest, pixels_written_by_one_process_are_read_by_another)
{
    Client client = connect();
    Image image = allocate(client);
    {
        auto mapping = image.map(Direction::write);
        auto mapped = mapping.begin(Direction::write);
        for (unsigned y = 0; y < 17; ++y)
            for (unsigned x = 0; x < 33; ++x) mapped.row<std::uint32_t>(y)[x] = x * 1000 + y;
        mapped.end();
    }
    const std::string token = image.token(Rights::read);
    const pid_t child = ::fork();
    if (child == 0) {
        // The child must not use its parent's connection: it makes its own.
        Client reader = connect();
        Image opened = reader.open(token);
        auto mapping = opened.map(Direction::read);
        auto mapped = mapping.begin(Direction::read);
        bool same = true;
        for (unsigned y = 0; y < 17; ++y)
            for (unsigned x = 0; x < 33; ++x) same &= mapped.row<std::uint32_t>(y)[x] == x * 1000 + y;
        ::_exit(same ? 0 : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
}

TEST_F(BrokerTest, contents_arrive_in_every_plane_with_odd_sizes)
{
    std::vector<unsigned char> luma(33 * 17), chroma(34 * 9);
    for (std::size_t i = 0; i < luma.size(); ++i) luma[i] = static_cast<unsigned char>(i * 3);
    for (std::size_t i = 0; i < chroma.size(); ++i) chroma[i] = static_cast<unsigned char>(i * 5 + 1);
    Client client = connect();
    for (const Usage usage : {Usage::cpu_write, Usage::cpu_read, Usage::sample}) {
        Image image = client.allocate({.size = {33, 17},
                                       .format = dmabroker::fourcc("NV12"),
                                       .usage = usage,
                                       .backends = DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_MEMFD),
                                       .contents = dmabroker_pixels{{luma.data(), chroma.data()}, {}}});
        auto mapping = image.map(Direction::read);
        auto mapped = mapping.begin(Direction::read);
        for (unsigned y = 0; y < 17; ++y) EXPECT_EQ(std::memcmp(mapped.row<char>(y), &luma[y * 33], 33), 0) << y;
        for (unsigned y = 0; y < 9; ++y) EXPECT_EQ(std::memcmp(mapped.row<char>(y, 1), &chroma[y * 34], 34), 0) << y;
    }
}

TEST_F(BrokerTest, a_reader_gets_a_descriptor_that_cannot_write)
{
    Client client = connect();
    Image image = allocate(client);
    Image reader = client.open(image.token(Rights::read), Rights::read, Usage::cpu_read);
    EXPECT_EQ(reader.info().protection, unsigned(DMABROKER_PROTECTION_READ_ONLY_DESCRIPTOR));
    EXPECT_EQ(reader.info().rights, unsigned(DMABROKER_READ));
    EXPECT_EQ(code_of([&] { reader.map(Direction::write); }), DMABROKER_DENIED);
    EXPECT_EQ(code_of([&] { reader.map(Direction::read); }), 0);
    EXPECT_EQ(code_of([&] { reader.token(Rights::write); }), DMABROKER_DENIED);
}

TEST_F(BrokerTest, tokens_are_refused_with_the_reason)
{
    Client client = connect();
    Image image = allocate(client);
    EXPECT_EQ(code_of([&] { client.open("00112233445566778899aabbccddeeff"); }), DMABROKER_NOT_FOUND);
    EXPECT_EQ(code_of([&] { client.open(image.token(Rights::read), Rights::write); }), DMABROKER_DENIED);
    const std::string once = image.token(Rights::read, {.one_shot = true});
    EXPECT_EQ(code_of([&] { client.open(once); }), 0);
    EXPECT_EQ(code_of([&] { client.open(once); }), DMABROKER_TOKEN_USED);
    const std::string revoked = image.token(Rights::read);
    client.revoke_token(revoked);
    EXPECT_EQ(code_of([&] { client.open(revoked); }), DMABROKER_TOKEN_REVOKED);
}

TEST_F(BrokerTest, an_image_ends_with_its_last_hold_and_a_lease_keeps_it)
{
    Client client = connect();
    Client reader = connect();
    const std::string gone = allocate(client).token(Rights::read);
    EXPECT_NE(code_of([&] { reader.open(gone); }), 0);
    std::string kept;
    {
        Image image = allocate(client);
        image.set_lease(dmabroker::forever);
        kept = image.token(Rights::all);
    }
    Image image = reader.open(kept, Rights::all);
    image.set_lease(0s);
}

TEST_F(BrokerTest, a_revoked_image_is_told_to_its_holders)
{
    Client client = connect();
    Client reader = connect();
    Image image = allocate(client);
    Image opened = reader.open(image.token(Rights::read));
    client.revoke_image(image.info().id);
    auto event = reader.next_event();
    for (int tries = 0; tries < 10 && !event; ++tries) { // a broker of a later version has events that nobody here is told of
        wait_readable(reader);
        reader.dispatch();
        event = reader.next_event();
    }
    ASSERT_TRUE(event);
    EXPECT_EQ(event->type, DMABROKER_EVENT_IMAGE_REVOKED);
    EXPECT_EQ(event->image, opened.native());
    EXPECT_EQ(code_of([&] { opened.map(Direction::read); }), 0) << "what is held stays";
}

TEST_F(BrokerTest, a_memfd_of_the_client_is_registered_and_opened_by_another)
{
    const ImageDesc desc = linear_desc({33, 17}, FourCC{ab24});
    const UniqueFd memory = sealed_memfd(desc.memories[0].size);
    const int fd = memory.get();
    dmabroker_image_info info{};
    info.width = 33;
    info.height = 17;
    info.format = ab24;
    info.kind = DMABROKER_MEMFD;
    info.usage = DMABROKER_USAGE_CPU_READ;
    info.plane_count = info.memory_count = 1;
    info.planes[0].stride = desc.planes[0].stride;
    info.memory_size[0] = desc.memories[0].size;
    Client client = connect();
    Image image = client.register_image(info, &fd, "mine");
    EXPECT_EQ(image.info().backend, unsigned(DMABROKER_BACKEND_CLIENT));
    {
        auto mapping = image.map(Direction::write);
        auto mapped = mapping.begin(Direction::write);
        mapped.data()[5] = std::byte{42};
    }
    Client reader = connect();
    Image opened = reader.open(image.token(Rights::read));
    auto mapping = opened.map(Direction::read);
    EXPECT_EQ(mapping.begin(Direction::read).data()[5], std::byte{42});

    const UniqueFd unsealed = sealed_memfd(desc.memories[0].size, 0);
    const int wrong = unsealed.get();
    EXPECT_EQ(code_of([&] { client.register_image(info, &wrong); }), DMABROKER_BAD_DESCRIPTOR);
    info.memory_size[0] += 4096;
    EXPECT_EQ(code_of([&] { client.register_image(info, &fd); }), DMABROKER_BAD_LAYOUT);
}

TEST_F(BrokerTest, a_buffer_is_allocated_with_contents_and_read_by_another)
{
    std::vector<unsigned char> bytes(100'001);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i * 7 + i / 256);
    const dmabroker::Size size{static_cast<std::uint32_t>(bytes.size()), 1};
    Client client = connect(), other = connect();
    for (const Usage usage : {Usage::cpu_write, Usage::storage}) {
        Image buffer = client.allocate({.size = size,
                                        .format = DMABROKER_FORMAT_BUFFER,
                                        .usage = usage,
                                        .contents = dmabroker_pixels{{bytes.data()}, {}}});
        EXPECT_EQ(buffer.info().width, bytes.size());
        EXPECT_GE(buffer.info().memory_size[0], bytes.size());
        Image opened = other.open(buffer.token(Rights::read), Rights::read, Usage::cpu_read);
        auto mapping = opened.map(Direction::read);
        EXPECT_EQ(std::memcmp(mapping.begin(Direction::read).data(), bytes.data(), bytes.size()), 0);
    }
    EXPECT_EQ(code_of([&] { client.allocate({.size = {64, 64}, .format = DMABROKER_FORMAT_BUFFER}); }), DMABROKER_BAD_SIZE);
    EXPECT_EQ(code_of([&] { client.allocate({.size = {0, 1}, .format = DMABROKER_FORMAT_BUFFER}); }), DMABROKER_BAD_SIZE);
}

TEST_F(BrokerTest, a_memfd_is_registered_as_a_buffer)
{
    const UniqueFd memory = sealed_memfd(8192);
    const int fd = memory.get();
    dmabroker_image_info info{};
    info.width = 5000;
    info.height = 1;
    info.format = DMABROKER_FORMAT_BUFFER;
    info.kind = DMABROKER_MEMFD;
    info.plane_count = info.memory_count = 1;
    info.planes[0].stride = 5000;
    info.planes[0].offset = 3192;
    info.memory_size[0] = 8192;
    Client client = connect(), other = connect();
    Image buffer = client.register_image(info, &fd);
    {
        auto mapping = buffer.map(Direction::write);
        mapping.begin(Direction::write).data()[4999] = std::byte{42};
    }
    Image opened = other.open(buffer.token(Rights::read));
    auto mapping = opened.map(Direction::read);
    EXPECT_EQ(mapping.begin(Direction::read).data()[4999], std::byte{42});
    info.planes[0].offset += 1;
    EXPECT_EQ(code_of([&] { client.register_image(info, &fd); }), DMABROKER_BAD_LAYOUT) << "one byte beyond its memory";
    info.modifier = DMABROKER_MODIFIER_INVALID;
    info.planes[0].offset = 0;
    EXPECT_EQ(code_of([&] { client.register_image(info, &fd); }), DMABROKER_BAD_LAYOUT);
}

TEST_F(BrokerTest, what_nothing_can_serve_is_explained)
{
    Client client = connect();
    EXPECT_EQ(code_of([&] {
                  client.allocate(
                      {.size = {4, 4}, .format = ab24, .backends = DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_VULKAN_OPAQUE)});
              }),
              DMABROKER_NO_BACKEND);
    EXPECT_NE(client.why(client.last_request()).find("reason"), std::string::npos);
    EXPECT_EQ(code_of([&] { client.allocate({.size = {0, 4}, .format = ab24}); }), DMABROKER_BAD_SIZE);
    EXPECT_EQ(code_of([&] { client.allocate({.size = {4, 4}, .format = 0x12345678}); }), DMABROKER_UNKNOWN_FORMAT);
}

TEST_F(BrokerTest, inspection_shows_the_own_image_and_never_its_token)
{
    Client client = connect();
    Client stranger = connect();
    Image image = allocate(client);
    const std::string token = image.token(Rights::read);
    const std::string json = client.inspect();
    EXPECT_NE(json.find("\"test\""), std::string::npos) << json;
    EXPECT_EQ(json.find(token), std::string::npos);
    EXPECT_EQ(stranger.inspect().find("\"test\""), std::string::npos);
    Client manager = connect(true);
    EXPECT_NE(manager.inspect().find("\"test\""), std::string::npos);
    manager.revoke_image(image.info().id);
    EXPECT_EQ(code_of([&] { stranger.open(token); }), DMABROKER_TOKEN_REVOKED);
}

TEST_F(BrokerTest, a_killed_broker_is_one_event_and_images_stay_usable)
{
    Client client = connect();
    Image image = allocate(client);
    ::kill(broker_.pid(), SIGKILL);
    wait_readable(client);
    EXPECT_EQ(code_of([&] { client.dispatch(); }), DMABROKER_DISCONNECTED);
    const auto event = client.next_event();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->type, DMABROKER_EVENT_DISCONNECTED);
    EXPECT_FALSE(client.next_event());
    EXPECT_EQ(code_of([&] { image.token(Rights::read); }), DMABROKER_DISCONNECTED);
    auto mapping = image.map(Direction::write);
    mapping.begin(Direction::write).data()[0] = std::byte{1};
}

TEST_F(BrokerTest, a_broker_that_ends_says_goodbye)
{
    Client client = connect();
    broker_.terminate();
    EXPECT_EQ(code_of([&] { client.inspect(); }), DMABROKER_DISCONNECTED);
    const auto event = client.next_event();
    ASSERT_TRUE(event);
    EXPECT_NE(event->text.find("shutting_down"), std::string::npos) << event->text;
}

TEST_F(BrokerTest, a_stopped_broker_times_out_and_serves_again_when_it_continues)
{
    Client client = Client::connect({.remote = broker_.socket(), .timeout = test::under_valgrind() ? 5000ms : 500ms});
    ::kill(broker_.pid(), SIGSTOP);
    EXPECT_EQ(code_of([&] { allocate(client); }), DMABROKER_TIMED_OUT);
    ::kill(broker_.pid(), SIGCONT);
    EXPECT_TRUE(eventually([&] { return code_of([&] { allocate(client); }) == 0; }));
    Client manager = connect(true);
    EXPECT_TRUE(eventually([&] { return manager.inspect().find("\"test\"") == std::string::npos; }))
        << "the late image was not given back";
}

TEST_F(BrokerTest, the_broker_keeps_nothing_of_a_client_that_closed)
{
    Client watcher = connect();
    allocate(watcher); // first use of what the broker opens once and keeps
    const std::size_t before = broker_.fds();
    {
        Client client = connect();
        std::vector<Image> images;
        for (int i = 0; i < 20; ++i)
            images.push_back(client.allocate({.size = {100u + unsigned(i), 9}, .format = ab24, .lease = 1ns}));
    }
    // The pool may keep their memory for a while.
    EXPECT_TRUE(eventually([&] { return broker_.fds() <= before; }, 15)) << broker_.fds() << " now, " << before << " before";
}

} // namespace
} // namespace dmb::test
