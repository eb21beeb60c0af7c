// SPDX-License-Identifier: MIT
// The allocate request: one image, or several that belong together. A Making is owned by the completion of the
// allocation that runs for it. Its images are charged once, before the first exists, made one after the other, and
// enter the books all or none. What is no fault of any device (size, colours, contents) is refused here before anything
// is negotiated; the rest is for allocation.cpp.
#include "daemon/core/serving/broker.hpp"

#include "proto/image/fd_identity.hpp"
#include "proto/image/format_colour.hpp"
#include "proto/image/format_table.hpp"

#include <algorithm>

namespace dmb {
namespace {

/// Bytes of tightly packed contents.
std::uint64_t packed_size(const AllocateSpec& spec)
{
    const FormatInfo& format = *find_format(spec.format);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < format.plane_count; ++i)
        sum += row_bytes(format, i, spec.size.width) * plane_extent(format, i, spec.size).height;
    return sum;
}

Result<> check_contents(const ImageRequest& request, const UniqueFd& contents)
{
    if (!contents) return {};
    if (request.count > 1)
        return fail(Errc::invalid_argument, "initial contents are those of one image, not of {}", request.count);
    if (!request.alternatives.empty())
        return fail(Errc::invalid_argument, "initial contents are in one format; leave the alternative formats out");
    const FdIdentity found = identify(contents.get(), FdUse::contents);
    if (found.type != FdType::sealed_memfd)
        return fail(Errc::bad_descriptor, "initial contents must come in a sealed memfd, this is: {}",
                    found.type == FdType::dma_buf ? "a dma-buf" : found.problem.view());
    if (const std::uint64_t needed = packed_size(request.spec); found.size < needed)
        return fail(Errc::bad_layout, "initial contents have {} bytes, the image needs {} tightly packed", found.size, needed);
    return {};
}

/// What a request costs before it is known who serves it.
Result<Amount> estimate(const ImageRequest& request)
{
    TRY(check_label(request.label));
    TRY(check_label(request.spec.device));
    TRY(check_colour(request.spec.colour, request.spec.format));
    if (request.count == 0 || request.count > limits::pool_images)
        return fail(Errc::invalid_argument, "a request makes 1 to {} images, this one {}", limits::pool_images, request.count);
    std::uint64_t bytes = TRY(linear_layout(request.spec.size, request.spec.format)).total_size();
    const auto is_buffer = [](FourCC format) { return format == buffer_format; };
    if (std::ranges::any_of(request.alternatives, is_buffer) ||
        (is_buffer(request.spec.format) && !request.alternatives.empty()))
        return fail(Errc::invalid_argument, "a buffer is no alternative to a picture, and has none");
    for (const FourCC format : request.alternatives)
        bytes = std::max(bytes, TRY(linear_layout(request.spec.size, format)).total_size());
    return Amount{.bytes = bytes * request.count, .images = request.count, .fds = request.count, .tokens = 0};
}

bool is_same_layout(const ImageDesc& a, const ImageDesc& b)
{
    return a.backend == b.backend && a.device == b.device && a.format == b.format && a.modifier == b.modifier &&
           a.planes == b.planes && a.memories == b.memories;
}

} // namespace

struct Broker::Making {
    OperationId operation;
    Order order;
    std::size_t count = 1;
    Wish wish; ///< as long as another one is to be made
    UniqueFd contents;
    std::vector<Allocated> memories;
    Outcome last{std::unexpected(Error{}), {}, nullptr, {}};
};

Result<> Broker::check_allocation(const OperationId& id, const ImageRequest& request, const UniqueFd& contents)
{
    const Amount amount = TRY(estimate(request));
    TRY(check_contents(request, contents));
    return state_.charge(id, amount);
}

void Broker::allocate(const OperationId& id, const ImageRequest& request, UniqueFd contents, Instant now, OperationDone done)
{
    if (!begin_operation(id, OperationKind::allocate, std::move(done))) return;
    Result<Wish> wish = deciding_.wish_of(request);
    const Result<> good = wish ? check_allocation(id, request, contents) : Result<>(std::unexpected(wish.error()));
    if (!good) return operations_.finish(id, {std::unexpected(good.error()), {}});
    auto batch = std::make_unique<Making>();
    batch->operation = id;
    batch->order = {request.label, request.lease_ns, now};
    batch->count = request.count;
    batch->wish = std::move(*wish);
    batch->contents = std::move(contents);
    make_next(std::move(batch), now);
}

void Broker::make_next(MakingPointer batch, Instant now)
{
    const bool is_last = batch->memories.size() + 1 == batch->count;
    Wish wish = is_last ? std::move(batch->wish) : batch->wish;
    UniqueFd contents = std::move(batch->contents); // of a batch of one: check_contents() sees to that
    const OperationId id = batch->operation;
    allocations_.start(id, std::move(wish), std::move(contents), now,
                       [this, batch = std::move(batch)](Outcome outcome, Instant at) mutable {
                           made(std::move(batch), std::move(outcome), at);
                       });
}

void Broker::made(MakingPointer batch, Outcome outcome, Instant now)
{
    batch->last = std::move(outcome);
    if (batch->last.memory) {
        batch->memories.push_back(std::move(*batch->last.memory));
        const ImageDesc &first = batch->memories.front().desc, &next = batch->memories.back().desc;
        if (!is_same_layout(first, next))
            batch->last.memory = fail(Errc::backend_failed, "the images of one request came out in different layouts");
    }
    const bool wanted = operations_.is_wanted(batch->operation);
    if (wanted && batch->last.memory && batch->memories.size() < batch->count) return make_next(std::move(batch), now);
    if (wanted) return finish(std::move(batch));
    const OperationId id = batch->operation;
    batch.reset(); // the memory goes before its charge
    operations_.finish(id, {std::unexpected(Error{}), {}});
}

void Broker::finish(MakingPointer batch)
{
    const OperationId id = batch->operation;
    DecisionRecord decision{.id = state_.new_decision_id()};
    const RequestId request = decision.id;
    const OperationAnswer answer{add_all(*batch, decision), request};
    if (!answer.held && batch->last.plan) {
        if (decision.memory) decision.note = answer.held.error().reason;
        decision.memory.reset();
        deciding_.note(id.client, std::move(decision), std::move(batch->last), batch->order.label, batch->order.now);
    }
    operations_.finish(id, answer);
}

/// From the charge of the request to one per image.
Result<std::vector<ImageId>> Broker::add_images(Making& batch)
{
    std::vector<ImageId> out;
    (void)state_.charge(batch.operation, {});
    for (Allocated& memory : batch.memories) {
        const Result<ImageId> added = images_.add(batch.operation.client, std::move(memory), batch.order,
                                                  Wish{batch.last.wish.spec, {}, batch.last.wish.parties});
        if (!added) {
            for (const ImageId id : out) images_.discard(id, batch.order.now);
            return std::unexpected(added.error());
        }
        out.push_back(*added);
    }
    return out;
}

Result<std::vector<Held>> Broker::add_all(Making& batch, DecisionRecord& decision)
{
    if (!batch.last.memory) return std::unexpected(batch.last.memory.error());
    decision.memory = batch.memories.front().desc;
    const ClientId client = batch.operation.client;
    const bool contents_written = batch.memories.front().contents_written;
    const std::vector<ImageId> images = TRY(add_images(batch));
    // Who names participants has said whatever it has to say of itself.
    const Said said = batch.last.wish.parties.empty() ? Said::nothing : Said::in_request;
    std::vector<Held> out;
    for (const ImageId image : images) {
        Result<Held> held = images_.hold_own(client, image, said);
        if (!held) {
            for (const ImageId id : images) images_.discard(id, batch.order.now);
            return std::unexpected(held.error());
        }
        out.push_back(*held);
        out.back().contents_written = contents_written;
        out.back().request = decision.id;
    }
    decision.image = images.front();
    const DecisionPointer made =
        deciding_.note(client, std::move(decision), std::move(batch.last), batch.order.label, batch.order.now);
    for (const ImageId image : images) state_.set_decision(image, made);
    return out;
}

} // namespace dmb
