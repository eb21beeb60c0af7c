// SPDX-License-Identifier: MIT
// Requests of one client, and the list of its holds. Images do not own their client and it does not own
// them: the client's end sets their back-pointers to null, an image's end takes it off the list. What
// the broker answers is compared with what was asked, because callers size their loops by the request.
#include "libclient/client.hpp"

#include "libclient/convert.hpp"
#include "proto/wire/json.hpp"

#include <algorithm>
#include <unistd.h>

namespace dmb {
namespace {

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

bool is_as_asked(const ImageDesc& desc, Extent size, FourCC format) { return desc.size == size && desc.format == format; }

bool is_as_asked(const ImageDesc& desc, const wire::Allocate& request)
{
    if (is_as_asked(desc, request.spec.size, request.spec.format)) return true;
    return desc.size == request.spec.size && std::ranges::find(request.alternatives, desc.format) != request.alternatives.end();
}

const Error wrong_image{Errc::protocol_violation, "the broker answered with an image of another size or format"};

} // namespace

Result<std::unique_ptr<dmabroker_client>> Client::create(UniqueFd socket, std::string_view name, std::uint64_t timeout_ns,
                                                         bool manager)
{
    auto client = std::make_unique<dmabroker_client>(std::move(socket), timeout_ns);
    const wire::HelloReply reply = TRY(client->connection_.hello(name));
    if (manager && !reply.manager)
        return fail(Errc::denied, "this socket is not a manager socket; connect to the one whose path ends in .manager");
    return client;
}

Client::~Client()
{
    for (dmabroker_image* image = images_; image; image = image->next) image->client = nullptr;
}

// ---- holds -----------------------------------------------------------------------------------------

Result<std::unique_ptr<dmabroker_image>> Client::hold(wire::ImageReply& reply, ImageFds fds)
{
    auto image = Image::adopt(std::move(reply.desc), std::move(fds));
    if (!image) return connection_.end(image.error());
    std::unique_ptr<dmabroker_image> held(new (std::nothrow) dmabroker_image{std::move(*image)});
    if (!held) {
        connection_.release(reply.handle);
        return fail(Errc::out_of_memory, "out of memory in the library");
    }
    held->rights = reply.rights;
    held->protection = reply.protection;
    held->handle = reply.handle;
    held->id = reply.image;
    held->request = reply.request;
    held->source = reply.source;
    held->timeout_ns = connection_.timeout_ns();
    describe(*held);
    held->client = this;
    held->next = images_;
    if (images_) images_->previous = held.get();
    images_ = held.get();
    return held;
}

void Client::forget(dmabroker_image& image) noexcept
{
    (image.previous ? image.previous->next : images_) = image.next;
    if (image.next) image.next->previous = image.previous;
    image.client = nullptr;
    connection_.release(image.handle);
}

dmabroker_image* Client::find(HandleId handle) const
{
    for (dmabroker_image* image = images_; image; image = image->next)
        if (image->handle == handle) return image;
    return nullptr;
}

// ---- requests --------------------------------------------------------------------------------------

Result<std::unique_ptr<dmabroker_image>> Client::allocate(const wire::Allocate& request, const UniqueFd& contents,
                                                          bool& contents_written)
{
    candidates_.clear();
    explanation_.clear();
    const int fd = contents.get();
    auto reply = connection_.ask<wire::ImageReply>(request, {&fd, request.fd_count()});
    note_request(reply);
    if (!reply) {
        if (const wire::ErrorReply* refusal = connection_.refusal()) candidates_ = refusal->candidates;
        return std::unexpected(reply.error());
    }
    candidates_ = (*reply)->candidates;
    contents_written = (*reply)->contents_written;
    if (!is_as_asked((*reply)->desc, request)) return connection_.end(wrong_image);
    return hold(**reply, wire::take_image_fds(connection_.fds(), **reply));
}

Result<std::unique_ptr<dmabroker_image>> Client::open(const wire::Open& request)
{
    wire::ImageReply* reply = TRY(connection_.ask<wire::ImageReply>(request));
    return hold(*reply, wire::take_image_fds(connection_.fds(), *reply));
}

void Client::note_request(const Result<wire::ImageReply*>& reply)
{
    const wire::ErrorReply* refusal = connection_.refusal();
    last_request_ = reply ? (*reply)->request : refusal ? refusal->request : RequestId{};
}

Result<std::unique_ptr<dmabroker_image>> Client::join(const wire::Join& request)
{
    auto reply = connection_.ask<wire::ImageReply>(request);
    note_request(reply);
    if (!reply) return std::unexpected(reply.error());
    return hold(**reply, wire::take_image_fds(connection_.fds(), **reply));
}

Result<std::unique_ptr<dmabroker_image>> Client::move(const dmabroker_image& image)
{
    wire::ImageReply* reply = TRY(connection_.ask<wire::ImageReply>(wire::Move{image.handle}));
    // What is negotiated anew is everything but the size.
    if (reply->desc.size != image.image.desc().size) return connection_.end(wrong_image);
    return hold(*reply, wire::take_image_fds(connection_.fds(), *reply));
}

Result<std::uint64_t> Client::refresh(const dmabroker_image& image)
{
    return TRY(connection_.ask<wire::Refreshed>(wire::Refresh{image.handle}))->cost_ns;
}

Result<std::unique_ptr<dmabroker_image>> Client::register_image(const wire::Register& request, ImageFds fds)
{
    std::array<int, max_planes> borrowed{};
    for (std::size_t i = 0; i < fds.size(); ++i) borrowed[i] = fds[i].get();
    wire::ImageReply* reply = TRY(connection_.ask<wire::ImageReply>(request, std::span(borrowed).first(fds.size())));
    const bool same = is_as_asked(reply->desc, request.desc.size, request.desc.format) &&
                      reply->desc.planes == request.desc.planes && reply->desc.modifier == request.desc.modifier;
    if (!same || reply->has_fds) return connection_.end(wrong_image);
    return hold(*reply, std::move(fds));
}

Result<Token> Client::mint(const wire::MintToken& request) { return TRY(connection_.ask<wire::TokenReply>(request))->token; }

Result<> Client::revoke(const Token& token)
{
    TRY(connection_.ask<wire::Done>(wire::RevokeToken{token}));
    return {};
}

Result<> Client::revoke(ImageId id)
{
    TRY(connection_.ask<wire::Done>(wire::RevokeImage{id}));
    return {};
}

Result<> Client::set_lease(HandleId handle, std::uint64_t lease_ns)
{
    TRY(connection_.ask<wire::Done>(wire::SetLease{handle, lease_ns}));
    return {};
}

Result<Snapshot> Client::inspect(ImageId id)
{
    const wire::SnapshotReply* reply = TRY(connection_.ask<wire::SnapshotReply>(wire::Inspect{id}));
    const wire::PacketFds fds = std::move(connection_.fds());
    auto snapshot = read_snapshot(fds[0].get(), reply->size);
    if (!snapshot) return connection_.end(snapshot.error());
    return snapshot;
}

Result<Decision> Client::why(const wire::Why& request)
{
    return std::move(TRY(connection_.ask<wire::WhyReply>(request))->decision);
}

Result<> Client::manage_proofs(wire::ProofAction action)
{
    TRY(connection_.ask<wire::Done>(wire::ManageProofs{action}));
    return {};
}

// ---- capabilities ----------------------------------------------------------------------------------

Result<> Client::state(const Capabilities& table, const Digest& digest)
{
    if (std::ranges::find(stated_, digest) != stated_.end()) return {};
    if (!TRY(connection_.ask<wire::CapabilitiesReply>(wire::FindCapabilities{digest}))->known) TRY(define(table, digest));
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
        known = TRY(connection_.ask<wire::CapabilitiesReply>(part))->known;
        left = left.subspan(next.size());
        part.offset += static_cast<std::uint32_t>(next.size());
    }
    if (!known) return connection_.end(Error{Errc::protocol_violation, "the broker took a table and does not know it"});
    return {};
}

// ---- what happened ---------------------------------------------------------------------------------

const char* Client::explanation() const
{
    if (explanation_.empty()) explanation_ = wire::to_json(candidates_);
    return explanation_.c_str();
}

bool Client::tell(const wire::ImageRevoked& revoked, dmabroker_event& event)
{
    dmabroker_image* image = find(revoked.handle);
    if (!image || image->revoked) return false; // closed since, or told before
    image->revoked = true;
    event.type = DMABROKER_EVENT_IMAGE_REVOKED;
    event.image = image;
    set_text(event.text, "the image was revoked: nobody new can open it");
    return true;
}

bool Client::tell(const wire::ImageReplaced& replaced, dmabroker_event& event)
{
    dmabroker_image* image = find(replaced.handle);
    if (!image) return false;
    event.type = DMABROKER_EVENT_IMAGE_REPLACED;
    event.image = image;
    event.successor = replaced.successor.value;
    event.request = replaced.request.value;
    set_text(event.text, "somebody joined who cannot use this image; all can use its successor");
    return true;
}

bool Client::next_event(dmabroker_event& event)
{
    while (const auto happened = connection_.take_event())
        if (std::visit([&](const auto& what) { return tell(what, event); }, *happened)) return true;
    if (!connection_.ended() || end_told_) return false;
    end_told_ = true;
    event.type = DMABROKER_EVENT_DISCONNECTED;
    set_text(event.text, connection_.reason().reason);
    return true;
}

} // namespace dmb

dmabroker_image::~dmabroker_image()
{
    // Before the broker hears of it: what it takes back is only reused when nobody else has it open.
    std::move(image).take_fds().clear();
    if (client) client->forget(*this);
}
