// SPDX-License-Identifier: MIT
// Blocking receive, one piece of work, send. The broker sends the next request only after the answer, holds the
// deadline, and kills this process when it is over; so nothing here measures time but what work cost. What a
// driver answered is checked like a stranger's description before it leaves: drivers err too. What came in
// may have been a client's: descriptors are identified before any driver meets them.
#include "daemon/worker/server.hpp"

#include "daemon/worker/pixel_memory.hpp"
#include "proto/base/log.hpp"
#include "proto/wire/channel.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <unistd.h>
#include <vector>

namespace dmb::worker {
namespace {

using wire::PacketFds;
using wire::WorkerAllocate;
using wire::WorkerHello;

class Server {
public:
    Server(int socket, Driver& driver) : socket_(socket), driver_(driver), buffer_(limits::packet_bytes) {}

    Result<> greet();
    /// False: the broker closed the connection.
    Result<bool> serve_one();

private:
    template <class Message> Result<> reply(const Message&, std::uint64_t serial, std::span<const UniqueFd> fds = {});
    Result<> refuse(const Error&, std::uint64_t serial);
    Result<> answer(const WorkerAllocate&, PacketFds, std::uint64_t serial);
    Result<> answer(const wire::WorkerProve&, PacketFds, std::uint64_t serial);
    Result<> answer(const wire::WorkerRead&, PacketFds, std::uint64_t serial);
    Result<> answer(const wire::WorkerWrite&, PacketFds, std::uint64_t serial);
    Result<> answer(const wire::WorkerBlit&, PacketFds, std::uint64_t serial);
    Result<> answer_cost(const Result<std::uint64_t>& cost_ns, std::uint64_t serial);

    int socket_;
    Driver& driver_;
    std::vector<std::byte> buffer_;
};

template <class Message> Result<> Server::reply(const Message& message, std::uint64_t serial, std::span<const UniqueFd> fds)
{
    BoundedVector<int, limits::packet_fds> numbers;
    for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
    const std::size_t size = TRY(wire::encode(message, serial, buffer_));
    TRY(wire::send(socket_, std::span(buffer_).first(size), {numbers.data(), numbers.size()}, wire::Wait::yes));
    return {};
}

Result<> Server::refuse(const Error& error, std::uint64_t serial)
{
    return reply(wire::ErrorReply{error.code, error.reason, {}}, serial);
}

/// One packet must hold it. Real GPUs keep their layouts first, and each device its best.
WorkerHello hello_of(std::span<const Exports> all)
{
    constexpr std::size_t most_devices = 64, device_bytes = 600, row_bytes = 32; // the longest, encoded
    WorkerHello out{{all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), most_devices))}};
    std::size_t left = (limits::packet_bytes - wire::header_bytes - out.exports.size() * device_bytes) / row_bytes;
    std::size_t dropped = 0;
    for (const bool software : {false, true})
        for (Exports& exports : out.exports) {
            if (exports.exporter.software != software) continue;
            const std::size_t kept = std::min(left, exports.rows.size());
            dropped += exports.rows.size() - kept;
            exports.rows.resize(kept);
            left -= kept;
        }
    if (dropped > 0 || out.exports.size() < all.size())
        log::warning("{} devices do not fit a packet; keeping {}, without {} layouts", all.size(), out.exports.size(), dropped);
    return out;
}

Result<> Server::greet() { return reply(hello_of(driver_.exports()), 0); }

Result<Exported> allocate(Driver& driver, const WorkerAllocate& request, PacketFds fds)
{
    TRY(check_size(request.spec.size, request.spec.format));
    if (const std::size_t count = driver.exports().size(); count > 0 && request.device >= count)
        return fail(Errc::invalid_argument, "device {} of {}", request.device, count);
    std::optional<Contents> contents;
    if (request.has_contents) contents.emplace(TRY(Contents::open(std::move(fds[0]), request.spec.format, request.spec.size)));
    return driver.allocate(request.device, request.spec, request.rules, contents ? &*contents : nullptr);
}

/// What every exported image must be, whatever the driver says.
Result<> check(const Exported& image, const LayoutRules& rules)
{
    auto layout = check_layout(image.desc);
    if (!layout)
        return fail(Errc::backend_failed, "the driver described an impossible image: {}", layout.error().reason.view());
    if (const auto broken = broken_rule(rules, image.desc); !broken.empty())
        return fail(Errc::backend_failed, "the driver's layout breaks a rule of a participant: {}", broken.view());
    if (image.fds.size() == image.desc.memories.size()) return {};
    return fail(Errc::backend_failed, "the driver exported {} memories for {}", image.fds.size(), image.desc.memories.size());
}

/// Opaque memory can be told from nothing else; only its driver will notice.
Result<Image> checked(const ImageDesc& desc, ImageFds fds)
{
    if (desc.kind == MemoryKind::opaque) return Image::adopt(desc, std::move(fds));
    return Image::validate(desc, std::move(fds));
}

std::uint64_t now_ns()
{
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

/// What it took, the driver's waiting for its GPU included.
template <class Work> Result<std::uint64_t> timed(Work work)
{
    const std::uint64_t begin = now_ns();
    TRY(work());
    return now_ns() - begin;
}

Result<> Server::answer(const WorkerAllocate& request, PacketFds fds, std::uint64_t serial)
{
    Result<Exported> image = allocate(driver_, request, std::move(fds));
    if (!image) return refuse(image.error(), serial);
    if (auto good = check(*image, request.rules); !good) return refuse(good.error(), serial);
    return reply(wire::WorkerImage{image->desc, image->contents_written}, serial, {image->fds.data(), image->fds.size()});
}

Result<> Server::answer(const wire::WorkerProve& request, PacketFds fds, std::uint64_t serial)
{
    Result<Image> image = checked(request.desc, wire::take_image_fds(fds, 0, fds.size()));
    if (!image) return refuse(image.error(), serial);
    const Proven proven = driver_.prove(request.api, request.device, request.usage, std::move(*image));
    return reply(wire::WorkerProof{proven.result, proven.reason}, serial);
}

struct Pixels {
    UniqueFd memfd;
    std::uint64_t cost_ns = 0;
};

Result<Pixels> read(Driver& driver, const ImageDesc& desc, PacketFds fds)
{
    Image image = TRY(checked(desc, wire::take_image_fds(fds, 0, fds.size())));
    PixelMemory memory = TRY(PixelMemory::create(desc.format, desc.size));
    const std::uint64_t cost = TRY(timed([&] { return driver.read(std::move(image), memory.bytes()); }));
    return Pixels{TRY(std::move(memory).seal()), cost};
}

Result<> Server::answer(const wire::WorkerRead& request, PacketFds fds, std::uint64_t serial)
{
    Result<Pixels> pixels = read(driver_, request.desc, std::move(fds));
    if (!pixels) return refuse(pixels.error(), serial);
    return reply(wire::WorkerPixels{pixels->cost_ns}, serial, {&pixels->memfd, 1});
}

Result<std::uint64_t> write(Driver& driver, const ImageDesc& desc, PacketFds fds)
{
    UniqueFd pixels = std::move(fds[fds.size() - 1]);
    Image image = TRY(checked(desc, wire::take_image_fds(fds, 0, fds.size() - 1)));
    const Contents contents = TRY(Contents::open(std::move(pixels), desc.format, desc.size));
    return timed([&] { return driver.write(std::move(image), contents); });
}

Result<> Server::answer(const wire::WorkerWrite& request, PacketFds fds, std::uint64_t serial)
{
    return answer_cost(write(driver_, request.desc, std::move(fds)), serial);
}

Result<std::uint64_t> blit(Driver& driver, const wire::WorkerBlit& request, PacketFds fds)
{
    if (request.source.size != request.destination.size || request.source.format != request.destination.format)
        return fail(Errc::invalid_argument, "a blit keeps size and format");
    const std::size_t first = request.source.memories.size();
    Image from = TRY(checked(request.source, wire::take_image_fds(fds, 0, first)));
    Image to = TRY(checked(request.destination, wire::take_image_fds(fds, first, fds.size() - first)));
    return timed([&] { return driver.blit(std::move(from), std::move(to)); });
}

Result<> Server::answer(const wire::WorkerBlit& request, PacketFds fds, std::uint64_t serial)
{
    return answer_cost(blit(driver_, request, std::move(fds)), serial);
}

Result<> Server::answer_cost(const Result<std::uint64_t>& cost_ns, std::uint64_t serial)
{
    if (!cost_ns) return refuse(cost_ns.error(), serial);
    return reply(wire::WorkerDone{*cost_ns}, serial);
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
    else
        TRY(std::visit([&](const auto& message) { return answer(message, std::move((*packet)->fds), request.serial); },
                       request.message));
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
