// SPDX-License-Identifier: MIT
// What the C ABI's dmabroker_client is: a connection, the holds that came from it, its operations and events.
#pragma once
#include "libclient/connection.hpp"
#include "libclient/operation.hpp"
#include "libclient/turn.hpp"

#include <list>
#include <unordered_map>

namespace dmb {

class Client {
public:
    /// Says hello on a connected socket.
    static Result<std::unique_ptr<dmabroker_client>> create(UniqueFd socket, Address);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Slow: asked and waited for, or started.
    /// The image, if that is what the question gives. `fds`: what goes with the message.
    Result<std::unique_ptr<dmabroker_image>> ask_for_image(Operation&&, std::vector<UniqueFd> fds);
    /// Nanoseconds that the copy took.
    Result<std::uint64_t> refresh(const wire::Refresh&);
    Result<> manage_proofs(const wire::ManageProofs&);
    /// Its number. Exactly one completion follows in next_event(), unless the client is closed before.
    Result<std::uint64_t> start(Question, std::vector<UniqueFd> fds, void* user_data);
    /// From now on its completion says Errc::cancelled.
    Result<> cancel(std::uint64_t number);

    // Quick: asked and waited for.
    Result<std::unique_ptr<dmabroker_image>> open(const wire::Open&);
    /// A hold on what replaced the image.
    Result<std::unique_ptr<dmabroker_image>> open_successor(const dmabroker_image&);
    Result<Token> mint(const wire::MintToken&);
    Result<> revoke(const Token&);
    Result<> revoke(ImageId);
    Result<> set_lease(HandleId, std::uint64_t lease_ns);
    Result<Snapshot> inspect(ImageId);
    /// Makes the table known to the broker, unless this client did before.
    Result<> state(const Capabilities&, const Digest&);
    Result<Decision> why(const wire::Why&);

    /// Of all that came from it.
    const std::shared_ptr<Holds>& holds() const { return holds_; }
    /// Reads what is there. Fails when the connection has ended.
    Result<> dispatch();
    /// False: none left.
    bool next_event(dmabroker_event&);
    /// After the end. False: as a new client, whose images and operations are not those of before.
    Result<bool> reconnect();

    /// For the application to wait for; the same as long as the client lives.
    Result<int> fd() { return connection_.readiness().fd(); }
    /// JSON; valid until the next allocation.
    /// Of the last allocation or join, whatever became of it; 0: nothing was negotiated.
    RequestId last_request() const { return last_request_; }

    /// For create(): without the hello it serves nothing.
    explicit Client(Address address) : connection_(std::move(address)) {}

private:
    using Event = std::variant<wire::ImageRevoked, wire::ImageReplaced, std::unique_ptr<Operation>>;

    template <class Expected, class Message> Result<Expected*> ask(const Message&);
    Result<> await(Slot);
    Result<> receive_until(Slot);
    Result<> take(Connection::Arrival);
    Result<> define(const Capabilities&, const Digest&);

    Result<Slot> send(const Question&, std::vector<UniqueFd> fds, wire::Wait);
    Result<> run(Operation&, std::vector<UniqueFd> fds);
    void conclude(Operation&);
    void note(Operation&);
    Result<> accept(Operation&, const wire::Allocate&, std::vector<UniqueFd> sent);
    Result<> accept(Operation&, const wire::Join&, std::vector<UniqueFd> sent);
    Result<> accept(Operation&, const wire::Register&, std::vector<UniqueFd> sent);
    Result<> accept(Operation&, const wire::Refresh&, std::vector<UniqueFd> sent);
    Result<> accept(Operation&, const wire::ManageProofs&, std::vector<UniqueFd> sent);
    void finish(Slot);
    void complete(Operation&);
    void fail_operations(const Error&);
    void tell_negotiation(Operation&);

    Result<std::unique_ptr<dmabroker_image>> hold(const wire::ImageReply&, ImageFds);

    Result<> happened();
    void queue(Event);
    bool tell(const wire::ImageRevoked&, dmabroker_event&);
    bool tell(const wire::ImageReplaced&, dmabroker_event&);
    bool tell_of(HandleId, dmabroker_event&);
    bool tell(std::unique_ptr<Operation>&, dmabroker_event&);
    bool tell_end(dmabroker_event&);

    Connection connection_;
    std::shared_ptr<Holds> holds_ = std::make_shared<Holds>(*this, connection_);
    std::vector<Digest> stated_; ///< tables that the broker keeps for this client
    RequestId last_request_;

    // A completion moves from one list to the other without allocating: it cannot be lost.
    std::array<std::list<Event>, limits::pending_requests> running_; ///< by slot, at most one each
    std::list<Event> events_;                                        ///< in the order of arrival
    std::size_t image_events_ = 0;                                   ///< of events_
    std::unordered_map<std::uint64_t, Operation*> operations_;       ///< by number, until the completion was taken
    std::uint64_t last_operation_ = 0;
    bool end_told_ = false;
};

} // namespace dmb

struct dmabroker_client final : dmb::Client {
    using Client::Client;
};
