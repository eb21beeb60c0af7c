// SPDX-License-Identifier: MIT
// A participant that comes later. The image as it is, if its table has that layout and a trial does not say otherwise;
// else one image for everybody, if all holders said what they can import: they are told and may move; else a copy
// of its own, which can be refreshed.
#pragma once
#include "daemon/core/deciding/deciding.hpp"
#include "daemon/core/serving/copying.hpp"
#include "daemon/core/serving/operations.hpp"

namespace dmb {

class Joining {
public:
    Joining(State&, Images&, Operations&, Allocations&, Deciding&, EventSink&, Helper* system);

    /// The operation has begun; this finishes it, before it returns or later.
    void join(const OperationId&, const Token&, Rights, const Participant&, Instant now);
    void refresh(const OperationId&, HandleId, Instant now);
    Result<Held> move(ClientId, HandleId, Instant now);

private:
    /// One client on its way.
    struct Joiner;
    using JoinerPointer = std::unique_ptr<Joiner>;
    /// How a copy was made the last time.
    struct Route {
        ImageId source;
        CopyRoute route;
    };

    Result<JoinerPointer> begin(const OperationId&, const Token&, Rights, const Participant&, Instant now);
    void join_image(JoinerPointer, Instant now);
    bool prove_for(JoinerPointer&, const ImageRecord&, Instant now);
    void renegotiate(JoinerPointer, const ImageRecord&, Instant now);
    void make_copy(JoinerPointer, const ImageRecord&, Instant now);
    void make_image(JoinerPointer, const ImageRecord&, Wish, Instant now);
    void image_made(JoinerPointer, Outcome, Instant now);
    void image_failed(JoinerPointer, const Error&, Instant now);
    void image_filled(JoinerPointer, const Result<Copied>&, Instant now);
    Result<Held> add_joined(Joiner&, const Copied&, Instant now);
    Result<Held> hold_joined(const Joiner&, ImageId, Instant now);
    bool was_overtaken(const Joiner&) const;
    void start_again(JoinerPointer, Instant now);
    void finish(JoinerPointer, const Result<Held>&, Instant now);
    void drop_charge(const Joiner&);
    BoundedText<160> misfit(const ImageRecord&, const Party&) const;
    std::optional<Wish> wish_of_all(const ImageRecord&, const Party& joiner) const;
    CopyEnd end_of(const ImageDesc&, const ImageFds&) const;
    void replace(const ImageRecord& old, ImageId successor);
    Result<ImageId> source_of(ClientId, HandleId, Instant now);
    CopyRoute route_of(ImageId copy, ImageId source) const;
    void remember(ImageId copy, ImageId source, const CopyRoute&);

    State& state_;
    Images& images_;
    Operations& operations_;
    Allocations& allocations_;
    Deciding& deciding_;
    EventSink& events_;
    Copying copying_;
    std::unordered_map<ImageId, Route> routes_; ///< by copy; found anew by trying when forgotten
    std::size_t purge_at_ = 64;
};

} // namespace dmb
