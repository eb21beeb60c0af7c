// SPDX-License-Identifier: MIT
// Deciding, a member of the Broker: keeps the capability tables that clients state, makes a Wish of what a request says
// and of them, and answers `why`. A client sees the decisions it asked for and those behind images it holds; managers
// see all. What is negotiated is for negotiate.cpp, the sentences are for reasons.cpp, the digest of a table is for
// whoever has its bytes (net/dispatch).
#include "daemon/core/deciding/deciding.hpp"

#include "proto/base/log.hpp"

#include <algorithm>

namespace dmb {
namespace {

Error unknown_table(const Participant& participant)
{
    const std::string_view name = participant.name.empty() ? "a participant" : participant.name.view();
    return {Errc::invalid_argument,
            BoundedText<240>(fmt::format("the capability table of {} ({}...) is not known here; it must be stated first, and "
                                         "whoever stated it must still be connected",
                                         name, to_string(participant.capabilities).substr(0, 12)))};
}

} // namespace

// --- tables ----------------------------------------------------------------------------------------

Result<bool> Deciding::find_table(ClientId id, const Digest& digest)
{
    const TablePointer table = state_.find_table(digest);
    if (!table) return false;
    TRY(keep(id, digest, table));
    return true;
}

Result<std::optional<std::vector<std::byte>>> Deciding::define_table(ClientId id, const TablePart& part)
{
    PartialTable partial = state_.at(id).partial;
    const Result<> good = add_part(partial, part);
    const bool whole = good && partial.bytes.size() == partial.size;
    TRY(state_.set_partial_table(id, good && !whole ? partial : PartialTable()));
    TRY(good);
    if (!whole) return std::optional<std::vector<std::byte>>();
    return std::move(partial.bytes);
}

Result<> Deciding::keep_table(ClientId id, const Digest& digest, Capabilities table)
{
    if (!is_canonical(table))
        return fail(Errc::invalid_argument,
                    "the rows of a capability table must be sorted by kind, format and modifier, each of these once");
    const Device& device = table.device;
    if (!is_printable(device.node) || !is_printable(device.driver) || !is_printable(device.version))
        return fail(Errc::invalid_argument, "names of devices must be printable UTF-8 without control characters");
    if (const TablePointer known = state_.find_table(digest)) return keep(id, digest, known);
    TRY(check_count(id));
    return state_.add_table(id, digest, std::move(table));
}

Result<> Deciding::keep(ClientId id, const Digest& digest, const TablePointer& table)
{
    const auto& stated = state_.at(id).tables;
    if (std::ranges::find(stated, digest) != stated.end()) return {};
    TRY(check_count(id));
    return state_.keep_table(id, digest, table);
}

Result<> Deciding::check_count(ClientId id) const
{
    if (state_.at(id).tables.size() < limits::capability_tables) return {};
    return fail(Errc::quota_exceeded, "a client states at most {} capability tables", limits::capability_tables);
}

// --- wishes ----------------------------------------------------------------------------------------

Result<Party> Deciding::party_of(const Participant& participant, const ClientState* speaker) const
{
    if (!is_printable(participant.name))
        return fail(Errc::invalid_argument, "names must be printable UTF-8 without control or direction characters");
    Party party{.demands = participant};
    if (speaker) {
        party.pid = speaker->peer.pid;
        party.client = speaker->id;
        if (party.demands.name.empty()) party.demands.name = speaker->name;
    }
    if (participant.capabilities == Digest{}) return party;
    party.table = state_.find_table(participant.capabilities);
    if (!party.table) return std::unexpected(unknown_table(participant));
    return party;
}

Result<Wish> Deciding::wish_of(const ImageRequest& request) const
{
    if (request.participants.size() > limits::participants)
        return fail(Errc::invalid_argument, "an image has at most {} participants, this request names {}", limits::participants,
                    request.participants.size());
    Wish wish{.spec = request.spec, .alternatives = {}, .parties = {}};
    wish.alternatives.assign(request.alternatives.begin(), request.alternatives.end());
    for (const Participant& participant : request.participants) wish.parties.push_back(TRY(party_of(participant, nullptr)));
    return wish;
}

// --- decisions -------------------------------------------------------------------------------------

DecisionPointer Deciding::note(ClientId asker, DecisionRecord decision, Outcome outcome, const Name& label, Instant now)
{
    const ClientState& client = state_.at(asker);
    decision.asker = asker;
    decision.pid = client.peer.pid;
    decision.label = label;
    decision.made = now;
    decision.plan = std::move(outcome.plan);
    decision.candidates = std::move(outcome.candidates);
    decision.wish = std::move(outcome.wish);
    auto made = std::make_shared<const DecisionRecord>(std::move(decision));
    state_.add_decision(made);
    const bool matters = !made->wish.parties.empty() || made->image == ImageId{};
    if (const auto left_out = matters ? log_budget_.spend(client.payer().user, now) : std::nullopt)
        log::info("request {} of client {} (pid {}): {}{}", made->id.value, asker.value, client.peer.pid,
                  summary(dmb::describe(*made, now)), *left_out ? fmt::format(" ({} more not shown)", *left_out) : "");
    return made;
}

DecisionPointer Deciding::find(RequestId request, ImageId asked) const
{
    const ImageRecord* image = state_.find(asked);
    if (request == RequestId{}) return image ? image->decided : nullptr;
    if (DecisionPointer recent = state_.history().find(request)) return recent;
    for (const auto& [_, other] : state_.images()) // an image keeps its own for longer
        if (other.decision == request) return other.decided;
    return nullptr;
}

Result<Decision> Deciding::why(ClientId id, RequestId request, ImageId image, Instant now) const
{
    const ClientRecord& asking = state_.at(id);
    const auto may_see = [&](const DecisionRecord& d) {
        const auto holds = [&](const auto& entry) {
            const ImageRecord* held = state_.find(image_of(entry.second.object));
            return held && held->decision == d.id;
        };
        return asking.manager || d.asker == id || std::ranges::any_of(asking.holds, holds);
    };
    DecisionPointer found = find(request, image);
    if (request == RequestId{} && image == ImageId{})
        for (const DecisionPointer& d : state_.history().all())
            if (may_see(*d)) found = d;
    if (!found || !may_see(*found))
        return fail(Errc::not_found, "no decision that this client may see: images that were registered have none, and of "
                                     "failed requests only the last ones are kept");
    return dmb::describe(*found, now);
}

} // namespace dmb
