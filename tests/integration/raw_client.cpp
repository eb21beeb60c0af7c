// SPDX-License-Identifier: MIT
// Polls before each read, so that a broker that says nothing fails a test instead of hanging it.
#include "tests/integration/raw_client.hpp"

#include "proto/image/format_table.hpp"

#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

namespace dmb::test {

UniqueFd make_memfd(std::size_t size, int seals)
{
    UniqueFd fd = UniqueFd::adopt(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) throw std::runtime_error("ftruncate");
    ::fcntl(fd.get(), F_ADD_SEALS, seals < 0 ? F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL : seals);
    return fd;
}

ImageDesc make_desc(Extent size, FourCC code)
{
    const FormatInfo& format = *find_format(code);
    ImageDesc desc;
    desc.backend = Backend::client;
    desc.size = size;
    desc.format = code;
    std::uint64_t end = 0;
    for (std::size_t i = 0; i < format.plane_count; ++i) {
        const std::uint64_t row = row_bytes(format, i, size.width);
        end = (end + 7) / 8 * 8;
        desc.planes.push_back({0, static_cast<std::uint32_t>(row), end});
        end += row * plane_extent(format, i, size).height;
    }
    desc.memories = {{end}};
    return desc;
}

wire::DefineCapabilities make_definition(const Capabilities& table, const Digest& digest)
{
    wire::DefineCapabilities message{.digest = digest, .bytes = wire::encode_capabilities(table).value()};
    message.size = static_cast<std::uint32_t>(message.bytes.size());
    return message;
}

wire::Allocate make_allocate(Extent size, FourCC format)
{
    wire::Allocate message;
    message.spec.size = size;
    message.spec.format = format;
    message.spec.usage = usage_cpu;
    message.spec.backends.add(Backend::memfd);
    return message;
}

RawClient::RawClient(const std::string& socket, Greeting greeting, std::string_view name)
{
    Result<UniqueFd> connected = wire::connect(socket);
    if (!connected) throw std::runtime_error(std::string(connected.error().reason.view()));
    socket_ = std::move(*connected);
    if (greeting == Greeting::no) return;
    wire::Hello hello;
    hello.name = name;
    get<wire::HelloReply>(hello);
}

bool RawClient::say_on(int socket, std::span<const std::byte> bytes, const Fds& fds, bool wait)
{
    std::vector<std::byte> control(fds.empty() ? 0 : CMSG_SPACE(fds.size() * sizeof(int)));
    iovec data{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    if (!fds.empty()) {
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        cmsghdr* c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
        std::memcpy(CMSG_DATA(c), fds.data(), fds.size() * sizeof(int));
    }
    return ::sendmsg(socket, &header, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT)) >= 0;
}

int RawClient::channel()
{
    if (channel_) return channel_.get();
    for (int tries = 0; tries < 1000; ++tries) { // a user who opens very many at once hears "try again"
        std::optional<Answer> answer = ask(wire::OpenChannel{});
        if (answer && std::holds_alternative<wire::ChannelReply>(answer->message)) channel_ = std::move(answer->fds[0]);
        const auto* refusal = answer ? std::get_if<wire::ErrorReply>(&answer->message) : nullptr;
        if (!refusal || refusal->code != Errc::quota_exceeded) break;
        ::usleep(1000);
    }
    return channel_.get();
}

Errc RawClient::next_channel_loss()
{
    while (const std::optional<Answer> answer = hear()) {
        const auto* lost = std::get_if<wire::ChannelLost>(&answer->message);
        if (!lost) continue;
        channel_.reset();
        return lost->code;
    }
    return Errc{};
}

std::optional<RawClient::Answer> RawClient::hear(double seconds)
{
    pollfd poll{socket_.get(), POLLIN, 0};
    if (ended_ || ::poll(&poll, 1, static_cast<int>(seconds * 1000)) <= 0) return std::nullopt;
    Result<std::optional<wire::Packet>> packet = wire::receive(socket_.get(), buffer_, wire::Wait::no);
    if (!packet || !*packet) {
        ended_ = !packet;
        return std::nullopt;
    }
    wire::Decoded<wire::Reply> out;
    const Result<> decoded = wire::decode(std::span(buffer_).first((*packet)->size), (*packet)->fds.size(), out);
    if (!decoded) {
        ADD_FAILURE() << "the broker sent " << decoded.error().reason.view();
        return std::nullopt;
    }
    if (const auto* bye = std::get_if<wire::Goodbye>(&out.message)) goodbye = bye->code;
    return Answer{out.serial, std::move(out.message), std::move((*packet)->fds)};
}

std::optional<RawClient::Answer> RawClient::hear_serial(std::uint64_t serial)
{
    while (std::optional<Answer> answer = hear())
        if (answer->serial == serial) return answer;
    return std::nullopt;
}

void RawClient::report(const std::optional<Answer>& answer)
{
    if (!answer) ADD_FAILURE() << "no answer";
    else if (const auto* error = std::get_if<wire::ErrorReply>(&answer->message))
        ADD_FAILURE() << name(error->code) << ": " << error->reason.view();
    else ADD_FAILURE() << "another answer than expected: alternative " << answer->message.index();
}

Snapshot RawClient::snapshot()
{
    const auto reply = get<wire::SnapshotReply>(wire::Inspect{});
    std::vector<std::byte> bytes(reply.size);
    if (last_fds.empty() || ::pread(last_fds[0].get(), bytes.data(), bytes.size(), 0) < 0) return {};
    last_fds.clear();
    // By the answer to another request the broker has closed its descriptor of this snapshot.
    EXPECT_EQ(error(wire::Inspect{ImageId{UINT64_MAX}}), Errc::not_found);
    return wire::decode_snapshot(bytes).value_or(Snapshot{});
}

bool RawClient::ends(double seconds)
{
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (!ended_ && std::chrono::steady_clock::now() < end) (void)hear(0.1);
    return ended_;
}

} // namespace dmb::test
