// SPDX-License-Identifier: MIT
// From what clients state to what is negotiated, and from what came of it to `why`.
#pragma once
#include "daemon/core/serving/allocation.hpp"
#include "daemon/core/state/state.hpp"
#include "daemon/policy/log_budget.hpp"

namespace dmb {

class Deciding {
public:
    explicit Deciding(State& state) : state_(state) {}

    /// Does the broker know it? From then on it stays known for this client.
    Result<bool> find_table(ClientId, const Digest&);
    /// With the last part, the whole table, for its digest to be computed.
    Result<std::optional<std::vector<std::byte>>> define_table(ClientId, const TablePart&);
    /// `digest` is that of the table's bytes, not what a client says it is.
    Result<> keep_table(ClientId, const Digest&, Capabilities);

    Result<Wish> wish_of(const ImageRequest&) const;
    /// `speaker`: who says it of itself; null: said of somebody else.
    Result<Party> party_of(const Participant&, const ClientState* speaker) const;

    /// Every negotiation leaves a record, and one line in the log when it concerned more than one participant or failed.
    DecisionPointer note(ClientId asker, DecisionRecord, Outcome, const Name& label, Instant now);
    /// Behind a request, or behind an image if the request is 0; the last one if both are 0.
    Result<Decision> why(ClientId, RequestId, ImageId, Instant now) const;

private:
    Result<> keep(ClientId, const Digest&, const TablePointer&);
    Result<> check_count(ClientId) const;
    DecisionPointer find(RequestId, ImageId) const;

    State& state_;
    LogBudget log_budget_;
};

} // namespace dmb
