// SPDX-License-Identifier: MIT
// A broker with its clients in one process, and all that the clients know as values: a session that can go on in
// another process with another broker.
#pragma once
#include "daemon/alloc/memfd.hpp"
#include "daemon/core/serving/broker.hpp"
#include "tests/daemon/fake_gpu.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dmb::test {

/// What clients and drivers know between two steps.
struct Memory {
    using Value = std::array<std::uint8_t, 16>; ///< a token, a key, or a number in its first bytes
    std::map<std::string, Value> values;
    std::string trace; ///< what was answered so far

    std::uint64_t& number(const std::string& name) { return *reinterpret_cast<std::uint64_t*>(values[name].data()); }
};
std::vector<std::byte> to_bytes(const Memory&);
Memory memory_from(std::span<const std::byte>);

class World : public EventSink {
public:
    World();
    ~World() override;

    static std::size_t step_count();
    static const char* step_name(std::size_t);
    void step(std::size_t);
    /// Another broker, from what one left: the clients come back and repeat what was not answered.
    Result<> go_on(Saved, std::vector<UniqueFd>, Memory);

    Broker& broker() { return *broker_; }
    Memory memory;
    std::uint64_t changes = 0; ///< how often the hook was called

private:
    struct Step {
        const char* name;
        void (World::*run)();
    };
    static const std::vector<Step> steps;

    void image_revoked(ClientId, HandleId) override;
    void image_replaced(ClientId, HandleId, ImageId, RequestId) override;

    // --- what steps are made of
    void say(const std::string& line) { memory.trace += line + "\n"; }
    void say(const std::string& what, const Error& error);
    Instant now() { return {memory.number("now")}; }
    ClientId id(const std::string& who) { return {memory.number("client " + who)}; }
    HandleId handle(const std::string& name) { return {static_cast<std::uint32_t>(memory.number("handle " + name))}; }
    Token token(const std::string& name) { return {memory.values["token " + name]}; }
    std::string describe(const Held&);
    void keep(const std::string& name, const Result<Held>&);
    Digest table(const std::string& who, const Capabilities&);
    void connect(const std::string& who, std::uint32_t uid, bool manager = false, bool unmapped = false);
    void disconnect(const std::string& who);
    void come_back(const std::string& who);
    /// Something that takes time: by its name, so that another process can ask for it again.
    void start(const std::string& operation);
    void issue(const std::string& operation);
    OperationDone done(const std::string& operation);
    void open(const std::string& who, const std::string& name, const std::string& token_name, Rights, Usage);
    void mint(const std::string& who, const std::string& hold, const std::string& token_name, Rights, bool one_shot = false,
              std::uint64_t lifetime_ns = 0, bool enforced = false);
    void keep_joined(const std::string& who, const std::string& token_name, const Capabilities&, Usage);
    void release(const std::string& who, const std::string& name);
    void move(const std::string& who, const std::string& from, const std::string& to);
    void pass(std::uint64_t ns);
    void note(const std::string& who, const std::string& request, Answer);
    void repeat(const std::string& who, const std::string& request);
    void why(const std::string& who, RequestId = {});
    void look(const std::string& who);
    Errc allocate_small(const std::string& who);
    ImageRequest want(const std::string& operation);
    Participant participant(const std::string& who, const Capabilities&, Usage, std::string_view name = "");

    // --- the steps
    void everybody_connects();
    void tables_are_stated();
    void a_table_begins();
    void a_table_ends();
    void alice_makes_a_pool();
    void alice_makes_a_tiled_one();
    void tokens_are_minted();
    void boss_joins();
    void bob_opens();
    void a_token_is_used_up();
    void bob_passes_on();
    void a_token_is_revoked();
    void bob_guesses();
    void bob_guesses_more();
    void an_image_is_registered();
    void requests_are_noted();
    void requests_are_repeated();
    void dave_joins();
    void bob_joins();
    void dave_leaves();
    void carol_joins();
    void everybody_moves();
    void erin_joins();
    void a_copy_is_made();
    void a_copy_is_refreshed();
    void the_gpu_hangs();
    void operations_wait();
    void a_join_waits();
    void one_is_cancelled();
    void the_gpu_answers();
    void a_lease_is_set();
    void time_passes();
    void alice_leaves_a_leased_image();
    void memory_changes_hands();
    void memory_comes_back();
    void an_image_is_revoked();
    void a_request_fails();
    void late_comes();
    void all_that_fits_is_taken();
    void everybody_looks();

    MemfdAllocator memfd_;
    FakeGpu gpu_;
    FakeHelper prover_, system_;
    Proofs proofs_;
    std::vector<std::string> events_; ///< of this step
    std::optional<Pool> pool_;
    std::optional<Broker> broker_;
};

} // namespace dmb::test
