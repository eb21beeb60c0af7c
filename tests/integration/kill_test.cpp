// SPDX-License-Identifier: MIT
// Processes killed without warning: a thousand clients at random steps of the protocol, consumers that
// hold images, and workers in the middle of an allocation. Half of the clients end themselves at a chosen
// step, so that every step is met; the other half is killed by the clock. DMABROKER_SEED repeats a run.
#include "proto/wire/digest.hpp"
#include "tests/integration/raw_client.hpp"
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fmt/core.h>
#include <fstream>
#include <random>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace dmb {
namespace {

using test::children_of;
using test::eventually;
using test::make_allocate;
using test::make_definition;
using test::make_desc;
using test::make_memfd;
using test::RawClient;
using Random = std::mt19937;

constexpr int kills = 1000;
constexpr int at_once = 4;
constexpr int check_every = 100;

/// What each descriptor of a process leads to, for the message of a failure.
std::string links_of(pid_t pid)
{
    std::string out;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd"))
        out += entry.path().filename().string() + " " + std::filesystem::read_symlink(entry).string() + "\n";
    return out;
}

class Kill : public test::FdTest {
protected:
    explicit Kill(std::vector<std::string> options = {"--no-gpu", "--log-level", "warning"})
        : broker(std::move(options)), manager(broker.socket() + ".manager"), owner(broker.socket())
    {
        const char* chosen = std::getenv("DMABROKER_SEED");
        seed = chosen ? static_cast<unsigned>(std::strtoul(chosen, nullptr, 10)) : std::random_device()();
        random.seed(seed);
        std::printf("DMABROKER_SEED=%u\n", seed);
        image = owner.get<wire::ImageReply>(make_allocate({64, 64}));
        owner.last_fds.clear();
        token = owner.get<wire::TokenReply>(wire::MintToken{image.handle, Right::read}).token;
        // The broker keeps the read-only descriptor that its first reader needs: part of the baseline.
        const auto seen = owner.get<wire::ImageReply>(wire::Open{token, Right::read, UsageFlag::cpu_read});
        owner.last_fds.clear();
        owner.say(wire::Release{seen.handle});
    }

    Snapshot snapshot() { return manager.snapshot(); }
    bool is_at_baseline(std::size_t fds)
    {
        const Snapshot now = snapshot();
        return broker.fds() == fds && now.images.size() == 1 && now.clients.size() == 2;
    }

    std::string state(std::size_t fds)
    {
        const std::string links = links_of(broker.pid());
        const Snapshot now = snapshot();
        return fmt::format("{} descriptors (before: {}), {} images, {} clients, {} pooled\n{}{}", broker.fds(), fds,
                           now.images.size(), now.clients.size(), now.pool.images, links, broker.log());
    }

    /// One client's life. `steps` is how many it has before it ends itself; it may be killed earlier.
    [[noreturn]] void live(unsigned own_seed, unsigned steps) const;
    pid_t start_client(unsigned steps);

    unsigned seed = 0;
    Random random;
    test::BrokerProcess broker;
    RawClient manager, owner;
    wire::ImageReply image;
    Token token;
};

/// Counts steps and dies at the last one: between any two calls of a client.
class Fate {
public:
    explicit Fate(unsigned steps) : left_(steps) {}
    void step()
    {
        if (left_-- == 0) ::kill(::getpid(), SIGKILL);
    }

private:
    unsigned left_;
};

template <class Reply, class Message>
Reply converse(RawClient& client, Fate& fate, const Message& message, const test::Fds& fds = {})
{
    fate.step();
    client.say(message, fds);
    fate.step();
    auto answer = client.hear();
    while (answer && answer->serial == 0) answer = client.hear(); // an event
    const Reply* reply = answer ? std::get_if<Reply>(&answer->message) : nullptr;
    return reply ? *reply : Reply{};
}

void one_round(RawClient& client, Fate& fate, Random& random, const Token& token)
{
    const Extent size{1 + static_cast<std::uint32_t>(random() % 300), 1 + static_cast<std::uint32_t>(random() % 300)};
    wire::Allocate allocate = make_allocate(size);
    allocate.lease_ns = random() % 3 == 0 ? random() % 100'000'000 : 0;
    const auto made = converse<wire::ImageReply>(client, fate, allocate);
    const auto minted =
        converse<wire::TokenReply>(client, fate, wire::MintToken{made.handle, Rights::all(), random() % 2 == 0});
    converse<wire::ImageReply>(client, fate, wire::Open{minted.token, Right::read, UsageFlag::cpu_read});
    const auto seen = converse<wire::ImageReply>(
        client, fate, wire::Open{token, Right::read, random() % 2 ? Usage(UsageFlag::cpu_read) : Usage(UsageFlag::sample)});
    Capabilities table;
    table.api = random() % 2 ? Api::cpu : Api::kms;
    for (const Modifier modifier : {modifier_linear, Modifier{random()}})
        table.rows.push_back({.kind = MemoryKind::memfd, .format = fourcc("XR24"), .modifier = modifier});
    make_canonical(table);
    const Digest digest = *wire::digest_of(table);
    converse<wire::CapabilitiesReply>(client, fate, make_definition(table, digest));
    const Participant self{.name = "self", .capabilities = digest, .usage = UsageFlag::cpu_read};
    const auto joined = converse<wire::ImageReply>(client, fate, wire::Join{token, Right::read, self});
    converse<wire::WhyReply>(client, fate, wire::Why{});
    if (joined.handle != HandleId{} && random() % 2) client.say(wire::Release{joined.handle});
    const UniqueFd memfd = make_memfd(16 * 16 * 4);
    const auto mine = converse<wire::ImageReply>(client, fate, wire::Register{make_desc({16, 16}), "mine", 0}, {memfd.get()});
    converse<wire::Done>(client, fate, wire::SetLease{mine.handle, random() % 100'000'000});
    converse<wire::SnapshotReply>(client, fate, wire::Inspect{});
    if (random() % 2) converse<wire::Done>(client, fate, wire::RevokeImage{mine.image});
    fate.step();
    if (random() % 2) client.say(wire::Release{made.handle});
    if (random() % 2) client.say(wire::Release{seen.handle});
}

void Kill::live(unsigned own_seed, unsigned steps) const
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
        Random own(own_seed);
        Fate fate(steps);
        fate.step();
        RawClient client(broker.socket(), RawClient::Greeting::no);
        converse<wire::HelloReply>(client, fate, wire::Hello{});
        for (int i = 0; i < 50; ++i) one_round(client, fate, own, token);
    } catch (const std::exception&) {
    }
    for (;;) ::pause();
}

pid_t Kill::start_client(unsigned steps)
{
    const auto own_seed = static_cast<unsigned>(random());
    const pid_t pid = ::fork();
    if (pid == 0) live(own_seed, steps);
    return pid;
}

TEST_F(Kill, a_thousand_clients_killed_at_any_step_leave_nothing_behind)
{
    // Its user's receiver process stays for as long as somebody has a channel.
    EXPECT_GE(owner.channel(), 0);
    (void)snapshot();
    const std::size_t fds = broker.fds();
    for (int i = 0; i < kills; i += at_once) {
        std::vector<pid_t> pids;
        for (int j = 0; j < at_once; ++j) pids.push_back(start_client(j % 2 ? static_cast<unsigned>(random() % 60) : 100'000));
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 8000));
        for (const pid_t pid : pids) ::kill(pid, SIGKILL);
        for (const pid_t pid : pids) EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
        if (i % check_every == 0) {
            ASSERT_TRUE(eventually([&] { return is_at_baseline(fds); })) << "after " << i << ": " << state(fds);
        }
    }
    EXPECT_TRUE(broker.alive()) << broker.log();
    EXPECT_TRUE(eventually([&] { return is_at_baseline(fds); })) << state(fds);
    const auto seen = owner.get<wire::ImageReply>(wire::Open{token, Right::read, UsageFlag::cpu_read});
    EXPECT_EQ(seen.image, image.image) << "who did no harm is still served";
}

TEST_F(Kill, an_owner_killed_under_its_consumers_leaves_them_their_pixels)
{
    const std::size_t fds = broker.fds();
    for (int i = 0; i < 20; ++i) {
        int ends[2];
        ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
        const UniqueFd out = UniqueFd::adopt(ends[0]);
        UniqueFd in = UniqueFd::adopt(ends[1]);
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            RawClient producer(broker.socket());
            const auto made = producer.get<wire::ImageReply>(make_allocate({64, 64}));
            const auto minted = producer.get<wire::TokenReply>(wire::MintToken{made.handle, Right::read});
            if (::write(in.get(), minted.token.bytes.data(), 16) != 16) ::_exit(1);
            for (;;) ::pause();
        }
        in.reset();
        Token given;
        ASSERT_EQ(::read(out.get(), given.bytes.data(), 16), 16);
        const auto held = owner.get<wire::ImageReply>(wire::Open{given, Right::read, UsageFlag::cpu_read});
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        EXPECT_TRUE(eventually([&] { return snapshot().clients.size() == 2; }));
        EXPECT_EQ(snapshot().images.size(), 2u) << "a holder keeps it";
        char byte = 0;
        EXPECT_EQ(::pread(owner.last_fds[0].get(), &byte, 1, 0), 1);
        owner.last_fds.clear();
        owner.say(wire::Release{held.handle});
    }
    EXPECT_TRUE(eventually([&] { return is_at_baseline(fds); })) << state(fds);
}

class KillWorker : public Kill {
protected:
    KillWorker() : Kill({"--log-level", "warning"}) {}

    /// A device of a worker that can be asked for memory now.
    std::optional<Exporter> ready()
    {
        for (const auto& [device, _] : snapshot().exports)
            if ((device.backend == Backend::vulkan_opaque || device.backend == Backend::vulkan ||
                 device.backend == Backend::gbm) &&
                device.problem.empty())
                return device;
        return std::nullopt;
    }
    /// From this device only: with two GPUs the broker would go on to the other one.
    static wire::Allocate request_from(const Exporter& device, Extent size)
    {
        wire::Allocate request = make_allocate(size, fourcc("AB24"));
        request.spec.usage = UsageFlag::sample;
        request.spec.backends = {};
        request.spec.backends.add(device.backend);
        if (device.node.empty()) request.spec.device.assign(to_string(device.id.device_uuid));
        else request.spec.device.assign(device.node.view());
        return request;
    }
};

TEST_F(KillWorker, a_worker_killed_during_an_allocation_costs_that_request_only)
{
    if (!eventually([&] { return ready().has_value() || children_of(broker.pid()).empty(); }, 60) || !ready())
        GTEST_SKIP() << "no worker on this machine has a usable device";
    const std::size_t workers = children_of(broker.pid()).size();
    // Any answer after the snapshot's: the broker has closed the snapshot's memfd by then.
    EXPECT_EQ(owner.error(wire::Open{Token{}, Right::read, {}}), Errc::not_found);
    const std::size_t fds = broker.fds();
    int failed = 0;
    for (std::uint32_t i = 0; i < 6; ++i) {
        ASSERT_TRUE(eventually([&] { return ready().has_value(); }, 60)) << "the worker did not come back: " << broker.log();
        const wire::Allocate request = request_from(*ready(), {256 + i, 256});
        RawClient client(broker.socket());
        // A stopped worker is certainly in the middle; otherwise the clock decides.
        const bool stopped = i % 2 == 0;
        const std::vector<pid_t> killed = children_of(broker.pid());
        for (const pid_t pid : killed)
            if (stopped) ::kill(pid, SIGSTOP);
        ASSERT_TRUE(client.say(request));
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
        EXPECT_FALSE(stopped && client.hear(0.05)) << "nobody could answer";
        for (const pid_t pid : killed) ::kill(pid, SIGKILL);
        const auto answer = client.hear(40);
        ASSERT_TRUE(answer) << "the request was never answered";
        EXPECT_TRUE(!stopped || std::holds_alternative<wire::ErrorReply>(answer->message));
        failed += std::holds_alternative<wire::ErrorReply>(answer->message);
        EXPECT_EQ(owner.error(wire::Open{token, Right::read, {}}), Errc{}) << "others are served meanwhile";
        EXPECT_TRUE(eventually(
            [&] {
                const std::vector<pid_t> now = children_of(broker.pid());
                return now.size() == workers && std::ranges::find_first_of(now, killed) == now.end();
            },
            60))
            << "new workers take the place of the killed ones";
    }
    std::printf("%d of 6 requests failed, the others were answered before the kill\n", failed);
    EXPECT_TRUE(broker.alive());
    EXPECT_TRUE(eventually([&] { return ready().has_value() && children_of(broker.pid()).size() == workers; }, 60));
    for (HandleId handle{3}; handle.value <= 8; ++handle.value) owner.say(wire::Release{handle});
    EXPECT_TRUE(eventually([&] { return is_at_baseline(fds); })) << state(fds);
}

} // namespace
} // namespace dmb
