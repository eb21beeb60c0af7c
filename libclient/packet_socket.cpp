// SPDX-License-Identifier: MIT
// The broker is not trusted: descriptors are owned before a packet is judged, and a packet that cannot be
// decoded is a failure. Only an event of a kind that is not known here is passed over: a later broker may
// have more to tell than this library understands.
//
// Time limits are SO_RCVTIMEO and SO_SNDTIMEO, because a poll before every receive would cost a system
// call. Only after a packet that was not the one waited for is the rest of the time waited for with poll.
#include "libclient/packet_socket.hpp"

namespace dmb {
namespace {

std::unexpected<Error> told(const wire::Goodbye& goodbye)
{
    return fail(goodbye.code, "the broker ended the connection: {} ({})", shown(goodbye.reason), name(goodbye.code));
}

Result<wire::HelloReply> judge(const wire::Decoded<wire::Reply>& answer, std::uint64_t serial)
{
    if (answer.serial != serial) return fail(Errc::protocol_violation, "the first packet does not answer the hello");
    if (const auto* error = std::get_if<wire::ErrorReply>(&answer.message))
        return std::unexpected(Error{error->code, shown(error->reason)});
    const auto* reply = std::get_if<wire::HelloReply>(&answer.message);
    if (!reply) return fail(Errc::protocol_violation, "the answer to the hello belongs to another kind of request");
    if (reply->version == wire::version) return *reply;
    return fail(Errc::unsupported_version, "the broker speaks version {}, this library {}; use matching releases",
                reply->version, wire::version);
}

} // namespace

std::string_view shown(std::string_view text) { return is_printable(text) ? text : "(unprintable reason)"; }

Result<> PacketSocket::open(UniqueFd socket, std::uint64_t timeout_ns)
{
    socket_ = std::move(socket);
    return wire::set_timeout(socket_.get(), timeout_ns, timeout_ns);
}

Result<bool> PacketSocket::send(std::span<const std::byte> packet, std::span<const int> fds, wire::Wait wait)
{
    auto sent = wire::send(socket_.get(), packet, fds, wait);
    // Too many descriptors in flight: this packet did not go, the next one may.
    if (!sent && sent.error().code != Errc::too_many_requests) return lost(sent.error());
    return sent;
}

Result<PacketSocket::Received> PacketSocket::receive(wire::Wait wait)
{
    auto packet = wire::receive(socket_.get(), buffer_, wait);
    if (!packet) return lost(packet.error());
    if (!*packet) return Received::nothing;
    fds_ = std::move((*packet)->fds);
    auto decoded = wire::decode(std::span(buffer_).first((*packet)->size), fds_.size(), last_);
    if (!decoded && decoded.error().code == Errc::unsupported && last_.serial == 0) return Received::unknown_event;
    if (!decoded) return std::unexpected(decoded.error());
    if (const auto* goodbye = std::get_if<wire::Goodbye>(&last_.message)) return told(*goodbye);
    return Received::message;
}

/// A broker that cut us said why, and that packet may still be unread: behind one ECONNRESET, which the
/// kernel reports first when the broker left something of ours unread.
std::unexpected<Error> PacketSocket::lost(const Error& cause)
{
    for (int packets = 0, errors = 0; packets < 64 && errors < 2; ++packets) {
        auto packet = wire::receive(socket_.get(), buffer_, wire::Wait::no);
        if (!packet) ++errors;
        else if (!*packet) break;
        else if (wire::decode(std::span(buffer_).first((*packet)->size), (*packet)->fds.size(), last_))
            if (const auto* goodbye = std::get_if<wire::Goodbye>(&last_.message)) return told(*goodbye);
    }
    return std::unexpected(cause);
}

Result<wire::HelloReply> exchange_hello(PacketSocket& socket, const wire::Hello& hello, std::uint64_t serial,
                                        std::uint64_t timeout_ns)
{
    const Deadline deadline(timeout_ns);
    std::array<std::byte, 1024> packet;
    const std::size_t size = TRY(wire::encode(hello, serial, packet));
    if (!TRY(socket.send(std::span(packet).first(size), {}, wire::Wait::yes)))
        return fail(Errc::timed_out, "the broker does not read; is it stopped?");
    do {
        const auto received = TRY(socket.receive(wire::Wait::yes));
        if (received == PacketSocket::Received::nothing) break;
        if (received == PacketSocket::Received::message) return judge(socket.last(), serial);
    } while (!deadline.passed() && deadline.wait_readable(socket.fd()));
    return fail(Errc::timed_out, "no answer from the broker in {} ms; is it stopped?", timeout_ns / 1'000'000);
}

} // namespace dmb
