// SPDX-License-Identifier: MIT
// One thread per fake, joined before the test ends, so that the fixture's count of descriptors is right.
#include "tests/libclient/fake_broker.hpp"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace dmb::test {

/// The socket that has one. A client that leaves closes both, and may have said something on the ordinary one before.
int Peer::wait_for_packet() const
{
    pollfd waiting[] = {{socket_.get(), POLLIN, 0}, {channel_.get(), POLLIN, 0}};
    ::poll(waiting, std::size(waiting), -1);
    return waiting[0].revents ? socket_.get() : channel_.get();
}

void Peer::open_channel()
{
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("socketpair");
    channel_ = UniqueFd::adopt(ends[0]);
    const UniqueFd theirs = UniqueFd::adopt(ends[1]);
    const int fd = theirs.get();
    reply(wire::ChannelReply{}, {&fd, 1});
}

wire::Decoded<wire::Request> Peer::next()
{
    std::array<std::byte, limits::packet_bytes> buffer;
    auto packet = wire::receive(wait_for_packet(), buffer, wire::Wait::yes);
    if (!packet || !*packet) throw std::runtime_error("the client is gone");
    fds_ = std::move((*packet)->fds);
    wire::Decoded<wire::Request> request;
    const auto decoded = wire::decode(std::span(buffer).first((*packet)->size), fds_.size(), request);
    if (!decoded) throw std::runtime_error(std::string(decoded.error().reason.view()));
    if (!std::holds_alternative<wire::OpenChannel>(request.message)) return request;
    serial_ = request.serial;
    open_channel();
    return next();
}

void Peer::send_bytes(std::span<const std::byte> packet, std::span<const int> with)
{
    if (!wire::send(socket_.get(), packet, with, wire::Wait::yes)) throw std::runtime_error("the client is gone");
}

void Peer::greet(bool manager)
{
    expect<wire::Hello>();
    reply(wire::HelloReply{.client = ClientId{7}, .manager = manager, .server = "fake"});
}

ResumeKey Peer::greet_with_key(std::uint8_t key, bool resumed, std::uint64_t last_serial)
{
    const ResumeKey shown = expect<wire::Hello>().resume;
    wire::HelloReply hello{.features = wire::known_features, .client = ClientId{7}, .server = "fake"};
    hello.resume.fill(key);
    hello.resumed = resumed;
    hello.last_serial = last_serial;
    reply(hello);
    return shown;
}

bool Peer::wait_for_end()
{
    std::array<std::byte, limits::packet_bytes> buffer;
    return !wire::receive(socket_.get(), buffer, wire::Wait::yes);
}

FakeBroker::FakeBroker(std::vector<Script> scripts)
{
    std::string pattern = (std::filesystem::temp_directory_path() / "dmabroker-fake-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ + "/broker";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    listener_ = UniqueFd::adopt(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.get(), 8) != 0)
        throw std::runtime_error("cannot listen on " + path_);
    thread_ = std::thread([this, scripts = std::move(scripts)] {
        for (const Script& script : scripts)
            if (!serve(script)) return;
    });
}

/// False: nobody connected before the end.
bool FakeBroker::serve(const Script& script)
{
    const int socket = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) return false;
    Peer peer(UniqueFd::adopt(socket));
    try {
        script(peer);
    } catch (const std::exception& e) {
        ADD_FAILURE() << "fake broker: " << e.what();
    }
    return true;
}

void FakeBroker::join()
{
    if (thread_.joinable()) thread_.join();
}

FakeBroker::~FakeBroker()
{
    ::shutdown(listener_.get(), SHUT_RDWR);
    join();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

UniqueFd sealed_memfd(std::size_t size, int seals)
{
    UniqueFd fd = UniqueFd::adopt(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals >= 0 ? seals : F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    return fd;
}

ImageDesc linear_desc(Extent size, FourCC format, MemoryKind kind)
{
    ImageDesc desc = linear_layout(size, format).value();
    desc.kind = kind;
    return desc;
}

wire::ImageReply image_reply(const ImageDesc& desc, std::uint32_t handle)
{
    wire::ImageReply reply;
    reply.handle = HandleId{handle};
    reply.image = ImageId{40 + handle};
    reply.rights = dmb::Rights::all();
    reply.desc = desc;
    return reply;
}

} // namespace dmb::test
