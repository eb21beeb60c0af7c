// SPDX-License-Identifier: MIT
// Operations, a member of the Broker: who waits for which slow request. What was answered is noted in State before the
// client is told, so that it is told the same if it has to ask again. A request that was cancelled, or whose client
// left, has nobody waiting and stays in State until whoever serves it brings its result to finish().
#include "daemon/core/serving/operations.hpp"

#include <iterator>
#include <utility>

namespace dmb {
namespace {

Answer answer_of(const Operation& operation, const OperationAnswer& result)
{
    Answer out{.serial = operation.id.serial, .fingerprint = operation.fingerprint};
    out.request = result.request;
    if (!result.held) {
        out.kind = AnswerKind::error;
        out.code = result.held.error().code;
        out.reason = result.held.error().reason.view();
    } else if (result.held->empty()) {
        out.kind = AnswerKind::number;
        out.number = result.cost_ns;
    } else {
        out.kind = AnswerKind::holds;
        out.first = result.held->front().handle;
        out.number = result.held->size();
        out.contents_written = result.held->front().contents_written;
    }
    return out;
}

} // namespace

void Operations::begin(const Operation& operation, OperationDone done)
{
    state_.begin_operation(operation);
    waiting_.emplace(operation.id, std::move(done));
}

std::size_t Operations::count(ClientId client) const
{
    const auto& all = state_.operations();
    return static_cast<std::size_t>(std::distance(all.lower_bound({client, 0}), all.upper_bound({client, UINT64_MAX})));
}

bool Operations::is_wanted(const OperationId& id) const { return waiting_.contains(id); }

void Operations::finish(const OperationId& id, const OperationAnswer& answer)
{
    const Operation operation = *state_.find(id);
    state_.end_operation(id);
    auto waiting = waiting_.extract(id);
    if (!waiting) return;
    state_.note_answer(id.client, answer_of(operation, answer));
    waiting.mapped()(answer);
}

bool Operations::cancel(const OperationId& id)
{
    auto waiting = waiting_.extract(id);
    if (!waiting) return false;
    const OperationAnswer answer{fail(Errc::cancelled, "cancelled by the client"), {}};
    state_.abandon(id);
    state_.note_answer(id.client, answer_of(*state_.find(id), answer));
    waiting.mapped()(answer);
    return true;
}

std::vector<OperationId> Operations::abandon_all(ClientId client)
{
    std::vector<OperationId> out;
    for (auto at = waiting_.lower_bound({client, 0}); at != waiting_.end() && at->first.client == client;) {
        out.push_back(at->first);
        state_.abandon(at->first);
        at = waiting_.erase(at);
    }
    return out;
}

} // namespace dmb
