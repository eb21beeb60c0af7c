// SPDX-License-Identifier: MIT
// The script. Each step says what it was answered; ages and numbers are the same in every run, tokens and keys are never
// said. What is said must not depend on which broker answers.
#include "tests/daemon/state_world.hpp"

#include "daemon/core/state/saved.hpp"
#include "proto/wire/codec.hpp"
#include "proto/wire/digest.hpp"
#include "proto/wire/json.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace dmb::test {
namespace {

constexpr std::uint64_t second = 1'000'000'000;
/// Half a page more than whole ones: the tables that only decisions remember are not needed any more, nor paid for, once
/// these are in words; together they are smaller than that.
constexpr Limits quotas{.client = {.bytes = 1 << 20, .images = 400, .fds = 4000, .tokens = 9},
                        .uid = {.bytes = (900 << 10) + 2048, .images = 400, .fds = 4000, .tokens = 12}};

std::uint64_t fingerprint(const std::string& text)
{
    std::uint64_t hash = 14695981039346656037ULL;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    return hash;
}

void put(std::vector<std::byte>& out, const void* bytes, std::size_t size)
{
    const auto* from = static_cast<const std::byte*>(bytes);
    out.insert(out.end(), from, from + size);
}
void put(std::vector<std::byte>& out, const std::string& text)
{
    const std::uint64_t size = text.size();
    put(out, &size, sizeof size);
    put(out, text.data(), text.size());
}
std::string take(std::span<const std::byte>& from)
{
    std::uint64_t size = 0;
    std::memcpy(&size, from.data(), sizeof size);
    std::string out(reinterpret_cast<const char*>(from.data()) + sizeof size, size);
    from = from.subspan(sizeof size + size);
    return out;
}

/// What carol had serves nobody else.
bool may_reopen(const std::string& who) { return who == "carol"; }

const Capabilities& gpu_table()
{
    static const Capabilities table = make_table({tiled, swizzled, modifier_linear}, Api::egl, true);
    return table;
}
Result<std::vector<std::byte>> encoded(const Decision& decision)
{
    std::vector<std::byte> out(limits::packet_bytes);
    out.resize(TRY(wire::encode(wire::WhyReply{decision}, 1, out)));
    return out;
}
/// As a number, because sentences of everything take long; with DMABROKER_SHOW, as they are.
template <class Json> std::string in_short(const Result<std::vector<std::byte>>& bytes, Json json)
{
    if (std::getenv("DMABROKER_SHOW")) return json();
    return fmt::format("{:x}", fingerprint(std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size())));
}
const Capabilities& long_table()
{
    static const Capabilities table = [] {
        Capabilities out = make_table({}, Api::other, false, "long");
        for (std::uint64_t i = 0; i < 200; ++i) out.rows.push_back({.format = fourcc("AB24"), .modifier = {i}});
        return out;
    }();
    return table;
}

} // namespace

std::vector<std::byte> to_bytes(const Memory& memory)
{
    std::vector<std::byte> out;
    put(out, memory.trace);
    for (const auto& [name, value] : memory.values) {
        put(out, name);
        put(out, value.data(), value.size());
    }
    return out;
}

Memory memory_from(std::span<const std::byte> bytes)
{
    Memory out;
    out.trace = take(bytes);
    while (!bytes.empty()) {
        const std::string name = take(bytes);
        std::memcpy(out.values[name].data(), bytes.data(), 16);
        bytes = bytes.subspan(16);
    }
    return out;
}

// --- the world -------------------------------------------------------------------------------------

std::vector<Exports> a_gpu_comes()
{
    std::vector<Exports> out = FakeGpu().known;
    for (Capability& row : out[0].rows)
        if (row.modifier == modifier_linear) row.usage = row.usage | usage_cpu;
    return out;
}

World::World()
{
    gpu_.known.clear();
    pool_.emplace(64ULL << 20);
    broker_.emplace(quotas, std::vector<Allocator*>{&memfd_, &gpu_}, *pool_, proofs_, Helpers{{&prover_}, &system_}, *this);
    broker_->state().on_change([this](const Change&) { ++changes; });
    memory.number("now") = 1000 * second;
}

World::~World()
{
    broker_.reset();
    pool_.reset();
}

void World::step(std::size_t i)
{
    say(std::string("-- ") + steps[i].name);
    (this->*steps[i].run)();
    std::ranges::sort(events_); // who is told first is nobody's concern
    for (const std::string& event : std::exchange(events_, {})) say(event);
    pool_->trim(after(now(), 100 * second)); // what it keeps is no state
}

Result<> World::go_on(Saved saved, std::vector<UniqueFd> fds, Memory known)
{
    memory = std::move(known);
    const std::string trace = memory.trace; // what a resume does is not said
    if (memory.number("gpu is there")) gpu_.known = a_gpu_comes();
    gpu_.answers.held = gpu_.hands.answers.held = memory.number("gpu hangs") != 0;
    broker_->devices_changed(now());
    TRY(broker_->state().load(std::move(saved), std::move(fds), now()));
    memory.trace = trace;
    std::vector<std::string> clients;
    for (const auto& [name, _] : memory.values)
        if (name.starts_with("key ")) clients.push_back(name.substr(4));
    for (const std::string& who : clients) come_back(who);
    return {};
}

void World::come_back(const std::string& who)
{
    const Peer peer{static_cast<std::uint32_t>(memory.number("pid " + who)),
                    static_cast<std::uint32_t>(memory.number("uid " + who)), memory.number("unmapped " + who) != 0,
                    may_reopen(who)};
    const Result<Resumed> resumed = broker_->resume(memory.values["key " + who], peer, memory.number("manager " + who) != 0);
    if (!resumed) return say(who + " cannot come back", resumed.error());
    memory.values["key " + who] = resumed->key;
    if (resumed->client != id(who)) say(who + " is somebody else now");
    std::vector<std::string> pending;
    for (const auto& [name, _] : memory.values)
        if (name.starts_with("pending " + who)) pending.push_back(name.substr(8));
    for (const std::string& operation : pending) {
        const std::uint64_t serial = memory.number("pending " + operation);
        const Begun begun = broker_->begin(id(who), serial, fingerprint(operation));
        if (begun.begin != Begin::answered || begun.answer->code != Errc::interrupted ||
            begun.answer->reason.find(operation.find("refresh") != std::string::npos ? "refresh" : "allocation") ==
                std::string::npos)
            say(operation + " was not interrupted");
        start(operation);
    }
}

void World::image_revoked(ClientId client, HandleId handle)
{
    events_.push_back(fmt::format("client {} is told: handle {} revoked", client.value, handle.value));
}

void World::image_replaced(ClientId client, HandleId handle, ImageId image, RequestId request)
{
    events_.push_back(fmt::format("client {} is told: handle {} replaced by image {}, request {}", client.value, handle.value,
                                  image.value, request.value));
}

// --- what steps are made of ------------------------------------------------------------------------

void World::say(const std::string& what, const Error& error)
{
    say(fmt::format("{}: {}: {}", what, name(error.code), error.reason.view()));
}

std::string World::describe(const Held& held)
{
    return fmt::format(
               "handle {} image {} request {} source {} rights {} protection {} written {} fds {} size {} {} {} rung {}",
               held.handle.value, held.image.value, held.request.value, held.source.value, to_string(held.rights),
               name(held.protection), held.contents_written, held.fds.size(), held.desc->total_size(), name(held.desc->backend),
               to_string(held.desc->modifier), name(held.desc->rung)) +
           fmt::format(" mode {}", ::fcntl(held.fds[0], F_GETFL) & O_ACCMODE);
}

void World::keep(const std::string& what, const Result<Held>& held)
{
    if (!held) return say(what, held.error());
    say(what + ": " + describe(*held));
    memory.number("handle " + what) = held->handle.value;
}

Digest World::table(const std::string& who, const Capabilities& what)
{
    const Digest digest = *wire::digest_of(what);
    const Result<> kept = broker_->deciding().keep_table(id(who), digest, what);
    if (!kept) say(who + "'s table", kept.error());
    return digest;
}

void World::connect(const std::string& who, std::uint32_t uid, bool manager, bool unmapped)
{
    const ClientId client = broker_->new_client_id();
    memory.number("client " + who) = client.value;
    memory.number("pid " + who) = 100 + client.value;
    memory.number("uid " + who) = uid;
    memory.number("manager " + who) = manager;
    memory.number("unmapped " + who) = unmapped;
    const Peer peer{static_cast<std::uint32_t>(100 + client.value), uid, unmapped, may_reopen(who)};
    if (!broker_->connect(client, peer, manager, std::string_view(who))) return say("not connected");
    memory.values["key " + who] = *broker_->make_resume_key(client);
    say(fmt::format("{} is client {}", who, client.value));
}

void World::disconnect(const std::string& who)
{
    broker_->disconnect(id(who), now());
    memory.values.erase("key " + who);
}

Participant World::participant(const std::string& who, const Capabilities& what, Usage usage, std::string_view name)
{
    return {.name = name, .capabilities = table(who, what), .usage = usage};
}

ImageRequest World::want(const std::string& operation)
{
    ImageRequest out;
    out.spec.size = {64, 64};
    out.spec.format = fourcc("AB24");
    out.label = std::string_view(operation);
    out.spec.usage = UsageFlag::render;
    const std::string what = operation.substr(operation.find(' ') + 1);
    if (what == "software") out.spec.usage = UsageFlag::sample;
    if (what == "software" || what == "tiled")
        out.participants.push_back(participant("alice", gpu_table(), UsageFlag::render, "producer"));
    if (what == "gpu only") out.participants.push_back(participant("alice", make_table({tiled}), UsageFlag::render, "gpu"));
    if (what == "pool") out.count = 2;
    if (what == "leased") out.lease_ns = 500 * second;
    if (what == "pool" || what == "contents" || what == "waiting" || what == "doomed") out.spec.backends.add(Backend::gbm);
    if (what == "impossible") out.spec.backends.add(Backend::vulkan);
    if (what == "apart") out.spec.usage = usage_cpu, out.spec.size = {96, 96};
    if (what == "leased" || what == "shared") out.spec.usage = usage_cpu, out.spec.size = {128, 128};
    return out;
}

void World::start(const std::string& operation)
{
    const std::string who = operation.substr(0, operation.find(' '));
    const std::uint64_t serial = ++memory.number("serial " + who);
    memory.number("pending " + operation) = serial;
    memory.number("request " + operation) = serial;
    if (broker_->begin(id(who), serial, fingerprint(operation)).begin != Begin::fresh) say("a number was used");
    issue(operation);
}

void World::issue(const std::string& operation)
{
    const std::string who = operation.substr(0, operation.find(' ')), what = operation.substr(who.size() + 1);
    const OperationId number{id(who), memory.number("pending " + operation)};
    if (what == "refresh") return broker_->refresh(number, handle(who + " copy"), now(), done(operation));
    UniqueFd contents;
    if (what == "contents") contents = *create_memfd("contents", 64 * 64 * 4, F_SEAL_SHRINK);
    broker_->allocate(number, want(operation), std::move(contents), now(), done(operation));
}

OperationDone World::done(const std::string& operation)
{
    return [this, operation](const OperationAnswer& answer) {
        memory.values.erase("pending " + operation);
        if (!answer.held) {
            memory.number("decision " + operation) = answer.request.value;
            return say(operation, answer.held.error());
        }
        say(fmt::format("{}: request {} cost {}", operation, answer.request.value, answer.cost_ns));
        for (std::size_t i = 0; i < answer.held->size(); ++i)
            keep(i == 0 ? operation : fmt::format("{} {}", operation, i + 1), (*answer.held)[i]);
    };
}

void World::open(const std::string& who, const std::string& what, const std::string& token_name, Rights rights, Usage usage)
{
    keep(who + " " + what, broker_->open(id(who), token(token_name), rights, usage, now()));
}

void World::mint(const std::string& who, const std::string& hold, const std::string& token_name, Rights rights, bool one_shot,
                 std::uint64_t lifetime_ns, bool enforced)
{
    const auto minted = broker_->mint(id(who), handle(hold), {rights, one_shot, enforced, lifetime_ns}, now());
    if (!minted) return say(who + " mints " + token_name, minted.error());
    memory.values["token " + token_name] = minted->bytes;
}

void World::keep_joined(const std::string& who, const std::string& token_name, const Capabilities& what, Usage usage)
{
    const Participant joiner = participant(who, what, usage, who);
    broker_->join({id(who), ++memory.number("serial " + who)}, token(token_name), Right::read, joiner, now(),
                  [&](const OperationAnswer& answer) {
                      if (answer.held) keep(who + " joined", answer.held->front());
                      else say(who + " joins", answer.held.error());
                  });
}

void World::release(const std::string& who, const std::string& what)
{
    if (const auto released = broker_->release(id(who), handle(what), now()); !released) say(what, released.error());
}

void World::move(const std::string& who, const std::string& from, const std::string& to)
{
    keep(to, broker_->move(id(who), handle(from), now()));
}

void World::pass(std::uint64_t ns)
{
    memory.number("now") += ns;
    while (broker_->deadline() <= now()) broker_->expire(now());
}

void World::note(const std::string& who, const std::string& request, Answer answer)
{
    const std::uint64_t serial = ++memory.number("serial " + who);
    memory.number("request " + who + " " + request) = serial;
    if (broker_->begin(id(who), serial, fingerprint(who + " " + request)).begin != Begin::fresh) say("a number was used");
    broker_->answered(id(who), serial, fingerprint(who + " " + request), std::move(answer));
}

void World::repeat(const std::string& who, const std::string& request)
{
    const std::string what = who + " " + request;
    const Begun begun = broker_->begin(id(who), memory.number("request " + what), fingerprint(what));
    say(fmt::format("{} again: {}", what, static_cast<int>(begun.begin)));
    if (begun.begin == Begin::refused) say(what, begun.error);
    if (begun.begin != Begin::answered) return;
    const Answer answer = *begun.answer;
    say(fmt::format("{} again: kind {} number {} written {} rights {} {} {} request {} right token {}", what,
                    static_cast<int>(answer.kind), answer.number, answer.contents_written, to_string(answer.rights),
                    name(answer.code), answer.reason, answer.request.value, answer.token == token("answered")));
    if (answer.kind == AnswerKind::holds)
        for (std::uint32_t i = 0; i < answer.number; ++i) {
            const auto held = broker_->held(id(who), {answer.first.value + i});
            if (held) say(describe(*held));
            else say("that hold", held.error());
        }
}

void World::why(const std::string& who, RequestId request)
{
    const auto decision = broker_->deciding().why(id(who), request, {}, now());
    if (decision) say(in_short(encoded(*decision), [&] { return wire::to_json(*decision); }));
    else say("why", decision.error());
}

void World::look(const std::string& who)
{
    Result<Snapshot> seen = broker_->inspect(id(who), {}, now());
    seen->pool = {};
    seen->exports.clear();
    seen->proofs.clear();
    say(in_short(wire::encode_snapshot(*seen), [&] { return wire::to_json(*seen); }));
}

Errc World::allocate_small(const std::string& who)
{
    ImageRequest what = want(who + " small");
    what.spec.size = {16, 16};
    what.spec.usage = usage_cpu;
    Errc out{};
    broker_->allocate({id(who), ++memory.number("serial " + who)}, what, {}, now(),
                      [&](const OperationAnswer& answer) { out = answer.held ? Errc{} : answer.held.error().code; });
    return out;
}

// --- the steps -------------------------------------------------------------------------------------

const std::vector<World::Step> World::steps = {
#define STEP(name) {#name, &World::name}
    STEP(everybody_connects),
    STEP(tables_are_stated),
    STEP(a_table_begins),
    STEP(a_table_ends),
    STEP(alice_makes_a_pool),
    STEP(alice_makes_a_tiled_one),
    STEP(tokens_are_minted),
    STEP(boss_joins),
    STEP(bob_opens),
    STEP(a_token_is_used_up),
    STEP(bob_passes_on),
    STEP(a_token_is_revoked),
    STEP(bob_guesses),
    STEP(bob_guesses_more),
    STEP(an_image_is_registered),
    STEP(requests_are_noted),
    STEP(requests_are_repeated),
    STEP(dave_joins),
    STEP(bob_joins),
    STEP(dave_leaves),
    STEP(carol_joins),
    STEP(everybody_moves),
    STEP(erin_joins),
    STEP(a_copy_is_made),
    STEP(a_copy_is_refreshed),
    STEP(the_gpu_hangs),
    STEP(operations_wait),
    STEP(a_join_waits),
    STEP(one_is_cancelled),
    STEP(the_gpu_answers),
    STEP(a_lease_is_set),
    STEP(time_passes),
    STEP(memory_changes_hands),
    STEP(memory_comes_back),
    STEP(an_image_is_revoked),
    STEP(a_request_fails),
    STEP(alice_leaves_a_leased_image),
    STEP(late_comes),
    STEP(everybody_looks),
    STEP(all_that_fits_is_taken),
#undef STEP
};

std::size_t World::step_count() { return steps.size(); }
const char* World::step_name(std::size_t i) { return steps[i].name; }

void World::everybody_connects()
{
    connect("alice", 1000);
    connect("bob", 1000);
    connect("carol", 65534, false, true);
    connect("dave", 1000);
    connect("erin", 1001);
    connect("boss", 0, true);
    connect("visitor", 1000);
}

/// Parts of the table that bob states.
wire::DefineCapabilities part_of_table(std::size_t first, std::size_t size)
{
    const std::vector<std::byte> bytes = *wire::encode_capabilities(long_table());
    const auto part = std::span(bytes).subspan(first, std::min(size, bytes.size() - first));
    return {.digest = wire::digest_of(bytes),
            .size = static_cast<std::uint32_t>(bytes.size()),
            .offset = static_cast<std::uint32_t>(first),
            .bytes = {part.begin(), part.end()}};
}

/// The visitor states one and leaves: whoever remembers it goes on paying.
void World::tables_are_stated()
{
    table("visitor", long_table());
    say(fmt::format("known to alice: {}", *broker_->deciding().find_table(id("alice"), *wire::digest_of(long_table()))));
    disconnect("visitor");
    Capabilities own = long_table();
    own.device.driver = "bob's own";
    table("bob", own);
}

void World::a_table_begins()
{
    const wire::DefineCapabilities p = part_of_table(0, 3000);
    if (!broker_->deciding().define_table(id("bob"), {p.digest, p.size, p.offset, p.bytes})) say("a part was refused");
    (void)broker_->begin(id("bob"), 900, 1, Way::channel); // its answer is nowhere
    look("bob");
}

void World::a_table_ends()
{
    if (broker_->begin(id("bob"), 900, 1, Way::channel).begin != Begin::refused) say("a request was served twice");
    look("bob");
    const wire::DefineCapabilities p = part_of_table(3000, SIZE_MAX);
    const auto whole = broker_->deciding().define_table(id("bob"), {p.digest, p.size, p.offset, p.bytes});
    if (!whole) return say("the table", whole.error());
    say(fmt::format("the table is whole: {}", *whole && **whole == *wire::encode_capabilities(long_table())));
}

/// The first one while there is no GPU yet.
void World::alice_makes_a_pool()
{
    start("alice software");
    memory.number("gpu is there") = 1;
    gpu_.known = a_gpu_comes();
    broker_->devices_changed(now());
    start("alice pool");
    start("alice contents");
}

void World::alice_makes_a_tiled_one()
{
    start("alice tiled");
    start("alice gpu only");
}

void World::tokens_are_minted()
{
    mint("alice", "alice tiled", "tiled", Right::read);
    mint("alice", "alice software", "writer", Right::read | Right::write);
    mint("alice", "alice software", "once", Right::read, true);
    mint("alice", "alice software", "timed", Right::read, false, 200 * second);
    mint("alice", "alice software", "strict", Right::read, false, 0, true);
    mint("alice", "alice gpu only", "gpu", Right::read);
}

/// Who takes only a GPU's memory: system memory is replaced.
void World::boss_joins() { keep_joined("boss", "writer", make_table({modifier_linear}, Api::vulkan), UsageFlag::sample); }

void World::bob_opens()
{
    open("bob", "software", "writer", Right::read, UsageFlag::cpu_read);
    open("bob", "writes", "writer", Right::read | Right::write, UsageFlag::cpu_write);
    open("bob", "refused", "tiled", Right::write, {});
    open("bob", "not strict", "strict", Right::read, UsageFlag::sample);
}

void World::a_token_is_used_up()
{
    open("bob", "once", "once", Right::read, UsageFlag::cpu_read);
    open("carol", "too late", "once", Right::read, UsageFlag::cpu_read);
}

void World::bob_passes_on()
{
    mint("bob", "bob once", "from bob", Right::read);
    mint("bob", "bob software", "too much", Right::write);
    open("carol", "from bob", "from bob", Right::read, UsageFlag::sample);
}

/// A used one: its descendants end, its holder cannot pass on any more.
void World::a_token_is_revoked()
{
    const auto revoked = broker_->revoke(id("alice"), token("once"));
    if (!revoked) say("revoking", revoked.error());
    open("carol", "revoked", "from bob", Right::read, UsageFlag::sample);
    mint("bob", "bob once", "none", Right::read);
    mint("carol", "carol from bob", "none", Right::read);
}

void World::bob_guesses()
{
    for (std::uint8_t i = 0; i < 40; ++i) (void)broker_->open(id("bob"), Token{{1, 2, 3, i}}, Right::read, {}, now());
}

void World::bob_guesses_more()
{
    for (std::uint8_t i = 0; i < 23; ++i) (void)broker_->open(id("bob"), Token{{1, 2, 4, i}}, Right::read, {}, now());
    mint("bob", "bob once", "none", Right::read);
    mint("carol", "carol from bob", "none", Right::read);
    open("bob", "guess", "none", Right::read, {});
    open("bob", "guess", "none", Right::read, {});
    open("bob", "gone", "once", Right::read, {});
}

/// Her own memory; that of the broker is nobody's to register, and hers not bob's.
void World::an_image_is_registered()
{
    const ImageDesc desc = *linear_layout({64, 64}, fourcc("AB24"));
    const auto memory_of = [&](const std::string& who, const std::string& hold) {
        const auto held = broker_->held(id(who), handle(hold));
        return UniqueFd::adopt(held ? ::fcntl(held->fds[0], F_DUPFD_CLOEXEC, 3) : -1);
    };
    const auto try_it = [&](const std::string& who, UniqueFd fd) {
        ImageFds fds;
        fds.push_back(std::move(fd));
        keep(who + " registered", broker_->register_image(id(who), desc, std::move(fds), {"own", 0, now()}));
    };
    try_it("alice", *create_memfd("own", desc.total_size(), F_SEAL_SHRINK | F_SEAL_GROW));
    try_it("bob", memory_of("alice", "alice registered"));
    try_it("bob", memory_of("bob", "bob writes"));
    mint("alice", "alice registered", "answered", Right::read);
}

void World::requests_are_noted()
{
    note("bob", "open", {.kind = AnswerKind::holds, .first = handle("bob software"), .number = 1, .reason = {}});
    note("alice", "mint", {.kind = AnswerKind::token, .token = token("answered"), .rights = Right::read, .reason = {}});
    note("alice", "error", {.kind = AnswerKind::error, .code = Errc::denied, .reason = "no", .request = {7}});
    note("alice", "look", {.kind = AnswerKind::again, .reason = {}});
}

void World::requests_are_repeated()
{
    repeat("bob", "open");
    for (const char* request : {"mint", "error", "look", "pool", "contents"}) repeat("alice", request);
    memory.number("request alice other") = memory.number("request alice mint");
    repeat("alice", "other");
}

void World::dave_joins()
{
    keep_joined("dave", "tiled", make_table({swizzled, modifier_linear}, Api::gbm, true), UsageFlag::sample);
}

void World::bob_joins()
{
    keep_joined("bob", "tiled", make_table({swizzled, modifier_linear}, Api::vulkan, true), UsageFlag::sample);
}

void World::dave_leaves() { disconnect("dave"); }

void World::carol_joins() { keep_joined("carol", "tiled", make_table({modifier_linear}, Api::gbm, true), UsageFlag::sample); }

void World::everybody_moves()
{
    move("alice", "alice tiled", "alice moved");
    why("carol");
    release("bob", "bob joined");
}

/// Bob, who opened the first one as a sampler, stays one; so does whoever must not write.
void World::erin_joins()
{
    open("bob", "samples", "tiled", Right::read, UsageFlag::sample);
    keep_joined("erin", "tiled", make_table({}, Api::cpu, true, "cpu"), UsageFlag::cpu_read);
    why("erin");
    open("carol", "strict", "strict", Right::read, UsageFlag::cpu_read);
}

void World::a_copy_is_made()
{
    move("bob", "bob samples", "bob moved");
    for (const char* kept : {"kept", "kept too", "kept as well"}) mint("bob", "bob moved", kept, Right::read);
    move("carol", "carol strict", "carol moved");
    keep_joined("erin", "gpu", make_table({}, Api::cpu, true, "cpu"), UsageFlag::cpu_read);
    memory.number("handle erin copy") = memory.number("handle erin joined");
}

void World::a_copy_is_refreshed()
{
    start("erin refresh");
    repeat("erin", "refresh");
}

void World::the_gpu_hangs()
{
    memory.number("gpu hangs") = 1;
    gpu_.answers.held = gpu_.hands.answers.held = true;
}

void World::operations_wait() { start("alice waiting"); }

void World::a_join_waits() { start("erin refresh"); }

void World::one_is_cancelled()
{
    start("alice doomed");
    if (!broker_->cancel(id("alice"), memory.number("request alice doomed"))) say("not cancelled");
    if (broker_->cancel(id("alice"), memory.number("request alice doomed"))) say("cancelled twice");
}

void World::the_gpu_answers()
{
    memory.number("gpu hangs") = 0;
    gpu_.hands.answers.release_all();
    gpu_.answers.release_all();
    repeat("alice", "doomed");
    repeat("alice", "waiting");
    repeat("erin", "refresh");
}

void World::a_lease_is_set()
{
    start("alice leased");
    start("alice shared");
    start("carol apart");
    mint("alice", "alice leased", "leased", Right::read);
    mint("alice", "alice shared", "shared", Right::read);
    open("bob", "shared", "shared", Right::read, UsageFlag::cpu_read);
    release("bob", "bob shared");
    const auto set = broker_->set_lease(id("alice"), handle("alice pool 2"), 150 * second, now());
    if (!set) say("lease", set.error());
    release("alice", "alice pool 2");
}

void World::time_passes()
{
    open("bob", "in time", "timed", Right::read, {});
    look("boss");
    pass(201 * second);
    open("bob", "too late", "timed", Right::read, {});
    look("boss");
}

/// Shared memory is cleared before its owner has it again; erin's copy is as good as new.
void World::memory_changes_hands()
{
    const auto poke = [&](const std::string& who, const std::string& hold) {
        const auto held = broker_->held(id(who), handle(hold));
        if (!held || ::pwrite(held->fds[0], "x", 1, 0) != 1) say("not written");
    };
    const auto peek = [&](const std::string& who, const std::string& hold) {
        const auto held = broker_->held(id(who), handle(hold));
        char byte = '?';
        if (!held || ::pread(held->fds[0], &byte, 1, 0) != 1) say("not read");
        say(fmt::format("{} begins with {}", hold, static_cast<int>(byte)));
    };
    poke("alice", "alice shared");
    release("alice", "alice shared");
    start("alice shared");
    peek("alice", "alice shared");
    for (int i = 0; i < 2; ++i) { // one that she made before, and one that she makes now
        release("carol", "carol apart");
        start("bob apart");
        why("bob");
        if (i == 0) start("carol apart");
    }
}

void World::memory_comes_back()
{
    const auto copy = broker_->held(id("erin"), handle("erin copy"));
    if (!copy) return say("the copy", copy.error());
    ImageRequest same = want("erin same");
    same.spec.usage = copy->desc->usage;
    same.spec.backends.add(Backend::memfd);
    release("erin", "erin copy");
    broker_->allocate({id("erin"), ++memory.number("serial erin")}, same, {}, now(), [&](const OperationAnswer& answer) {
        keep("erin same", answer.held ? Result<Held>(answer.held->front()) : std::unexpected(answer.held.error()));
    });
    why("erin");
}

void World::an_image_is_revoked()
{
    const auto held = broker_->held(id("alice"), handle("alice software"));
    if (!held) return say("software", held.error());
    const auto revoked = broker_->revoke(id("alice"), held->image, now());
    if (!revoked) say("revoking", revoked.error());
}

void World::a_request_fails()
{
    mint("alice", "alice software", "none", Right::read);
    open("carol", "revoked", "writer", Right::read, {});
    start("carol impossible");
}

void World::alice_leaves_a_leased_image()
{
    repeat("carol", "impossible");
    why("carol", {memory.number("decision carol impossible")});
    disconnect("alice");
}

void World::late_comes()
{
    connect("late", 1000);
    open("late", "leased", "leased", Right::read, UsageFlag::sample);
}

void World::everybody_looks()
{
    for (const auto& [name, _] : std::map(memory.values)) {
        if (!name.starts_with("key ")) continue;
        look(name.substr(4));
        why(name.substr(4));
    }
    for (std::uint64_t request = 1; request < 40; ++request) why("boss", {request});
}

/// How much is left tells what is charged to whom.
void World::all_that_fits_is_taken()
{
    for (const std::string who : {"bob", "late"}) {
        int count = 0;
        const std::string hold = who == "bob" ? "bob moved" : "late leased";
        while (count < 50 && broker_->mint(id(who), handle(hold), {.rights = Right::read}, now())) ++count;
        say(fmt::format("{} could mint {} more", who, count));
    }
    int count = 0;
    while (count < 400 && allocate_small("bob") == Errc{}) ++count;
    say(fmt::format("bob could make {} more", count));
}

} // namespace dmb::test
