// SPDX-License-Identifier: MIT
// The real broker, a bystander with an image, and the invariant that must hold after every attack: the
// same process, descriptors and images back to what they were within two seconds, the bystander served.
#pragma once
#include "tests/integration/raw_client.hpp"
#include "tests/proto/samples.hpp"
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"
#include "tests/support/instrumented.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <random>
#include <unistd.h>

namespace dmb::test {

using Clock = std::chrono::steady_clock;

inline double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// By how much the broker may have grown. Sanitizers keep freed memory for a while.
inline std::size_t growth(std::size_t usual) { return is_instrumented() ? usual + (32u << 20) : usual; }

/// A seed that is another one each time; DMABROKER_SEED repeats a run.
inline unsigned seed()
{
    const char* chosen = std::getenv("DMABROKER_SEED");
    const unsigned value = chosen ? static_cast<unsigned>(std::strtoul(chosen, nullptr, 10)) : std::random_device()();
    ::testing::Test::RecordProperty("seed", std::to_string(value));
    std::printf("DMABROKER_SEED=%u\n", value);
    return value;
}

class Hostile : public FdTest {
protected:
    explicit Hostile(std::vector<std::string> options = {"--no-gpu", "--log-level", "debug"})
        : broker(std::move(options)), manager(broker.socket() + ".manager"), bystander(broker.socket())
    {
        image = bystander.get<wire::ImageReply>(make_allocate({64, 64}));
        token = bystander.get<wire::TokenReply>(wire::MintToken{image.handle, Right::read}).token;
        bystander_is_served();
        // Its user's receiver process stays for as long as somebody has a channel.
        EXPECT_GE(bystander.channel(), 0);
        bystander_is_served();
        fds = broker.fds();
        images = count_images();
        pid = broker.pid();
    }

    void TearDown() override
    {
        EXPECT_TRUE(broker.alive()) << broker.log();
        EXPECT_EQ(broker.pid(), pid);
        EXPECT_TRUE(eventually([&] { return broker.fds() == fds; })) << broker.fds() << " descriptors instead of " << fds;
        EXPECT_TRUE(eventually([&] { return count_images() == images; }));
        const auto start = Clock::now();
        bystander_is_served();
        EXPECT_LT(since(start), 1.0);
    }

    Snapshot snapshot() { return manager.snapshot(); }
    std::size_t count_images() { return snapshot().images.size(); }

    void bystander_is_served()
    {
        const auto seen = bystander.get<wire::ImageReply>(wire::Open{token, Right::read, UsageFlag::cpu_read});
        EXPECT_EQ(seen.image, image.image);
        bystander.last_fds.clear();
        bystander.say(wire::Release{seen.handle});
    }

    /// What the broker has in memory, in bytes.
    std::size_t broker_memory() const
    {
        std::ifstream statm("/proc/" + std::to_string(broker.pid()) + "/statm");
        std::size_t total = 0, resident = 0;
        statm >> total >> resident;
        return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    }

    RawClient client(RawClient::Greeting greeting = RawClient::Greeting::yes) { return RawClient(broker.socket(), greeting); }

    BrokerProcess broker;
    RawClient manager, bystander;
    wire::ImageReply image;
    Token token;
    std::size_t fds = 0, images = 0;
    pid_t pid = 0;
};

inline Fds repeat(int fd, std::size_t count) { return Fds(count, fd); }

} // namespace dmb::test
