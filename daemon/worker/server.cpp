// SPDX-License-Identifier: MIT
// Blocking receive, allocate, send. The broker sends the next request only after the answer, holds the
// deadline, and kills this process when it is over; so nothing here measures time. What a driver
// answered is checked like a stranger's description before it leaves: drivers err too.
#include "daemon/worker/server.hpp"

#include "proto/base/log.hpp"
#include "proto/wire/channel.hpp"

#include <array>
#include <unistd.h>
#include <vector>

namespace dmb::worker {
namespace {

using wire::WorkerAllocate;
using wire::WorkerHello;

class Server {
public:
    Server(int socket, Driver& driver) : socket_(socket), driver_(driver), buffer_(limits::packet_bytes) {}

    Result<> greet();
    /// False: the broker closed the connection.
    Result<bool> serve_one();

private:
    template <class Message> Result<> reply(const Message&, std::uint32_t serial, std::span<const UniqueFd> fds = {});
    Result<> refuse(const Error&, std::uint32_t serial);
    Result<> answer(const WorkerAllocate&, wire::PacketFds, std::uint32_t serial);

    int socket_;
    Driver& driver_;
    std::vector<std::byte> buffer_;
};

template <class Message> Result<> Server::reply(const Message& message, std::uint32_t serial, std::span<const UniqueFd> fds)
{
    BoundedVector<int, limits::packet_fds> numbers;
    for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
    const std::size_t size = TRY(wire::encode(message, serial, buffer_));
    TRY(wire::send(socket_, std::span(buffer_).first(size), {numbers.data(), numbers.size()}, wire::Wait::yes));
    return {};
}

Result<> Server::refuse(const Error& error, std::uint32_t serial)
{
    return reply(wire::ErrorReply{error.code, error.reason, {}}, serial);
}

Result<> Server::greet()
{
    const WorkerHello& hello = driver_.hello();
    // One packet must hold it. Formats are listed per device, best devices first.
    constexpr std::size_t most_devices = 64, most_formats = 2000;
    if (hello.devices.size() <= most_devices && hello.formats.size() <= most_formats) return reply(hello, 0);
    WorkerHello part = hello;
    log::warning("{} devices and {} formats do not fit a packet; keeping {} and {}", hello.devices.size(), hello.formats.size(),
                 most_devices, most_formats);
    if (part.devices.size() > most_devices) part.devices.resize(most_devices);
    std::erase_if(part.formats, [](const FormatSupport& f) { return f.device >= most_devices; });
    if (part.formats.size() > most_formats) part.formats.resize(most_formats);
    return reply(part, 0);
}

Result<Exported> allocate(Driver& driver, const WorkerAllocate& request, wire::PacketFds fds)
{
    TRY(check_size(request.spec.size));
    if (request.device >= driver.hello().devices.size())
        return fail(Errc::invalid_argument, "device {} of {}", request.device, driver.hello().devices.size());
    std::optional<Contents> contents;
    if (request.has_contents) contents.emplace(TRY(Contents::open(std::move(fds[0]), request.spec.format, request.spec.size)));
    return driver.allocate(request.device, request.spec, contents ? &*contents : nullptr);
}

/// What every exported image must be, whatever the driver says.
Result<> check(const Exported& image)
{
    auto layout = check_layout(image.desc);
    if (!layout)
        return fail(Errc::backend_failed, "the driver described an impossible image: {}", layout.error().reason.view());
    if (image.fds.size() == image.desc.memories.size()) return {};
    return fail(Errc::backend_failed, "the driver exported {} memories for {}", image.fds.size(), image.desc.memories.size());
}

Result<> Server::answer(const WorkerAllocate& request, wire::PacketFds fds, std::uint32_t serial)
{
    Result<Exported> image = allocate(driver_, request, std::move(fds));
    if (!image) return refuse(image.error(), serial);
    if (auto good = check(*image); !good) return refuse(good.error(), serial);
    return reply(wire::WorkerImage{image->desc, image->contents_written}, serial, {image->fds.data(), image->fds.size()});
}

Result<bool> Server::serve_one()
{
    auto packet = wire::receive(socket_, buffer_, wire::Wait::yes);
    if (!packet && packet.error().code == Errc::disconnected) return false;
    if (!packet) return std::unexpected(packet.error());
    if (!*packet) return fail(Errc::internal, "the socket to the broker must be blocking");
    wire::Decoded<wire::WorkerRequest> request;
    const auto decoded = wire::decode(std::span(buffer_).first((*packet)->size), (*packet)->fds.size(), request);
    if (!decoded && decoded.error().code != Errc::unsupported) return std::unexpected(decoded.error());
    if (!decoded) TRY(refuse(decoded.error(), request.serial));
    else TRY(answer(std::get<WorkerAllocate>(request.message), std::move((*packet)->fds), request.serial));
    if (!driver_.usable()) return fail(Errc::backend_failed, "the driver lost its device; starting afresh");
    return true;
}

} // namespace

Result<> serve(int socket, Driver& driver)
{
    Server server(socket, driver);
    TRY(server.greet());
    for (bool connected = true; connected;) connected = TRY(server.serve_one());
    return {};
}

} // namespace dmb::worker
