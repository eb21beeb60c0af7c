// SPDX-License-Identifier: MIT
// The rules about images, holds and tokens: how long an image lives, who gets which descriptor of it, what a token
// opens. Whoever asks about what it may not see is told what it would be told if that did not exist.
#pragma once
#include "daemon/alloc/pool.hpp"
#include "daemon/core/serving/events.hpp"
#include "daemon/core/state/state.hpp"

namespace dmb {

/// What a client gets of an image. Pointers and descriptors are borrowed until the broker is called again.
struct Held {
    HandleId handle;
    ImageId image;
    RequestId request; ///< whose decision it came from; 0: none
    ImageId source;    ///< it is a copy of that image; 0: it is not
    Rights rights;
    Protection protection = Protection::none;
    bool contents_written = false;
    const ImageDesc* desc = nullptr;
    BoundedVector<int, max_planes> fds;
};

/// What a token, or an older hold, allows.
struct Grant {
    Rights rights;
    Usage usage;
    bool enforced = false;
    LineageId origin;
};

/// What is asked of a new image besides its memory.
struct Order {
    Name label;
    std::uint64_t lease_ns = 0;
    Instant now;
};

class Images {
public:
    Images(State& state, Pool& pool, EventSink& events) : state_(state), pool_(pool), events_(events) {}

    Result<ImageId> add(ClientId owner, Allocated, const Order&, std::optional<Wish>, const CopyState& = {});
    /// A hold of the client that made the image, with all rights.
    Result<Held> hold_own(ClientId, ImageId, Said = Said::nothing);
    /// A hold of any other client.
    Result<Held> hold_as(ClientId, ImageId, const Grant&, Said = Said::nothing, std::shared_ptr<const Party> = {});
    Held describe(const Hold&) const;
    Result<const Hold*> find_hold(ClientId, HandleId) const;
    void drop(ClientId, HandleId, Instant now);
    void free_if_unused(ImageId, Instant now);
    /// Whoever holds it and whatever lease it has: of an image that nobody knows yet.
    void discard(ImageId, Instant now);
    /// Null also for one that only a lease kept which is over, also when nobody has swept it yet.
    const ImageRecord* find(ImageId, Instant now);
    /// Where an image's successors lead to.
    const ImageRecord& latest(const ImageRecord&, Instant now);

    /// Errc::too_many_requests: the client guesses tokens and must be cut.
    Result<const TokenRecord*> find_token(ClientId, const Token&, Instant now);
    static Result<> check_token(const TokenRecord&, Rights wanted, Usage, const ImageDesc&);
    /// Ends it if it was for one use.
    void use_up(const TokenRecord&);
    /// Counts one more token that does not exist. The error, or Errc::too_many_requests if there were too many.
    Error guessed(ClientId, Error);
    bool may_manage(ClientId, ImageId) const;
    void revoke(ImageId, Instant now);

private:
    void hand_over(const ImageRecord&);
    bool open_read_only(ImageId);

    State& state_;
    Pool& pool_;
    EventSink& events_;
};

Result<> check_label(std::string_view);
/// When a lease of that length ends.
Instant lease_end(Instant now, std::uint64_t lease_ns);

} // namespace dmb
