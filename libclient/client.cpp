// SPDX-License-Identifier: MIT
// The quick requests of one client and its events. Images do not own their client and it does not own them: both know the
// table of holds. Whoever calls has the client's turn (turn.hpp). What the broker answers is compared with what was asked,
// because callers size their loops by the request. Slow requests are in operations.cpp.
#include "libclient/client.hpp"

#include "libclient/convert.hpp"

#include <algorithm>
#include <unistd.h>

namespace dmb {
namespace {

/// Waiting to be read by the application. An image is revoked once and replaced rarely, so an honest broker
/// stays far below.
constexpr std::size_t most_image_events = 1 << 16;

Result<Snapshot> read_snapshot(int fd, std::uint64_t size)
{
    if (size > limits::snapshot_bytes) return fail(Errc::protocol_violation, "a snapshot of {} bytes", size);
    std::vector<std::byte> bytes(size);
    for (std::size_t at = 0; at < bytes.size();) {
        const ssize_t got = ::pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return fail(Errc::protocol_violation, "a snapshot shorter than announced");
        at += static_cast<std::size_t>(got);
    }
    return wire::decode_snapshot(bytes);
}

} // namespace

Result<std::unique_ptr<dmabroker_client>> Client::create(UniqueFd socket, Address address)
{
    auto client = std::make_unique<dmabroker_client>(std::move(address));
    TRY(client->connection_.open(std::move(socket)));
    return client;
}

Result<Turn> Turn::with(const dmabroker_client* client)
{
    TRY(require(client, "client"));
    return Turn(client->holds());
}

Client::~Client() { holds_->leave(); }

// ---- holds -----------------------------------------------------------------------------------------

Result<std::unique_ptr<dmabroker_image>> Client::hold(const wire::ImageReply& reply, ImageFds fds)
{
    auto image = Image::adopt(reply.desc, std::move(fds));
    if (!image) return connection_.end(image.error());
    std::unique_ptr<dmabroker_image> held;
    try {
        held.reset(new dmabroker_image{std::move(*image)});
        held->handle = reply.handle;
        if (!holds_->add(*held))
            return connection_.end(Error{Errc::protocol_violation, "the broker gave a handle that this client has already"});
    } catch (const std::bad_alloc&) {
        connection_.release(reply.handle);
        return fail(Errc::out_of_memory, "out of memory in the library");
    }
    held->rights = reply.rights;
    held->protection = reply.protection;
    held->id = reply.image;
    held->request = reply.request;
    held->source = reply.source;
    held->timeout_ns = connection_.timeout_ns();
    describe(*held);
    held->holds = holds_;
    return held;
}

// ---- requests --------------------------------------------------------------------------------------

template <class Expected, class Message> Result<Expected*> Client::ask(const Message& message)
{
    const Slot slot = TRY(connection_.start(message, {}, wire::Wait::yes));
    TRY(await(slot));
    return connection_.answer<Expected>();
}

Result<> Client::await(Slot slot)
{
    const auto answered = receive_until(slot);
    if (!answered) connection_.give_up(slot);
    return answered;
}

/// Whatever comes before the answer is dealt with.
Result<> Client::receive_until(Slot slot)
{
    const Deadline deadline(connection_.timeout_ns());
    do {
        const auto arrival = TRY(connection_.receive(wire::Wait::yes));
        if (arrival == Connection::Arrival::nothing) break;
        if (arrival == Connection::Arrival::answer && connection_.answered() == slot) return {};
        TRY(take(arrival));
    } while (connection_.wait_readable(deadline));
    return fail(Errc::timed_out, "no answer from the broker in {} ms; is it stopped, or its driver stuck?",
                connection_.timeout_ns() / 1'000'000);
}

Result<> Client::take(Connection::Arrival arrival)
{
    if (arrival == Connection::Arrival::event) return happened();
    if (arrival == Connection::Arrival::answer) finish(connection_.answered());
    return {};
}

Result<std::unique_ptr<dmabroker_image>> Client::open(const wire::Open& request)
{
    wire::ImageReply* reply = TRY(ask<wire::ImageReply>(request));
    return hold(*reply, wire::take_image_fds(connection_.fds(), *reply));
}

Result<std::unique_ptr<dmabroker_image>> Client::open_successor(const dmabroker_image& image)
{
    wire::ImageReply* reply = TRY(ask<wire::ImageReply>(wire::Move{image.handle}));
    // What is negotiated anew is everything but the size.
    if (reply->desc.size != image.image.desc().size)
        return connection_.end(Error{Errc::protocol_violation, "the broker answered with a successor of another size"});
    return hold(*reply, wire::take_image_fds(connection_.fds(), *reply));
}

Result<Token> Client::mint(const wire::MintToken& request) { return TRY(ask<wire::TokenReply>(request))->token; }

Result<> Client::revoke(const Token& token)
{
    TRY(ask<wire::Done>(wire::RevokeToken{token}));
    return {};
}

Result<> Client::revoke(ImageId id)
{
    TRY(ask<wire::Done>(wire::RevokeImage{id}));
    return {};
}

Result<> Client::set_lease(HandleId handle, std::uint64_t lease_ns)
{
    TRY(ask<wire::Done>(wire::SetLease{handle, lease_ns}));
    return {};
}

Result<Snapshot> Client::inspect(ImageId id)
{
    const wire::SnapshotReply* reply = TRY(ask<wire::SnapshotReply>(wire::Inspect{id}));
    const wire::PacketFds fds = std::move(connection_.fds());
    auto snapshot = read_snapshot(fds[0].get(), reply->size);
    if (!snapshot) return connection_.end(snapshot.error());
    return snapshot;
}

Result<Decision> Client::why(const wire::Why& request) { return std::move(TRY(ask<wire::WhyReply>(request))->decision); }

// ---- capabilities ----------------------------------------------------------------------------------

Result<> Client::state(const Capabilities& table, const Digest& digest)
{
    if (std::ranges::find(stated_, digest) != stated_.end()) return {};
    const bool known = TRY(ask<wire::CapabilitiesReply>(wire::FindCapabilities{digest}))->known;
    if (!known) TRY(define(table, digest));
    stated_.push_back(digest);
    return {};
}

Result<> Client::define(const Capabilities& table, const Digest& digest)
{
    const std::vector<std::byte> whole = TRY(wire::encode_capabilities(table));
    wire::DefineCapabilities part{.digest = digest, .size = static_cast<std::uint32_t>(whole.size()), .bytes = {}};
    bool known = false;
    for (std::span<const std::byte> left = whole; !left.empty();) {
        const auto next = left.first(std::min(left.size(), limits::table_part));
        part.bytes.assign(next.begin(), next.end());
        known = TRY(ask<wire::CapabilitiesReply>(part))->known;
        left = left.subspan(next.size());
        part.offset += static_cast<std::uint32_t>(next.size());
    }
    if (!known) return connection_.end(Error{Errc::protocol_violation, "the broker took a table and does not know it"});
    return {};
}

// ---- what happened ---------------------------------------------------------------------------------

Result<> Client::dispatch()
{
    if (connection_.ended()) return std::unexpected(connection_.reason());
    // What still does not fit goes later.
    if (const auto flushed = connection_.flush(wire::Wait::no); !flushed && connection_.ended()) return flushed;
    // Bounded: a broker that never stops sending must not keep the caller here.
    for (int packets = 0; packets < 256; ++packets) {
        const auto arrival = TRY(connection_.receive(wire::Wait::no));
        if (arrival == Connection::Arrival::nothing) break;
        TRY(take(arrival));
    }
    return {};
}

/// Events of images that were closed are dropped here; those of images that are closed before the event is
/// read, in tell(). Handles are never used twice.
Result<> Client::happened()
{
    if (const auto* revoked = std::get_if<wire::ImageRevoked>(&connection_.last())) {
        bool first = false;
        holds_->with(revoked->handle, [&](dmabroker_image& image) { first = !std::exchange(image.revoked, true); });
        if (!first) return {};
        queue(*revoked);
    } else if (const auto* replaced = std::get_if<wire::ImageReplaced>(&connection_.last())) {
        if (holds_->with(replaced->handle, [](const dmabroker_image&) {})) queue(*replaced);
    } else {
        return connection_.end(Error{Errc::protocol_violation, "an answer without the request's serial"});
    }
    if (image_events_ < most_image_events) return {};
    return connection_.end(Error{Errc::protocol_violation, "more events than images can be held"});
}

void Client::queue(Event event)
{
    events_.push_back(std::move(event));
    ++image_events_;
    connection_.readiness().ring();
}

bool Client::tell(const wire::ImageRevoked& revoked, dmabroker_event& event)
{
    --image_events_;
    event.type = DMABROKER_EVENT_IMAGE_REVOKED;
    set_text(event.text, "the image was revoked: nobody new can open it");
    return tell_of(revoked.handle, event);
}

bool Client::tell(const wire::ImageReplaced& replaced, dmabroker_event& event)
{
    --image_events_;
    event.type = DMABROKER_EVENT_IMAGE_REPLACED;
    event.successor = replaced.successor.value;
    event.request = replaced.request.value;
    set_text(event.text, "somebody joined who cannot use this image; all can use its successor");
    return tell_of(replaced.handle, event);
}

/// False: the image was closed meanwhile.
bool Client::tell_of(HandleId handle, dmabroker_event& event)
{
    return holds_->with(handle, [&](dmabroker_image& image) {
        event.image = &image;
        event.user_data = image.user_data;
    });
}

bool Client::tell_end(dmabroker_event& event)
{
    if (!connection_.ended() || std::exchange(end_told_, true)) return false;
    event.type = DMABROKER_EVENT_DISCONNECTED;
    set_text(event.text, connection_.reason().reason);
    return true;
}

bool Client::next_event(dmabroker_event& event)
{
    if (connection_.ended() && !connection_.can_resume()) fail_operations(connection_.reason());
    while (!events_.empty()) {
        Event oldest = std::move(events_.front());
        events_.pop_front();
        dmabroker_event filled{};
        if (!std::visit([&](auto& what) { return tell(what, filled); }, oldest)) continue;
        event = filled;
        return true;
    }
    if (tell_end(event)) return true;
    if (!connection_.has_lost()) connection_.readiness().silence();
    return false;
}

Result<bool> Client::reconnect()
{
    const bool resumed = TRY(connection_.reconnect());
    end_told_ = false;
    if (resumed) return true;
    stated_.clear();
    holds_->forget_all();
    fail_operations(Error{Errc::interrupted, "the broker does not know this client any more; ask again"});
    return false;
}

} // namespace dmb

dmabroker_image::~dmabroker_image()
{
    // Before the broker hears of it: what it takes back is only reused when nobody else has it open.
    std::move(image).take_fds().clear();
    if (holds) holds->end(*this);
}
