// SPDX-License-Identifier: MIT
// From what clients state to what is negotiated, and from what came of it to `why`. Every negotiation leaves a
// record, and one line in the log when it concerned more than one participant or failed.
#include "daemon/core/serving/broker.hpp"

#include "proto/base/log.hpp"

#include <algorithm>

namespace dmb {
namespace {

Error unknown_table(const wire::Participant& participant)
{
    const std::string_view name = participant.name.empty() ? "a participant" : participant.name.view();
    return {Errc::invalid_argument,
            BoundedText<240>(fmt::format("the capability table of {} ({}...) is not known here; it must be stated first, and "
                                         "whoever stated it must still be connected",
                                         name, to_string(participant.capabilities).substr(0, 12)))};
}

} // namespace

// --- tables ----------------------------------------------------------------------------------------

Result<bool> Broker::find_table(ClientId id, const wire::FindCapabilities& request)
{
    ClientRecord& record = client(id);
    const TablePointer table = tables_.find(request.digest);
    if (!table) return false;
    TRY(keep_table(record, table));
    return true;
}

Result<std::optional<std::vector<std::byte>>> Broker::define_table(ClientId id, const wire::DefineCapabilities& part)
{
    ClientRecord& record = client(id);
    StatedTables& stated = record.stated;
    TRY(add_part(stated, part));
    if (part.offset == 0) {
        stated.partial_charge = {};
        auto charge = Charge::take(record.account, record.uid_account, {.bytes = part.size});
        if (!charge) {
            stated.size = 0;
            stated.partial = {};
            return std::unexpected(charge.error());
        }
        stated.partial_charge = std::move(*charge);
    }
    if (stated.partial.size() < stated.size) return std::optional<std::vector<std::byte>>();
    stated.size = 0;
    stated.partial_charge = {};
    return std::exchange(stated.partial, {});
}

Result<> Broker::keep_table(ClientId id, const Digest& digest, Capabilities table)
{
    ClientRecord& record = client(id);
    if (!is_canonical(table))
        return fail(Errc::invalid_argument,
                    "the rows of a capability table must be sorted by kind, format and modifier, each of these once");
    const Device& device = table.device;
    if (!is_printable(device.node) || !is_printable(device.driver) || !is_printable(device.version))
        return fail(Errc::invalid_argument, "names of devices must be printable UTF-8 without control characters");
    if (TablePointer known = tables_.find(digest)) return keep_table(record, std::move(known));
    Charge charge = TRY(charge_table(record, table.rows.size()));
    record.stated.tables.push_back({tables_.add(digest, std::move(table), std::move(charge)), {}});
    return {};
}

/// Whoever states a table pays for it, also when others stated the same: they may leave first.
Result<> Broker::keep_table(ClientRecord& record, TablePointer table)
{
    auto& tables = record.stated.tables;
    if (std::ranges::find(tables, table, &StatedTables::Entry::table) != tables.end()) return {};
    Charge charge = TRY(charge_table(record, table->rows.size()));
    tables.push_back({std::move(table), std::move(charge)});
    return {};
}

Result<Charge> Broker::charge_table(const ClientRecord& record, std::size_t rows)
{
    if (record.stated.tables.size() >= limits::capability_tables)
        return fail(Errc::quota_exceeded, "a client states at most {} capability tables", limits::capability_tables);
    return Charge::take(record.account, record.uid_account, cost_of_table(rows));
}

// --- wishes ----------------------------------------------------------------------------------------

Result<Party> Broker::party_of(const wire::Participant& participant, const ClientRecord* speaker) const
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
    party.table = tables_.find(participant.capabilities);
    if (!party.table) return std::unexpected(unknown_table(participant));
    return party;
}

Result<Wish> Broker::wish_of(const wire::Allocate& request) const
{
    if (request.participants.size() > limits::participants)
        return fail(Errc::invalid_argument, "an image has at most {} participants, this request names {}", limits::participants,
                    request.participants.size());
    if (request.has_contents && !request.alternatives.empty())
        return fail(Errc::invalid_argument, "initial contents are in one format; leave the alternative formats out");
    Wish wish{.spec = request.spec, .alternatives = {}, .parties = {}};
    wish.alternatives.assign(request.alternatives.begin(), request.alternatives.end());
    for (const wire::Participant& participant : request.participants)
        wish.parties.push_back(TRY(party_of(participant, nullptr)));
    return wish;
}

// --- decisions -------------------------------------------------------------------------------------

DecisionPointer Broker::decide(const ClientRecord& asker, DecisionRecord decision, Outcome outcome, const Order& order,
                               ImageId image)
{
    decision.asker = asker.id;
    decision.pid = asker.peer.pid;
    decision.label = order.label;
    decision.made = order.now;
    decision.plan = std::move(outcome.plan);
    decision.candidates = std::move(outcome.candidates);
    decision.wish = std::move(outcome.wish);
    decision.image = image;
    auto made = std::make_shared<const DecisionRecord>(std::move(decision));
    decisions_.add(made);
    const bool matters = !made->wish.parties.empty() || image == ImageId{};
    if (const auto left_out = matters ? log_budget_.spend(account_key(asker.peer, asker.id.value), order.now) : std::nullopt)
        log::info("request {} of client {} (pid {}): {}{}", made->id.value, asker.id.value, asker.peer.pid,
                  summary(dmb::describe(*made, order.now)), *left_out ? fmt::format(" ({} more not shown)", *left_out) : "");
    return made;
}

Result<Decision> Broker::why(ClientId id, const wire::Why& request, Instant now) const
{
    const ClientRecord& asking = clients_.at(id);
    const auto may_see = [&](const DecisionRecord& d) {
        const auto holds = [&](const auto& entry) { return entry.second.image == d.image; };
        return asking.manager || d.asker == id || (d.image != ImageId{} && std::ranges::any_of(asking.holds, holds));
    };
    DecisionPointer found;
    if (request.request != RequestId{}) found = decisions_.find(request.request);
    if (request.request != RequestId{} && !found) // an image keeps its own for longer
        for (const auto& [_, image] : images_)
            if (image.decision && image.decision->id == request.request) found = image.decision;
    if (const auto image = images_.find(request.image); image != images_.end() && (!found || request.request == RequestId{}))
        if (image->second.decision && (request.request == RequestId{} || image->second.decision->id == request.request))
            found = image->second.decision;
    if (request.request == RequestId{} && request.image == ImageId{})
        for (const DecisionPointer& d : decisions_.all())
            if (may_see(*d)) found = d;
    if (!found || !may_see(*found))
        return fail(Errc::not_found, "no decision that this client may see: images that were registered have none, and of "
                                     "failed requests only the last ones are kept");
    return dmb::describe(*found, now);
}

Result<> Broker::manage_proofs(ClientId id, const wire::ManageProofs& request, Instant now)
{
    if (!client(id).manager) return fail(Errc::denied, "only a manager connection may clear or warm proofs");
    if (request.action == wire::ProofAction::clear) {
        proofs_.clear();
        for (Allocator* allocator : allocations_.allocators()) allocator->forgive();
        allocations_.devices_changed(now);
        return {};
    }
    std::vector<Party> importers;
    for (const auto& [_, other] : clients_)
        for (const StatedTables::Entry& entry : other.stated.tables)
            importers.push_back({.demands = {.name = other.name, .usage = UsageFlag::sample}, .table = entry.table});
    allocations_.warm_up(now, std::move(importers));
    return {};
}

} // namespace dmb
