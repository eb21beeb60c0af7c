// SPDX-License-Identifier: MIT
// One function per request: from the message to the broker and from its answer to a reply. Rules are the
// broker's; here is only what belongs to the connection (hello, what is being served, which descriptors go along).
#include "daemon/net/server.hpp"

#include "daemon/alloc/memfd.hpp"
#include "daemon/net/clock.hpp"
#include "proto/wire/digest.hpp"

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

void Server::handle(Session& session, std::uint64_t serial, const wire::Hello& hello, wire::PacketFds&)
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

void Server::handle(Session& session, std::uint64_t serial, const wire::Allocate& request, wire::PacketFds& fds)
{
    if (!begin(session, serial)) return;
    UniqueFd contents = fds.empty() ? UniqueFd() : std::move(fds[0]);
    broker_->allocate(session.id, request, std::move(contents), now(),
                      [this, id = session.id, serial](const AllocationAnswer& answer) { allocated(id, serial, answer); });
}

void Server::allocated(ClientId id, std::uint64_t serial, const AllocationAnswer& result)
{
    Session* session = finish(id, serial);
    if (!session) return;
    if (result.held) answer(*session, serial, *result.held, result.candidates, true);
    else refuse(*session, serial, result.held.error(), result.candidates, result.request);
}

/// False: it has been refused.
bool Server::begin(Session& session, std::uint64_t serial)
{
    if (!session.pending.full()) {
        session.pending.push_back(serial);
        return true;
    }
    sent(session, send(session, serial,
                       wire::ErrorReply{.code = Errc::too_many_requests,
                                        .reason = std::string_view(
                                            fmt::format("{} requests of this connection are being served; wait for one of them",
                                                        session.pending.size())),
                                        .request = {},
                                        .candidates = {}}));
    return false;
}

/// Null: nobody waits for it any more.
Session* Server::finish(ClientId id, std::uint64_t serial)
{
    Session* session = find(id);
    if (!session) return nullptr;
    auto& pending = session->pending;
    *std::ranges::find(pending, serial) = pending[pending.size() - 1];
    pending.resize(pending.size() - 1);
    return session;
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Open& request, wire::PacketFds&)
{
    const Result<Held> held = broker_->open(session.id, request, now());
    if (held) answer(session, serial, *held, {}, true);
    else refuse(session, serial, held.error());
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Register& request, wire::PacketFds& fds)
{
    ImageFds memories;
    for (UniqueFd& fd : fds) memories.push_back(std::move(fd));
    const Result<Held> held = broker_->register_image(session.id, request, std::move(memories), now());
    if (held) answer(session, serial, *held, {}, false);
    else refuse(session, serial, held.error());
}

void Server::handle(Session& session, std::uint64_t serial, const wire::MintToken& request, wire::PacketFds&)
{
    const Result<wire::TokenReply> reply = broker_->mint(session.id, request, now());
    if (reply) sent(session, send(session, serial, *reply));
    else refuse(session, serial, reply.error());
}

void Server::handle(Session& session, std::uint64_t serial, const wire::RevokeToken& request, wire::PacketFds&)
{
    answer(session, serial, broker_->revoke(session.id, request, now()));
}

void Server::handle(Session& session, std::uint64_t serial, const wire::RevokeImage& request, wire::PacketFds&)
{
    answer(session, serial, broker_->revoke(session.id, request, now()));
}

void Server::handle(Session& session, std::uint64_t serial, const wire::SetLease& request, wire::PacketFds&)
{
    answer(session, serial, broker_->set_lease(session.id, request, now()));
}

void Server::handle(Session& session, std::uint64_t, const wire::Release& request, wire::PacketFds&)
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

void Server::handle(Session& session, std::uint64_t serial, const wire::Inspect& request, wire::PacketFds&)
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

void Server::handle(Session& session, std::uint64_t serial, const wire::FindCapabilities& request, wire::PacketFds&)
{
    const Result<bool> known = broker_->find_table(session.id, request);
    if (known) sent(session, send(session, serial, wire::CapabilitiesReply{*known}));
    else refuse(session, serial, known.error());
}

void Server::handle(Session& session, std::uint64_t serial, const wire::DefineCapabilities& request, wire::PacketFds&)
{
    const auto known = [&]() -> Result<bool> {
        const auto whole = TRY(broker_->define_table(session.id, request));
        if (!whole) return false;
        const Digest digest = wire::digest_of(*whole);
        if (digest != request.digest)
            return fail(Errc::invalid_argument, "the table's digest is {}, not what the client says", to_string(digest));
        TRY(broker_->keep_table(session.id, digest, TRY(wire::decode_capabilities(*whole))));
        return true;
    }();
    if (known) sent(session, send(session, serial, wire::CapabilitiesReply{*known}));
    else refuse(session, serial, known.error());
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Join& request, wire::PacketFds&)
{
    if (!begin(session, serial)) return;
    broker_->join(session.id, request, now(),
                  [this, id = session.id, serial](const AllocationAnswer& answer) { allocated(id, serial, answer); });
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Move& request, wire::PacketFds&)
{
    const Result<Held> held = broker_->move(session.id, request, now());
    if (held) answer(session, serial, *held, {}, true);
    else refuse(session, serial, held.error());
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Refresh& request, wire::PacketFds&)
{
    if (!begin(session, serial)) return;
    broker_->refresh(session.id, request, now(), [this, id = session.id, serial](const Result<std::uint64_t>& cost) {
        Session* asking = finish(id, serial);
        if (!asking) return;
        if (cost) sent(*asking, send(*asking, serial, wire::Refreshed{*cost}));
        else refuse(*asking, serial, cost.error());
    });
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Why& request, wire::PacketFds&)
{
    Result<Decision> decision = broker_->why(session.id, request, now());
    if (decision) sent(session, send(session, serial, wire::WhyReply{std::move(*decision)}));
    else refuse(session, serial, decision.error());
}

void Server::handle(Session& session, std::uint64_t serial, const wire::ManageProofs& request, wire::PacketFds&)
{
    answer(session, serial, broker_->manage_proofs(session.id, request, now()));
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Cancel&, wire::PacketFds&)
{
    refuse(session, serial, {Errc::unsupported, "not yet"});
}

void Server::handle(Session& session, std::uint64_t serial, const wire::OpenChannel&, wire::PacketFds&)
{
    refuse(session, serial, {Errc::unsupported, "not yet"});
}

} // namespace dmb
