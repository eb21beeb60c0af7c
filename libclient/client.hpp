// SPDX-License-Identifier: MIT
// What the C ABI's dmabroker_client is: a connection, the holds that came from it, and its events.
#pragma once
#include "libclient/connection.hpp"
#include "libclient/handle.hpp"

#include <memory>
#include <string>

namespace dmb {

class Client {
public:
    /// Says hello on a connected socket. `timeout_ns` 0: no limit.
    static Result<std::unique_ptr<dmabroker_client>> create(UniqueFd socket, std::string_view name, std::uint64_t timeout_ns,
                                                            bool manager);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// `contents`: what wire::Allocate says, or none.
    Result<std::unique_ptr<dmabroker_image>> allocate(const wire::Allocate&, const UniqueFd& contents, bool& contents_written);
    Result<std::unique_ptr<dmabroker_image>> open(const wire::Open&);
    Result<std::unique_ptr<dmabroker_image>> join(const wire::Join&);
    /// A hold on what replaced the image.
    Result<std::unique_ptr<dmabroker_image>> move(const dmabroker_image&);
    /// Nanoseconds that the copy took.
    Result<std::uint64_t> refresh(const dmabroker_image&);
    Result<std::unique_ptr<dmabroker_image>> register_image(const wire::Register&, ImageFds fds);
    Result<Token> mint(const wire::MintToken&);
    Result<> revoke(const Token&);
    Result<> revoke(ImageId);
    Result<> set_lease(HandleId, std::uint64_t lease_ns);
    Result<Snapshot> inspect(ImageId);
    /// Makes the table known to the broker, unless this client did before.
    Result<> state(const Capabilities&, const Digest&);
    Result<Decision> why(const wire::Why&);
    Result<> manage_proofs(wire::ProofAction);
    /// The hold ends: gives its handle back.
    void forget(dmabroker_image&) noexcept;

    Connection& connection() { return connection_; }
    const Connection& connection() const { return connection_; }
    /// JSON; valid until the next allocation.
    const char* explanation() const;
    /// Of the last allocation or join, whatever became of it; 0: nothing was negotiated.
    RequestId last_request() const { return last_request_; }
    /// False: none left.
    bool next_event(dmabroker_event&);

    /// For create(): without the hello it serves nothing.
    Client(UniqueFd socket, std::uint64_t timeout_ns) : connection_(std::move(socket), timeout_ns) {}

private:
    Result<std::unique_ptr<dmabroker_image>> hold(wire::ImageReply&, ImageFds);
    Result<> define(const Capabilities&, const Digest&);
    void note_request(const Result<wire::ImageReply*>&);
    bool tell(const wire::ImageRevoked&, dmabroker_event&);
    bool tell(const wire::ImageReplaced&, dmabroker_event&);
    dmabroker_image* find(HandleId) const;

    Connection connection_;
    dmabroker_image* images_ = nullptr; ///< intrusive list of all holds
    std::vector<Digest> stated_;        ///< tables that the broker keeps for this client
    RequestId last_request_;
    wire::Candidates candidates_;     ///< of the last allocation
    mutable std::string explanation_; ///< candidates_ as JSON, once asked for
    bool end_told_ = false;
};

} // namespace dmb

struct dmabroker_client final : dmb::Client {
    using Client::Client;
};

namespace dmb {

/// The client that an image came from, while that is open.
inline Result<Client*> client_of(const dmabroker_image* image)
{
    if (!image) return fail(Errc::invalid_argument, "image is NULL");
    if (image->client) return image->client;
    return fail(Errc::disconnected, "the client that this image came from was closed, or it was adopted and never had one");
}

} // namespace dmb
