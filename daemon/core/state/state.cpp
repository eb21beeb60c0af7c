// SPDX-License-Identifier: MIT
// The mutators of State, the only code that changes what there is. Each keeps the derived parts right (indices, sums of
// accounts, back lists) and calls the hook for everything of the saved state that it changed. They assume that the
// caller has checked what may be done: a number that does not exist is a bug of ours. Tokens and lineages are in
// tokens.cpp, a whole state as one value in whole.cpp.
#include "daemon/core/state/state.hpp"

#include <algorithm>
#include <cassert>

namespace dmb {
namespace {

bool is_timed(Instant lease_end) { return lease_end != Instant{} && lease_end != never; }

} // namespace

State::State(const Limits& limits, const Life& life)
    : limits_(limits),
      life_(life),
      accounts_(std::make_shared<Accounts>(limits)),
      tables_(accounts_),
      last_client_(life.first_id - 1),
      last_image_(life.first_id - 1),
      last_decision_(life.first_id - 1)
{
}

void State::changed(Change::What what, std::uint64_t id, std::uint64_t sub) const
{
    if (changed_) changed_({what, id, sub});
}

// --- readers ---------------------------------------------------------------------------------------

template <class Map> static const typename Map::mapped_type* find_in(const Map& map, typename Map::key_type id)
{
    const auto found = map.find(id);
    return found == map.end() ? nullptr : &found->second;
}

template <class Map> static const typename Map::mapped_type& at_in(const Map& map, typename Map::key_type id)
{
    const auto* found = find_in(map, id);
    assert(found);
    return *found;
}

const ClientRecord* State::find(ClientId id) const { return find_in(clients_, id); }
const ClientRecord& State::at(ClientId id) const { return at_in(clients_, id); }
const ImageRecord* State::find(ImageId id) const { return find_in(images_, id); }
const ImageRecord& State::at(ImageId id) const { return at_in(images_, id); }

const Hold* State::find(ClientId id, HandleId handle) const
{
    const auto& holds = at(id).holds;
    const auto found = holds.find(handle);
    return found == holds.end() ? nullptr : &found->second;
}

const OperationRecord* State::find(const OperationId& id) const
{
    const auto found = operations_.find(id);
    return found == operations_.end() ? nullptr : &found->second;
}

const Answer* State::find_answer(ClientId id, std::uint64_t serial) const
{
    const auto& answers = at(id).answers;
    const auto found = std::ranges::find(answers, serial, &Answer::serial);
    return found == answers.end() ? nullptr : &*found;
}

bool State::may_register(const MemoryKeys& keys, ClientId client) const
{
    return std::ranges::all_of(keys, [&](const MemoryKey& key) {
        const auto found = memory_.find(key);
        return found == memory_.end() || found->second.client == client;
    });
}

std::vector<ImageId> State::second_of(const Pairs& pairs, ImageId first)
{
    std::vector<ImageId> out;
    for (auto at = pairs.lower_bound({first, {}}); at != pairs.end() && at->first == first; ++at) out.push_back(at->second);
    return out;
}

Instant State::deadline() const
{
    if (!endings_.empty() || !revocations_.empty()) return {};
    const Instant lease = leases_.empty() ? never : leases_.begin()->first;
    return std::min({lease, tokens_.deadline(), dormant_.empty() ? never : dormant_until_});
}

ImageId State::lease_over(Instant now) const
{
    return leases_.empty() || leases_.begin()->first > now ? ImageId{} : leases_.begin()->second;
}

ClientId State::overdue(Instant now) const { return dormant_.empty() || dormant_until_ > now ? ClientId{} : *dormant_.begin(); }

std::uint64_t State::next_number(std::uint64_t& last)
{
    const auto from = more_numbers_ ? more_numbers_(std::max({last_client_, last_image_, last_decision_})) : std::nullopt;
    if (from) last_client_ = last_image_ = last_decision_ = *from - 1;
    return ++last;
}

// --- clients ---------------------------------------------------------------------------------------

void State::add_client(ClientState added)
{
    const ClientId id = added.id;
    last_client_ = std::max(last_client_, id.value);
    accounts_->open(id);
    clients_.emplace(id, ClientRecord{std::move(added), {}, {}});
    changed(Change::What::client, id.value);
}

void State::remove_client(ClientId id)
{
    set_partial_table(id, {});
    const Payer payer = client(id).payer();
    for (const StatedTable& stated : client(id).stated)
        if (stated.pays) accounts_->give_back(payer, cost_of_table(stated.table->rows.size()));
    clients_.erase(id);
    dormant_.erase(id);
    accounts_->close(id);
    changed(Change::What::client, id.value);
}

void State::set_resume_key(ClientId id, const Digest& hash)
{
    client(id).resume_key = hash;
    changed(Change::What::client, id.value);
}

void State::wake(ClientId id)
{
    client(id).dormant = false;
    dormant_.erase(id);
}

void State::count_wrong_token(ClientId id)
{
    ++client(id).wrong_tokens;
    changed(Change::What::client, id.value);
}

/// Each socket keeps its order; those of one may overtake the other's by any number.
bool State::note_request(ClientId id, std::uint64_t serial, Way way)
{
    ClientRecord& record = client(id);
    std::uint64_t& last = way == Way::channel ? record.last_channel_serial : record.last_serial;
    const std::uint64_t other = way == Way::channel ? record.last_serial : record.last_channel_serial;
    if (serial <= last) return false;
    if (serial <= other && (find_answer(id, serial) || find(OperationId{id, serial}))) return false;
    last = serial;
    changed(Change::What::client, id.value);
    return true;
}

void State::note_answer(ClientId id, Answer answer)
{
    ClientRecord& record = client(id);
    if (record.answers.size() < answers_kept) record.answers.push_back(std::move(answer));
    else {
        record.answers[record.oldest] = std::move(answer);
        record.oldest = (record.oldest + 1) % answers_kept;
    }
    changed(Change::What::client, id.value);
}

Result<> State::set_partial_table(ClientId id, PartialTable partial)
{
    ClientRecord& record = client(id);
    const auto cost = [](const PartialTable& t) { return Amount{.bytes = t.size}; };
    const Amount before = cost(record.partial);
    const Result<> fits = accounts_->change(record.payer(), before, cost(partial));
    if (!fits) accounts_->give_back(record.payer(), before);
    record.partial = fits ? std::move(partial) : PartialTable();
    changed(Change::What::client, id.value);
    return fits;
}

Result<> State::add_table(ClientId id, const Digest& digest, Capabilities table)
{
    ClientRecord& record = client(id);
    TRY(accounts_->take(record.payer(), cost_of_table(table.rows.size())));
    record.stated.push_back({tables_.add(digest, std::move(table), record.payer()), false});
    record.tables.push_back(digest);
    changed(Change::What::client, id.value);
    return {};
}

Result<> State::keep_table(ClientId id, const Digest& digest, const TablePointer& table)
{
    ClientRecord& record = client(id);
    TRY(accounts_->take(record.payer(), cost_of_table(table->rows.size())));
    record.stated.push_back({table, true});
    record.tables.push_back(digest);
    changed(Change::What::client, id.value);
    return {};
}

// --- images ----------------------------------------------------------------------------------------

void State::index(const ImageRecord& image)
{
    const ClientId registered_by = image.desc.backend == Backend::client ? image.owner.client : ClientId{};
    for (const MemoryKey& key : image.keys) {
        KnownMemory& known = memory_[key];
        known.client = registered_by;
        ++known.images;
    }
    if (is_timed(image.lease_end)) leases_.insert({image.lease_end, image.id});
    if (image.successor != ImageId{}) replaced_.insert({image.successor, image.id});
    if (image.copy.source != ImageId{}) copies_.insert({image.copy.source, image.id});
}

void State::unindex(const ImageRecord& image)
{
    for (const MemoryKey& key : image.keys) {
        const auto found = memory_.find(key);
        assert(found != memory_.end());
        if (--found->second.images == 0) memory_.erase(found);
    }
    leases_.erase({image.lease_end, image.id});
    replaced_.erase({image.successor, image.id});
    copies_.erase({image.copy.source, image.id});
}

Result<ImageId> State::add_image(ImageState added, Allocated memory)
{
    added.desc = memory.desc;
    added.keys = memory.keys;
    added.has_keeper = static_cast<bool>(memory.keeper);
    TRY(accounts_->take(added.owner, added.cost()));
    const ImageId id = added.id = ImageId{next_number(last_image_)};
    ImageRecord& image = images_[id];
    static_cast<ImageState&>(image) = std::move(added);
    image.fds = std::move(memory.fds);
    image.keeper = std::move(memory.keeper);
    image.unshared_count = memory.unshared_count;
    index(image);
    changed(Change::What::image, id.value);
    return id;
}

Allocated State::remove_image(ImageId id)
{
    ImageRecord& image = this->image(id);
    assert(image.holds.empty());
    unindex(image);
    accounts_->give_back(image.owner, image.cost());
    Allocated memory;
    memory.desc = image.desc;
    memory.fds = std::move(image.fds);
    memory.keeper = std::move(image.keeper);
    memory.keys = image.keys;
    memory.unshared_count = image.unshared_count;
    images_.erase(id);
    changed(Change::What::image, id.value);
    return memory;
}

void State::set_lease(ImageId id, Instant end)
{
    ImageRecord& image = this->image(id);
    leases_.erase({image.lease_end, id});
    image.lease_end = end;
    if (is_timed(end)) leases_.insert({end, id});
    changed(Change::What::image, id.value);
}

void State::set_successor(ImageId id, ImageId successor)
{
    ImageRecord& image = this->image(id);
    replaced_.erase({image.successor, id});
    image.successor = successor;
    replaced_.insert({successor, id});
    changed(Change::What::image, id.value);
}

void State::set_source(ImageId id, ImageId source)
{
    ImageRecord& image = this->image(id);
    copies_.erase({image.copy.source, id});
    image.copy.source = source;
    copies_.insert({source, id});
    changed(Change::What::image, id.value);
}

void State::set_decision(ImageId id, DecisionPointer decision)
{
    ImageRecord& image = this->image(id);
    image.decision = decision->id;
    image.decided = std::move(decision);
    changed(Change::What::image, id.value);
}

void State::note_copied(ImageId id, std::uint64_t cost_ns, Rung rung)
{
    ImageRecord& image = this->image(id);
    ++image.copy.info.count;
    image.copy.info.last_ns = cost_ns;
    image.copy.info.total_ns += cost_ns;
    image.desc.rung = rung;
    changed(Change::What::image, id.value);
}

void State::mark_revoked(ImageId id)
{
    image(id).revoked = true;
    changed(Change::What::image, id.value);
}

void State::mark_shared(ImageId id, bool may_reopen)
{
    ImageRecord& image = this->image(id);
    if (image.was_shared && image.may_reopen >= may_reopen) return;
    image.was_shared = true;
    image.may_reopen |= may_reopen;
    changed(Change::What::image, id.value);
}

Result<> State::add_read_only(ImageId id, const std::function<Result<UniqueFd>()>& open)
{
    ImageRecord& image = this->image(id);
    const Amount before = image.cost();
    Amount more = before;
    ++more.fds;
    TRY(accounts_->change(image.owner, before, more));
    Result<UniqueFd> opened = open();
    if (!opened) {
        (void)accounts_->change(image.owner, more, before);
        return std::unexpected(opened.error());
    }
    image.read_only = std::move(*opened);
    image.has_read_only = true;
    changed(Change::What::image, id.value);
    return {};
}

// --- holds -----------------------------------------------------------------------------------------

void State::link(HoldRecord& hold)
{
    use(hold.origin);
    std::vector<HoldId>& holds = image(image_of(hold.object)).holds;
    hold.position = holds.size();
    holds.push_back({hold.client, hold.handle});
}

Result<const Hold*> State::add_hold(Hold added)
{
    ClientRecord& record = client(added.client);
    if (record.holds.size() >= limits_.handles_per_client || record.last_handle == UINT32_MAX)
        return fail(Errc::quota_exceeded, "this client holds {} handles; close some", record.holds.size());
    const HandleId handle = added.handle = HandleId{++record.last_handle};
    HoldRecord& hold = record.holds[handle];
    static_cast<Hold&>(hold) = std::move(added);
    link(hold);
    changed(Change::What::hold, record.id.value, handle.value);
    return &hold;
}

void State::remove_hold(ClientId id, HandleId handle)
{
    ClientRecord& record = client(id);
    const auto found = record.holds.find(handle);
    const HoldRecord& hold = found->second;
    std::vector<HoldId>& holds = image(image_of(hold.object)).holds;
    const HoldId last = holds.back();
    holds[hold.position] = last;
    client(last.client).holds.at(last.handle).position = hold.position;
    holds.pop_back();
    drop(hold.origin);
    record.holds.erase(found);
    changed(Change::What::hold, id.value, handle.value);
}

// --- operations and decisions ----------------------------------------------------------------------

void State::begin_operation(const Operation& operation)
{
    OperationRecord record;
    static_cast<Operation&>(record) = operation;
    record.payer = client(operation.id.client).payer();
    [[maybe_unused]] const bool is_new = operations_.emplace(operation.id, record).second;
    assert(is_new);
    changed(Change::What::operation, operation.id.client.value, operation.id.serial);
}

Result<> State::charge(const OperationId& id, const Amount& amount)
{
    OperationRecord& operation = operations_.at(id);
    TRY(accounts_->change(operation.payer, operation.charge, amount));
    operation.charge = amount;
    return {};
}

void State::abandon(const OperationId& id)
{
    operations_.at(id).abandoned = true;
    changed(Change::What::operation, id.client.value, id.serial);
}

void State::end_operation(const OperationId& id)
{
    const auto found = operations_.find(id);
    accounts_->give_back(found->second.payer, found->second.charge);
    operations_.erase(found);
    changed(Change::What::operation, id.client.value, id.serial);
}

void State::add_decision(DecisionPointer decision)
{
    const std::uint64_t id = decision->id.value;
    history_.add(std::move(decision));
    changed(Change::What::decision, id);
}

} // namespace dmb
