// SPDX-License-Identifier: MIT
// State::save and State::load: a State as values, and back. What comes back may be torn or forged: every number must be
// of something that is there, and every descriptor be the memory that it stands for, before anything is served from it.
// load() works on an empty State; when it fails that State is useless and must be dropped. The bytes are
// net/state_codec's. Nothing but tests calls either so far.
#include "daemon/core/state/saved.hpp"
#include "daemon/core/state/state.hpp"

#include "proto/image/fd_identity.hpp"

#include <algorithm>
#include <cassert>

namespace dmb {
namespace {

/// A client that does not come back by then is gone.
constexpr std::uint64_t return_ns = 30'000'000'000;

Error bad(std::string_view what) { return {Errc::invalid_argument, BoundedText<240>(fmt::format("bad state: {}", what))}; }

#define CHECK(condition, what)                                                                                                 \
    if (!(condition)) return std::unexpected(bad(what))

/// In the order of their ids, so that one State has one form.
template <class Values, class Key> void sort_by(Values& values, Key key) { std::ranges::sort(values, {}, key); }

/// Numbers are JSON numbers somewhere.
bool is_number(std::uint64_t n) { return n < 1ULL << 53; }

} // namespace

// --- to values -------------------------------------------------------------------------------------

Saved State::save(std::vector<int>& fds)
{
    sweep({}, SIZE_MAX);
    Saved out{
        .last_client = last_client_, .last_image = last_image_, .last_decision = last_decision_, .last_lineage = last_lineage_};
    for (const Digest& digest : tables_.all()) out.tables.push_back({digest, *tables_.find(digest), tables_.payer(digest)});
    std::vector<DecisionPointer> decisions(history_.all().begin(), history_.all().end());
    for (const auto& [_, record] : clients_) {
        ClientState& client = out.clients.emplace_back(record);
        std::ranges::rotate(client.answers, client.answers.begin() + static_cast<std::ptrdiff_t>(record.oldest));
        for (const auto& entry : record.holds) out.holds.push_back(entry.second);
    }
    for (const auto& [_, lineage] : lineages_) out.lineages.push_back(lineage);
    for (const auto& [_, image] : images_) {
        out.images.push_back(image);
        if (image.decided) decisions.push_back(image.decided);
    }
    for (const auto& [_, operation] : operations_)
        if (!operation.abandoned) out.operations.push_back(operation);
    out.tokens = tokens_.all();
    out.ended_tokens = tokens_.all_ended();
    sort_by(out.clients, &ClientState::id);
    sort_by(out.images, &ImageState::id);
    sort_by(out.lineages, &Lineage::id);
    sort_by(out.tokens, &TokenRecord::lineage);
    sort_by(out.holds, [](const Hold& h) { return std::pair(h.client, h.handle); });
    sort_by(decisions, [](const DecisionPointer& d) { return d->id; });
    decisions.erase(std::ranges::unique(decisions).begin(), decisions.end());
    for (const DecisionPointer& d : decisions) out.decisions.push_back({describe(*d, d->made), d->asker, d->made});
    for (const ImageState& state : out.images) {
        const ImageRecord& image = at(state.id);
        for (const UniqueFd& fd : image.fds) fds.push_back(fd.get());
        if (image.keeper) fds.push_back(image.keeper.get());
        if (image.read_only) fds.push_back(image.read_only.get());
    }
    return out;
}

// --- and back --------------------------------------------------------------------------------------

Result<> State::load(Saved saved, std::vector<UniqueFd> fds, Instant now)
{
    CHECK(is_number(saved.last_client) && is_number(saved.last_image) && is_number(saved.last_decision),
          "a number is too large");
    last_client_ = std::max(last_client_, saved.last_client);
    last_image_ = std::max(last_image_, saved.last_image);
    last_decision_ = std::max(last_decision_, saved.last_decision);
    last_lineage_ = saved.last_lineage;
    dormant_until_ = after(now, return_ns);
    std::vector<TablePointer> kept; // until whoever refers to them is there
    TRY(load_tables(saved, kept));
    TRY(load_clients(saved));
    TRY(load_lineages(saved));
    TRY(load_images(saved, std::move(fds)));
    TRY(load_holds(saved));
    TRY(load_tokens(saved));
    TRY(load_decisions(saved));
    for (const Operation& operation : saved.operations) {
        CHECK(find(operation.id.client), "an operation of nobody");
        interrupt(operation);
    }
    return {};
}

Result<> State::load_tables(Saved& saved, std::vector<TablePointer>& kept)
{
    for (SavedTable& table : saved.tables) {
        CHECK(!tables_.find(table.digest) && is_canonical(table.table), "a table");
        accounts_->open(table.payer.client); // closed again for those who are gone
        accounts_->restore(table.payer, cost_of_table(table.table.rows.size()));
        kept.push_back(tables_.add(table.digest, std::move(table.table), table.payer));
    }
    return {};
}

Result<> State::load_clients(Saved& saved)
{
    for (ClientState& client : saved.clients) {
        CHECK(client.id != ClientId{} && client.id.value <= last_client_ && !find(client.id), "a client's number");
        CHECK(client.answers.size() <= answers_kept, "too many answers");
        for (const Answer& answer : client.answers)
            CHECK(answer.kind != AnswerKind::holds || answer.number > 0, "an answer with no holds");
        const ClientId id = client.id;
        const std::vector<Digest> tables = std::exchange(client.tables, {});
        PartialTable partial = std::exchange(client.partial, {});
        add_client(std::move(client));
        for (const Digest& digest : tables) {
            const TablePointer table = tables_.find(digest);
            CHECK(table, "a table that is not there");
            const bool pays = tables_.payer(digest).client != id;
            if (pays) accounts_->restore(at(id).payer(), cost_of_table(table->rows.size()));
            this->client(id).stated.push_back({table, pays});
            this->client(id).tables.push_back(digest);
        }
        TRY(set_partial_table(id, std::move(partial)));
        this->client(id).dormant = true;
        dormant_.insert(id);
    }
    for (const SavedTable& table : saved.tables)
        if (!find(table.payer.client)) accounts_->close(table.payer.client);
    return {};
}

/// Parents come first: they were made first.
Result<> State::load_lineages(const Saved& saved)
{
    for (const Lineage& lineage : saved.lineages) {
        const bool is_root = lineage.parent == LineageId{};
        const auto parent = lineages_.find(lineage.parent);
        CHECK(lineage.id != LineageId{} && lineage.id.value <= last_lineage_, "a lineage's number");
        CHECK(is_root || parent != lineages_.end(), "a lineage from nowhere");
        CHECK(lineage.depth == (is_root ? 0 : parent->second.depth + 1) && lineage.depth <= most_depth, "a lineage's depth");
        LineageRecord record;
        static_cast<Lineage&>(record) = lineage;
        CHECK(lineages_.emplace(lineage.id, record).second, "a lineage twice");
        use(lineage.parent);
    }
    return {};
}

Result<> State::find_table_of(Party& party) const
{
    if (party.demands.capabilities == Digest{}) return {};
    party.table = tables_.find(party.demands.capabilities);
    CHECK(party.table, "a participant's table is not there");
    return {};
}

namespace {

Result<> check_descriptor(int fd, const MemoryKey* key, std::uint64_t size)
{
    const FdIdentity found = identify(fd);
    CHECK(!key || (found.mount == key->mount && found.inode == key->inode), "a descriptor is not the image's memory");
    CHECK(found.type == FdType::other || found.size >= size, "an image's memory is too small");
    return {};
}

} // namespace

Result<> State::load_images(Saved& saved, std::vector<UniqueFd> fds)
{
    std::size_t next = 0;
    const auto take = [&](const MemoryKey* key, std::uint64_t size) -> Result<UniqueFd> {
        CHECK(next < fds.size() && fds[next], "a descriptor is missing");
        TRY(check_descriptor(fds[next].get(), key, size));
        return std::move(fds[next++]);
    };
    for (ImageState& state : saved.images) {
        CHECK(state.id != ImageId{} && state.id.value <= last_image_ && !find(state.id), "an image's number");
        CHECK(check_layout(state.desc), "an image's layout");
        CHECK(state.successor == ImageId{} || state.successor > state.id, "an image's successor");
        CHECK(state.keys.empty() || state.keys.size() == state.desc.memories.size(), "an image's memories");
        ImageRecord image;
        static_cast<ImageState&>(image) = state;
        for (std::size_t i = 0; i < state.desc.memories.size(); ++i)
            image.fds.push_back(TRY(take(state.keys.empty() ? nullptr : &state.keys[i], state.desc.memories[i].size)));
        const MemoryKey* first = state.keys.empty() ? nullptr : &state.keys[0];
        if (state.has_keeper) image.keeper = TRY(take(first, 0));
        if (state.has_read_only) image.read_only = TRY(take(first, 0));
        if (image.wanted)
            for (Party& party : image.wanted->parties) TRY(find_table_of(party));
        accounts_->restore(image.owner, image.cost());
        index(image);
        images_.emplace(state.id, std::move(image));
    }
    CHECK(next == fds.size(), "descriptors of nothing");
    return {};
}

Result<> State::load_holds(Saved& saved)
{
    for (Hold& hold : saved.holds) {
        CHECK(find(hold.client) && find(image_of(hold.object)), "a hold of or on nothing");
        CHECK(hold.handle != HandleId{} && hold.handle.value <= at(hold.client).last_handle, "a handle's number");
        CHECK(hold.origin == LineageId{} || lineages_.contains(hold.origin), "a hold's origin");
        CHECK(!hold.read_only || at(image_of(hold.object)).read_only, "a readers' descriptor is missing");
        const bool spoke = hold.party && hold.party->client == hold.client;
        CHECK(hold.said == Said::itself ? spoke : !hold.party, "what a holder said");
        if (hold.party) {
            Party party = *hold.party;
            TRY(find_table_of(party));
            hold.party = std::make_shared<const Party>(std::move(party));
        }
        const auto [added, is_new] = client(hold.client).holds.try_emplace(hold.handle);
        CHECK(is_new, "a handle twice");
        static_cast<Hold&>(added->second) = std::move(hold);
        link(added->second);
    }
    return {};
}

Result<> State::load_tokens(const Saved& saved)
{
    for (const TokenRecord& token : saved.tokens) {
        CHECK(find(image_of(token.object)) && lineages_.contains(token.lineage) && !tokens_.find(token.token), "a token");
        use(token.lineage);
        accounts_->restore(token.payer, {.tokens = 1});
        tokens_.add(token);
        revocations_[token.object] = tokens_.of(token.object).size();
    }
    for (const EndedToken& token : saved.ended_tokens) {
        CHECK(lineages_.contains(token.lineage) && !tokens_.find_ended(token.token), "an ended token");
        use(token.lineage);
        tokens_.restore(token);
    }
    CHECK(std::ranges::all_of(lineages_, [](const auto& l) { return l.second.uses > 0; }), "a lineage of nothing");
    return {};
}

Result<> State::load_decisions(Saved& saved)
{
    std::unordered_map<RequestId, DecisionPointer> known;
    for (SavedDecision& d : saved.decisions) {
        CHECK(d.decision.id.value <= last_decision_, "a decision's number");
        DecisionRecord record{.id = d.decision.id, .asker = d.asker, .made = d.made, .image = d.decision.image};
        record.told = std::move(d.decision);
        auto decision = std::make_shared<const DecisionRecord>(std::move(record));
        CHECK(known.emplace(decision->id, decision).second, "a decision twice");
        history_.add(std::move(decision));
    }
    for (auto& [_, image] : images_) {
        if (image.decision == RequestId{}) continue;
        CHECK(known.contains(image.decision), "an image's decision is not there");
        image.decided = known.at(image.decision);
    }
    return {};
}

/// Whoever waited for it is told to ask again.
void State::interrupt(const Operation& operation)
{
    static constexpr std::string_view names[] = {"allocation", "joining", "refresh", "warm-up"};
    const auto index = static_cast<std::size_t>(operation.kind) - 1;
    note_answer(operation.id.client, {.serial = operation.id.serial,
                                      .fingerprint = operation.fingerprint,
                                      .kind = AnswerKind::error,
                                      .code = Errc::interrupted,
                                      .reason = fmt::format("the broker restarted during the {}; repeat it", names[index])});
}

} // namespace dmb
