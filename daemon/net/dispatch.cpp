// SPDX-License-Identifier: MIT
// One function per request: from the message to the broker and from its answer to a reply. Rules are the
// broker's; here is only what belongs to the connection (hello, who waits, which descriptors go along).
#include "daemon/net/server.hpp"

#include "daemon/alloc/memfd.hpp"
#include "daemon/net/clock.hpp"

#include <algorithm>
#include <filesystem>
#include <unistd.h>

namespace dmb {
namespace {

std::uint32_t count_own_descriptors()
{
    std::uint32_t count = 0;
    std::error_code error;
    for (auto it = std::filesystem::directory_iterator("/proc/self/fd", error);
         !error && it != std::filesystem::directory_iterator(); it.increment(error))
        ++count;
    return count > 0 ? count - 1 : 0; // without the one that counting needs
}

} // namespace

void Server::handle(Session& session, std::uint32_t serial, const wire::Hello& hello, wire::PacketFds&)
{
    if (hello.magic != wire::magic) return violation(session, {Errc::protocol_violation, "this is not the dmabroker protocol"});
    if (hello.oldest_version > wire::version || hello.newest_version < wire::version)
        return goodbye(session,
                       {Errc::unsupported_version,
                        BoundedText<240>(fmt::format("this broker speaks version {}, the client {} to {}; update the older one",
                                                     wire::version, hello.oldest_version, hello.newest_version))});
    if (const auto connected = broker_->connect(session.id, session.peer, session.manager, hello.name); !connected)
        return goodbye(session, connected.error());
    silent_.erase(session.id);
    session.state = Session::State::ready;
    wire::HelloReply reply{.client = session.id, .manager = session.manager, .server = server_name};
    sent(session, send(session, serial, reply));
}

void Server::handle(Session& session, std::uint32_t serial, const wire::Allocate& request, wire::PacketFds& fds)
{
    UniqueFd contents = fds.empty() ? UniqueFd() : std::move(fds[0]);
    session.state = Session::State::waiting;
    broker_->allocate(session.id, request, std::move(contents), now(),
                      [this, id = session.id, serial](const AllocationAnswer& answer) { allocated(id, serial, answer); });
}

void Server::allocated(ClientId id, std::uint32_t serial, const AllocationAnswer& result)
{
    Session* session = find(id);
    if (!session) return;
    session->state = Session::State::ready;
    if (result.held) answer(*session, serial, *result.held, result.candidates, true);
    else refuse(*session, serial, result.held.error(), result.candidates);
    if (!session->reading && session->state == Session::State::ready) wait(*session);
}

void Server::handle(Session& session, std::uint32_t serial, const wire::Open& request, wire::PacketFds&)
{
    const Result<Held> held = broker_->open(session.id, request, now());
    if (held) answer(session, serial, *held, {}, true);
    else refuse(session, serial, held.error());
}

void Server::handle(Session& session, std::uint32_t serial, const wire::Register& request, wire::PacketFds& fds)
{
    ImageFds memories;
    for (UniqueFd& fd : fds) memories.push_back(std::move(fd));
    const Result<Held> held = broker_->register_image(session.id, request, std::move(memories), now());
    if (held) answer(session, serial, *held, {}, false);
    else refuse(session, serial, held.error());
}

void Server::handle(Session& session, std::uint32_t serial, const wire::MintToken& request, wire::PacketFds&)
{
    const Result<wire::TokenReply> reply = broker_->mint(session.id, request, now());
    if (reply) sent(session, send(session, serial, *reply));
    else refuse(session, serial, reply.error());
}

void Server::handle(Session& session, std::uint32_t serial, const wire::RevokeToken& request, wire::PacketFds&)
{
    answer(session, serial, broker_->revoke(session.id, request, now()));
}

void Server::handle(Session& session, std::uint32_t serial, const wire::RevokeImage& request, wire::PacketFds&)
{
    answer(session, serial, broker_->revoke(session.id, request, now()));
}

void Server::handle(Session& session, std::uint32_t serial, const wire::SetLease& request, wire::PacketFds&)
{
    answer(session, serial, broker_->set_lease(session.id, request, now()));
}

void Server::handle(Session& session, std::uint32_t, const wire::Release& request, wire::PacketFds&)
{
    if (const auto released = broker_->release(session.id, request.handle, now()); !released)
        violation(session, released.error());
}

Result<Snapshot> Server::snapshot(ClientId id, ImageId image) const
{
    const Instant at = now();
    Snapshot out = TRY(broker_->inspect(id, image, at));
    out.server = server_name;
    out.pid = static_cast<std::uint32_t>(::getpid());
    out.uptime_ns = time_left(started_, at);
    out.open_fds = count_own_descriptors();
    return out;
}

void Server::handle(Session& session, std::uint32_t serial, const wire::Inspect& request, wire::PacketFds&)
{
    std::size_t size = 0;
    const auto memory = [&]() -> Result<UniqueFd> {
        const Snapshot state = TRY(snapshot(session.id, request.image));
        const auto bytes = TRY(wire::encode_snapshot(state));
        size = bytes.size();
        return sealed_copy("dmabroker-snapshot", bytes);
    }();
    if (!memory) return refuse(session, serial, memory.error());
    const int fd = memory->get();
    sent(session, send(session, serial, wire::SnapshotReply{size}, {&fd, 1}));
}

void Server::handle(Session& session, std::uint32_t serial, const wire::FindCapabilities&, wire::PacketFds&)
{
    refuse(session, serial, {Errc::unsupported, "not yet"});
}

void Server::handle(Session& session, std::uint32_t serial, const wire::DefineCapabilities&, wire::PacketFds&)
{
    refuse(session, serial, {Errc::unsupported, "not yet"});
}

void Server::handle(Session& session, std::uint32_t serial, const wire::Join&, wire::PacketFds&)
{
    refuse(session, serial, {Errc::unsupported, "not yet"});
}

void Server::handle(Session& session, std::uint32_t serial, const wire::Move&, wire::PacketFds&)
{
    refuse(session, serial, {Errc::unsupported, "not yet"});
}

void Server::handle(Session& session, std::uint32_t serial, const wire::Refresh&, wire::PacketFds&)
{
    refuse(session, serial, {Errc::unsupported, "not yet"});
}

void Server::handle(Session& session, std::uint32_t serial, const wire::Why&, wire::PacketFds&)
{
    refuse(session, serial, {Errc::unsupported, "not yet"});
}

void Server::handle(Session& session, std::uint32_t serial, const wire::ManageProofs&, wire::PacketFds&)
{
    refuse(session, serial, {Errc::unsupported, "not yet"});
}

} // namespace dmb
