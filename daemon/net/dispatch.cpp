// SPDX-License-Identifier: MIT
// The half of Server that has one function per request: from the message to the broker and from its answer to a reply.
// Rules are the broker's; here is only what belongs to the connection (hello, what is being served, which descriptors
// go along). A handler answers before it returns (a release: not at all) or gives the broker a callback, which looks
// the session up again because it may have ended.
#include "daemon/net/server.hpp"

#include "daemon/alloc/memfd.hpp"
#include "daemon/net/clock.hpp"
#include "daemon/net/receivers.hpp"
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
    wire::HelloReply reply{
        .features = hello.features & wire::known_features, .manager = session.manager, .server = server_name};
    if (!take_over(session, hello, reply)) return;
    reply.client = session.id;
    silent_.erase(session.id);
    session.state = Session::State::ready;
    sent(session, send(session, serial, reply));
}

/// Makes it the client that the hello names, or a new one. False: it is neither, and has heard why.
bool Server::take_over(Session& session, const wire::Hello& hello, wire::HelloReply& reply)
{
    const bool wants_key = wire::has(reply.features, wire::Feature::resume);
    const auto taken = [&]() -> Result<> {
        if (!wants_key || hello.resume == ResumeKey{}) {
            TRY(broker_->connect(session.id, session.peer, session.manager, hello.name));
            if (wants_key) reply.resume = TRY(broker_->make_resume_key(session.id));
            return {};
        }
        const Resumed resumed = TRY(broker_->resume(hello.resume, session.peer, session.manager));
        reply.resume = resumed.key;
        reply.resumed = true;
        reply.last_serial = broker_->state().at(resumed.client).last_serial;
        rename(session, resumed.client);
        return {};
    }();
    if (!taken) goodbye(session, taken.error());
    return taken.has_value();
}

void Server::rename(Session& session, ClientId id)
{
    silent_.erase(session.id);
    auto entry = sessions_.extract(session.id);
    session.id = entry.key() = id;
    sessions_.insert(std::move(entry));
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Allocate& request, wire::PacketFds& fds)
{
    if (!begin(session, serial)) return;
    UniqueFd contents = fds.empty() ? UniqueFd() : std::move(fds[0]);
    broker_->allocate({session.id, serial}, request, std::move(contents), now(),
                      [this, id = session.id, serial](const OperationAnswer& answer) { allocated(id, serial, answer); });
}

void Server::allocated(ClientId id, std::uint64_t serial, const OperationAnswer& result)
{
    Session* session = finish(id, serial);
    if (!session) return;
    if (result.held) answer(*session, serial, *result.held, true);
    else refuse(*session, serial, result.held.error(), result.request);
}

/// False: it has been refused.
bool Server::begin(Session& session, std::uint64_t serial)
{
    if (!session.pending.full()) {
        session.pending.push_back(serial);
        return true;
    }
    const std::string reason =
        fmt::format("{} requests of this connection are being served; wait for one of them", session.pending.size());
    note(session, serial, {.kind = AnswerKind::error, .code = Errc::too_many_requests, .reason = reason});
    send_error(session, serial, {Errc::too_many_requests, std::string_view(reason)});
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
    answer_once(session, serial, broker_->open(session.id, request.token, request.rights, request.usage, now()), true);
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Register& request, wire::PacketFds& fds)
{
    ImageFds memories;
    for (UniqueFd& fd : fds) memories.push_back(std::move(fd));
    const Order order{request.label, request.lease_ns, now()};
    answer_once(session, serial, broker_->register_image(session.id, request.desc, std::move(memories), order), false);
}

void Server::handle(Session& session, std::uint64_t serial, const wire::MintToken& request, wire::PacketFds&)
{
    const TokenTerms terms{request.rights, request.one_shot, request.enforced, request.lifetime_ns};
    const Result<Token> token = broker_->mint(session.id, request.handle, terms, now());
    if (!token) return refuse_once(session, serial, token.error());
    note(session, serial, {.kind = AnswerKind::token, .token = *token, .rights = request.rights, .reason = {}});
    sent(session, send(session, serial, wire::TokenReply{*token, request.rights}));
}

void Server::handle(Session& session, std::uint64_t serial, const wire::RevokeToken& request, wire::PacketFds&)
{
    answer_once(session, serial, broker_->revoke(session.id, request.token));
}

void Server::handle(Session& session, std::uint64_t serial, const wire::RevokeImage& request, wire::PacketFds&)
{
    answer_once(session, serial, broker_->revoke(session.id, request.image, now()));
}

void Server::handle(Session& session, std::uint64_t serial, const wire::SetLease& request, wire::PacketFds&)
{
    answer_once(session, serial, broker_->set_lease(session.id, request.handle, request.lease_ns, now()));
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
    sent_own(session, serial, send(session, serial, wire::SnapshotReply{size}, {&fd, 1}));
}

void Server::handle(Session& session, std::uint64_t serial, const wire::FindCapabilities& request, wire::PacketFds&)
{
    const Result<bool> known = broker_->deciding().find_table(session.id, request.digest);
    if (known) sent(session, send(session, serial, wire::CapabilitiesReply{*known}));
    else refuse(session, serial, known.error());
}

void Server::handle(Session& session, std::uint64_t serial, const wire::DefineCapabilities& request, wire::PacketFds&)
{
    const auto known = [&]() -> Result<bool> {
        const auto whole =
            TRY(broker_->deciding().define_table(session.id, {request.digest, request.size, request.offset, request.bytes}));
        if (!whole) return false;
        const Digest digest = wire::digest_of(*whole);
        if (digest != request.digest)
            return fail(Errc::invalid_argument, "the table's digest is {}, not what the client says", to_string(digest));
        Capabilities table = TRY(wire::decode_capabilities(*whole));
        TRY(broker_->deciding().keep_table(session.id, digest, std::move(table)));
        return true;
    }();
    if (known) sent(session, send(session, serial, wire::CapabilitiesReply{*known}));
    else refuse(session, serial, known.error());
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Join& request, wire::PacketFds&)
{
    if (!begin(session, serial)) return;
    broker_->join({session.id, serial}, request.token, request.rights, request.participant, now(),
                  [this, id = session.id, serial](const OperationAnswer& answer) { allocated(id, serial, answer); });
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Move& request, wire::PacketFds&)
{
    answer_once(session, serial, broker_->move(session.id, request.handle, now()), true);
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Refresh& request, wire::PacketFds&)
{
    if (!begin(session, serial)) return;
    broker_->refresh({session.id, serial}, request.handle, now(), [this, id = session.id, serial](const OperationAnswer& done) {
        Session* asking = finish(id, serial);
        if (!asking) return;
        if (done.held) sent(*asking, send(*asking, serial, wire::Refreshed{done.cost_ns}));
        else refuse(*asking, serial, done.held.error());
    });
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Why& request, wire::PacketFds&)
{
    Result<Decision> decision = broker_->deciding().why(session.id, request.request, request.image, now());
    if (decision) sent(session, send(session, serial, wire::WhyReply{std::move(*decision)}));
    else refuse(session, serial, decision.error());
}

void Server::handle(Session& session, std::uint64_t serial, const wire::ManageProofs& request, wire::PacketFds&)
{
    if (!begin(session, serial)) return;
    broker_->manage_proofs({session.id, serial}, request.action, now(),
                           [this, id = session.id, serial](const OperationAnswer& done) {
                               Session* asking = finish(id, serial);
                               if (!asking) return;
                               if (done.held) sent(*asking, send(*asking, serial, wire::Done{}));
                               else refuse(*asking, serial, done.held.error());
                           });
}

void Server::handle(Session& session, std::uint64_t serial, const wire::Cancel& request, wire::PacketFds&)
{
    answer_once(session, serial, broker_->cancel(session.id, request.request));
}

void Server::handle(Session& session, std::uint64_t serial, const wire::OpenChannel&, wire::PacketFds&)
{
    if (session.channel_hangs)
        return refuse(session, serial,
                      {Errc::denied, "descriptors that this client sent cannot be closed; it gets no other channel"});
    Result<ChannelEnds> channel = receivers_->open(session.user, session.id, now());
    if (!channel) return refuse(session, serial, channel.error());
    session.channel_life = std::move(channel->life);
    const int fd = channel->client_end.get();
    sent_own(session, serial, send(session, serial, wire::ChannelReply{}, {&fd, 1}));
}

} // namespace dmb
