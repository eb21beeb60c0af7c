// SPDX-License-Identifier: MIT
// Two locks. A turn is held for as long as a call takes, which may be until the broker answers; it guards the client. What an
// image's end needs is behind the other one, which nobody holds while waiting: so closing never waits for the broker.
// Handles of images that ended meanwhile are given back by whoever has the turn, at its end. Nothing allocates on the way
// of an end: the record of a hold becomes the note that it ended.
#include "libclient/turn.hpp"

#include "libclient/connection.hpp"
#include "libclient/handle.hpp"

namespace dmb {

bool Holds::add(dmabroker_image& image)
{
    const std::lock_guard lock(mutex_);
    return holds_.try_emplace(image.handle, Hold{&image, nullptr, image.handle}).second;
}

/// A new client's handles begin anew: the number alone may be another image's.
bool Holds::knows(const dmabroker_image& image)
{
    const std::lock_guard lock(mutex_);
    const auto found = holds_.find(image.handle);
    return found != holds_.end() && found->second.image == &image;
}

void Holds::end(const dmabroker_image& image) noexcept
{
    {
        const std::lock_guard lock(mutex_);
        const auto found = holds_.find(image.handle);
        if (found == holds_.end() || found->second.image != &image) return;
        found->second.image = nullptr;
        found->second.next_ended = std::exchange(ended_, &found->second);
    }
    give_back_between_turns();
}

/// Whoever ended an image while this thread gave back could not: hence the second look.
void Holds::give_back_between_turns() noexcept
{
    const auto has_ended = [this] {
        const std::lock_guard lock(mutex_);
        return ended_ != nullptr;
    };
    while (has_ended()) {
        const std::unique_lock turn(turn_, std::try_to_lock);
        if (!turn) return;
        give_back();
    }
}

/// In a turn.
void Holds::give_back()
{
    for (;;) {
        HandleId handle;
        {
            const std::lock_guard lock(mutex_);
            if (!ended_) return;
            handle = ended_->handle;
            ended_ = ended_->next_ended;
            holds_.erase(handle);
        }
        if (client_) connection_.release(handle);
    }
}

void Holds::forget_all()
{
    const std::lock_guard lock(mutex_);
    holds_.clear();
    ended_ = nullptr;
}

void Holds::leave()
{
    client_ = nullptr;
    forget_all();
}

Turn::Turn(std::shared_ptr<Holds> holds) : holds_(std::move(holds)), lock_(holds_->turn_), client_(holds_->client_) {}

Turn::~Turn()
{
    if (!holds_) return; // moved from
    lock_.unlock();
    holds_->give_back_between_turns();
}

Result<Turn> Turn::with(const dmabroker_image* image)
{
    TRY(require(image, "image"));
    if (image->holds) {
        Turn turn(image->holds);
        if (turn.client_ && turn.holds_->knows(*image)) return turn;
    }
    return fail(Errc::disconnected,
                "the broker knows nothing of this image: its client was closed or reconnected as a new one, "
                "or it was adopted and never had one");
}

} // namespace dmb
