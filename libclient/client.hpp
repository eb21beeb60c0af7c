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
    Result<std::unique_ptr<dmabroker_image>> register_image(const wire::Register&, ImageFds fds);
    Result<Token> mint(const wire::MintToken&);
    Result<> revoke(const Token&);
    Result<> revoke(ImageId);
    Result<> set_lease(HandleId, std::uint64_t lease_ns);
    Result<Snapshot> inspect(ImageId);
    /// The hold ends: gives its handle back.
    void forget(dmabroker_image&) noexcept;

    Connection& connection() { return connection_; }
    const Connection& connection() const { return connection_; }
    /// JSON; valid until the next allocation.
    const char* explanation() const;
    /// False: none left.
    bool next_event(dmabroker_event&);

    /// For create(): without the hello it serves nothing.
    Client(UniqueFd socket, std::uint64_t timeout_ns) : connection_(std::move(socket), timeout_ns) {}

private:
    Result<std::unique_ptr<dmabroker_image>> hold(wire::ImageReply&, ImageFds);
    dmabroker_image* find(HandleId) const;

    Connection connection_;
    dmabroker_image* images_ = nullptr; ///< intrusive list of all holds
    wire::Candidates candidates_;       ///< of the last allocation
    mutable std::string explanation_;   ///< candidates_ as JSON, once asked for
    bool end_told_ = false;
};

} // namespace dmb

struct dmabroker_client final : dmb::Client {
    using Client::Client;
};
