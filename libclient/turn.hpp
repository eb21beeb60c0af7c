// SPDX-License-Identifier: MIT
// What the threads of a program share of one client: its images, which may end in any of them, and whose turn it is.
#pragma once
#include "libclient/arguments.hpp"
#include "proto/base/strong.hpp"

#include <memory>
#include <mutex>
#include <unordered_map>

struct dmabroker_client;
struct dmabroker_image;

namespace dmb {

class Client;
class Connection;

/// The holds of a client. It outlives the client as long as an image does.
class Holds {
public:
    Holds(Client& client, Connection& connection) : client_(&client), connection_(connection) {}

    /// False: there is one with its handle.
    bool add(dmabroker_image&);
    /// It ends: nobody finds it any more, and its handle goes back now if nobody has a turn, else at the end of that. Never
    /// waits for a turn.
    void end(const dmabroker_image&) noexcept;
    /// False: its client has become a new one since.
    bool knows(const dmabroker_image&);
    /// Calls `use(dmabroker_image&)`, which cannot end meanwhile. False: it has ended.
    template <class Use> bool with(HandleId handle, Use&& use)
    {
        const std::lock_guard lock(mutex_);
        const auto found = holds_.find(handle);
        if (found == holds_.end() || !found->second.image) return false;
        use(*found->second.image);
        return true;
    }
    /// The broker does not know them any more.
    void forget_all();
    /// The client ends, in a turn.
    void leave();

private:
    friend class Turn;
    struct Hold {
        dmabroker_image* image; ///< null: ended, and the broker was not told
        Hold* next_ended = nullptr;
        HandleId handle;
    };
    void give_back();
    void give_back_between_turns() noexcept;

    std::recursive_mutex turn_; ///< a call may end images of its own
    Client* client_;            ///< in a turn; null after leave()
    Connection& connection_;    ///< the client's, in a turn of which it is not null
    std::mutex mutex_;          ///< for the rest; held for moments only
    std::unordered_map<HandleId, Hold> holds_;
    Hold* ended_ = nullptr;
};

/// One call's time with a client, in which no other thread is in one.
class Turn {
public:
    static Result<Turn> with(const dmabroker_client*);
    /// Errc::disconnected for an image whose client is gone, or does not know it any more.
    static Result<Turn> with(const dmabroker_image*);
    Turn(Turn&&) noexcept = default;
    Turn& operator=(Turn&&) = delete;
    ~Turn();

    Client* operator->() const { return client_; }
    Client& operator*() const { return *client_; }

private:
    explicit Turn(std::shared_ptr<Holds> holds);
    std::shared_ptr<Holds> holds_;
    std::unique_lock<std::recursive_mutex> lock_;
    Client* client_;
};

} // namespace dmb
