// SPDX-License-Identifier: MIT
// The slow requests of a client. The blocking forms send the same question, wait for its answer and judge it
// in the same way; what differs is who keeps the operation meanwhile, and whether its end is an event.
//
// An operation that was started is in exactly one of two places until its completion was taken: running_,
// at its request's slot, or events_. complete() is the only way from the one to the other.
#include "libclient/client.hpp"
#include "libclient/contents.hpp"
#include "libclient/convert.hpp"

#include <algorithm>

namespace dmb {
namespace {

const Error wrong_image{Errc::protocol_violation, "the broker answered with an image of another size or format"};

bool is_as_asked(const ImageDesc& desc, const wire::Allocate& request)
{
    if (desc.size != request.spec.size) return false;
    return desc.format == request.spec.format ||
           std::ranges::find(request.alternatives, desc.format) != request.alternatives.end();
}

bool is_as_asked(const ImageDesc& desc, const wire::Register& request)
{
    return desc.size == request.desc.size && desc.format == request.desc.format && desc.planes == request.desc.planes &&
           desc.modifier == request.desc.modifier;
}

ImageFds to_image_fds(std::vector<UniqueFd> fds)
{
    ImageFds out;
    for (UniqueFd& fd : fds) out.push_back(std::move(fd));
    return out;
}

} // namespace

// ---- asking ----------------------------------------------------------------------------------------

Result<Slot> Client::send(const Question& question, std::vector<UniqueFd> fds, wire::Wait wait)
{
    return std::visit([&](const auto& message) { return connection_.start(message, std::move(fds), wait); }, question);
}

Result<> Client::run(Operation& operation, std::vector<UniqueFd> fds)
{
    const auto slot = send(operation.question, std::move(fds), wire::Wait::yes);
    const Result<> answered = slot ? await(*slot) : std::unexpected(slot.error());
    if (answered) conclude(operation);
    else operation.fail(answered.error());
    tell_negotiation(operation);
    if (operation.failure) return std::unexpected(*operation.failure);
    return {};
}

Result<std::unique_ptr<dmabroker_image>> Client::ask_for_image(Operation&& operation, std::vector<UniqueFd> fds)
{
    TRY(run(operation, std::move(fds)));
    return std::move(operation.image);
}

Result<std::uint64_t> Client::refresh(const wire::Refresh& question)
{
    Operation operation{.question = question};
    TRY(run(operation, {}));
    return operation.cost_ns;
}

Result<> Client::manage_proofs(const wire::ManageProofs& question)
{
    Operation operation{.question = question};
    return run(operation, {});
}

Result<std::uint64_t> Client::start(Question question, std::vector<UniqueFd> fds, void* user_data)
{
    std::list<Event> waiting;
    Operation& operation =
        *std::get<std::unique_ptr<Operation>>(waiting.emplace_back(std::make_unique<Operation>(std::move(question))));
    operation.number = last_operation_ + 1;
    operation.user_data = user_data;
    const auto noted = operations_.emplace(operation.number, &operation).first;
    const auto slot = send(operation.question, std::move(fds), wire::Wait::no);
    if (!slot) {
        operations_.erase(noted);
        return std::unexpected(slot.error());
    }
    operation.slot = *slot;
    running_[*slot].splice(running_[*slot].end(), waiting);
    return ++last_operation_;
}

// ---- answers ---------------------------------------------------------------------------------------

/// The answer to it was just received.
void Client::conclude(Operation& operation)
{
    try {
        std::vector<UniqueFd> sent = connection_.take_sent();
        note(operation);
        const auto accepted =
            std::visit([&](const auto& asked) { return accept(operation, asked, std::move(sent)); }, operation.question);
        if (!accepted) operation.fail(accepted.error());
    } catch (const std::bad_alloc&) {
        if (!operation.image) connection_.give_back_answer();
        operation.fail(Error{Errc::out_of_memory, "out of memory in the library"});
    }
}

/// The number of the negotiation, whether it was good or bad.
void Client::note(Operation& operation)
{
    if (const auto* image = std::get_if<wire::ImageReply>(&connection_.last())) operation.request = image->request;
    if (const auto* error = std::get_if<wire::ErrorReply>(&connection_.last())) operation.request = error->request;
}

Result<> Client::accept(Operation& operation, const wire::Allocate& asked, std::vector<UniqueFd> sent)
{
    wire::ImageReply* reply = TRY(connection_.answer<wire::ImageReply>());
    if (!is_as_asked(reply->desc, asked)) return connection_.end(wrong_image);
    const bool written = reply->contents_written;
    operation.image = TRY(hold(*reply, wire::take_image_fds(connection_.fds(), *reply)));
    if (asked.has_contents && !written) TRY(write_packed(*operation.image, sent[0]));
    return {};
}

Result<> Client::accept(Operation& operation, const wire::Join&, std::vector<UniqueFd>)
{
    wire::ImageReply* reply = TRY(connection_.answer<wire::ImageReply>());
    operation.image = TRY(hold(*reply, wire::take_image_fds(connection_.fds(), *reply)));
    return {};
}

Result<> Client::accept(Operation& operation, const wire::Register& asked, std::vector<UniqueFd> sent)
{
    wire::ImageReply* reply = TRY(connection_.answer<wire::ImageReply>());
    if (!is_as_asked(reply->desc, asked) || reply->has_fds) return connection_.end(wrong_image);
    operation.image = TRY(hold(*reply, to_image_fds(std::move(sent))));
    return {};
}

Result<> Client::accept(Operation& operation, const wire::Refresh&, std::vector<UniqueFd>)
{
    operation.cost_ns = TRY(connection_.answer<wire::Refreshed>())->cost_ns;
    return {};
}

Result<> Client::accept(Operation&, const wire::ManageProofs&, std::vector<UniqueFd>)
{
    TRY(connection_.answer<wire::Done>());
    return {};
}

// ---- ending ----------------------------------------------------------------------------------------

/// The answer to the request in this slot was received, and nobody waits for it in a call.
void Client::finish(Slot slot)
{
    if (running_[slot].empty()) return connection_.give_back_answer();
    Operation& operation = *std::get<std::unique_ptr<Operation>>(running_[slot].front());
    conclude(operation);
    complete(operation);
}

void Client::complete(Operation& operation)
{
    events_.splice(events_.end(), running_[*operation.slot]);
    operation.slot.reset();
    connection_.readiness().ring();
}

void Client::fail_operations(const Error& error)
{
    for (auto& running : running_) {
        if (running.empty()) continue;
        Operation& operation = *std::get<std::unique_ptr<Operation>>(running.front());
        operation.fail(error);
        complete(operation);
    }
}

Result<> Client::cancel(std::uint64_t number)
{
    const auto found = operations_.find(number);
    if (found == operations_.end())
        return fail(Errc::not_found, "operation {} is not outstanding: its completion was taken, or there never was one",
                    number);
    Operation& operation = *found->second;
    if (operation.slot) {
        connection_.give_up(*operation.slot);
        complete(operation);
    }
    operation.fail(Error{Errc::cancelled, "cancelled by the program"});
    return {};
}

// ---- telling ---------------------------------------------------------------------------------------

void Client::tell_negotiation(Operation& operation)
{
    const auto& question = operation.question;
    if (std::holds_alternative<wire::Allocate>(question) || std::holds_alternative<wire::Join>(question))
        last_request_ = operation.request;
}

bool Client::tell(std::unique_ptr<Operation>& operation, dmabroker_event& event)
{
    operations_.erase(operation->number);
    tell_negotiation(*operation);
    event.type = DMABROKER_EVENT_COMPLETED;
    event.image = operation->image.release();
    event.request = operation->request.value;
    event.operation = operation->number;
    event.user_data = operation->user_data;
    event.cost_ns = operation->cost_ns;
    if (operation->failure) {
        event.code = static_cast<int>(operation->failure->code);
        event.result = negative_errno(operation->failure->code);
        set_text(event.text, operation->failure->reason);
    }
    return true;
}

} // namespace dmb
