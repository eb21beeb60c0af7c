// SPDX-License-Identifier: MIT
// Every API and device of this machine as a producer, with every one as a consumer: both state their tables, the
// broker negotiates, the producer draws, the consumer joins by token and looks; a picture, and a buffer where both
// have such. Prints for each pair the rung, the layout and why. Then every rung is asked for by what makes it the best that is
// left.
//
//   pairs [TEXT]                only pairs whose description has this text in it
//   pairs --tables FOLDER       also writes each peer's capability table there, as JSON
#include "tests/drm/pairs/peer.hpp"
#include "tests/support/broker_process.hpp"

#include <cstdlib>
#include <fmt/core.h>
#include <fstream>
#include <nlohmann/json.hpp>

namespace dmb::pairs {
namespace {

using Json = nlohmann::json;
using Peers = std::vector<std::unique_ptr<Peer>>;

Pixels pattern(std::uint8_t seed)
{
    Pixels out;
    for (std::uint32_t y = 0; y < size.height; ++y)
        for (std::uint32_t x = 0; x < size.width; ++x)
            for (const std::uint32_t value : {x * 4 + seed, y * 3 + seed, (x ^ y) * 4, 255u})
                out.push_back(static_cast<std::uint8_t>(value));
    return out;
}

/// Not a whole number of pages or words.
Bytes bytes(std::uint8_t seed)
{
    Bytes out(1'000'003);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(i * 7 + i / 251 + seed);
    return out;
}

void compare_bytes(const Bytes& seen, const Bytes& written)
{
    const auto [left, right] = std::ranges::mismatch(written, seen);
    if (left != written.end() || right != seen.end())
        throw std::runtime_error(fmt::format("wrong bytes from {} on, of {}", left - written.begin(), written.size()));
}

void compare(const Pixels& seen, const Pixels& drawn)
{
    for (std::size_t i = 0; i < drawn.size(); ++i)
        if (i >= seen.size() || seen[i] != drawn[i])
            throw std::runtime_error(fmt::format("wrong pixels from {},{} on: {} instead of {}", i / 4 % size.width,
                                                 i / 4 / size.width, i < seen.size() ? seen[i] : -1, drawn[i]));
}

/// Counts and prints.
struct Report {
    int passed = 0, failed = 0, skipped = 0;
    void pass(const std::string& what) { ++passed, fmt::print("ok   {}\n", what); }
    void fail(const std::string& what) { ++failed, fmt::print("FAIL {}\n", what); }
    void skip(const std::string& what) { ++skipped, fmt::print("SKIP {}\n", what); }
};

dmabroker::Participant participant(const Peer& peer, dmabroker::Usage usage)
{
    dmabroker::Participant out;
    out.name = peer.name();
    out.capabilities = peer.table().digest();
    out.usage = usage;
    return out;
}

dmabroker::Client connect(const std::string& socket, const std::string& name)
{
    dmabroker::ConnectOptions options;
    options.remote = socket;
    options.name = name;
    options.timeout = std::chrono::seconds(180); // in a VM, trials of many drivers
    return dmabroker::Client::connect(options);
}

std::string rung_name(const dmabroker::Image& image)
{
    static constexpr const char* names[] = {"?", "copy", "blit", "system_dma_buf", "linear", "tiled"};
    return names[std::min<std::uint32_t>(image.info().rung, 5)];
}

enum class What { picture, buffer };

/// Two programs that share one image.
class Session {
public:
    Session(const std::string& socket, Peer& producer, Peer& consumer, What what = What::picture)
        : what_(what),
          producer_(producer),
          consumer_(consumer),
          producing_(connect(socket, producer.name())),
          consuming_(connect(socket, consumer.name()))
    {
        producer.table().state(producing_);
        consumer.table().state(consuming_);
        const bool buffer = what == What::buffer;
        allocation_.size = buffer ? dmabroker::Size{static_cast<std::uint32_t>(bytes(0).size()), 1} : size;
        allocation_.format = buffer ? DMABROKER_FORMAT_BUFFER : dmabroker::fourcc("AB24");
        allocation_.participants = {participant(producer, buffer ? producer.writing() : producer.producing()),
                                    participant(consumer, buffer ? consumer.reading() : consumer.consuming())};
    }
    dmabroker::Allocation& allocation() { return allocation_; }
    dmabroker::Participant& joining() { return allocation_.participants[1]; }

    /// What the consumer got; its pixels are the producer's, and stay so.
    std::string run()
    {
        dmabroker::Image made = producing_.allocate(allocation_);
        fill(made, 1);
        dmabroker::Image got = consuming_.join(made.token(dmabroker::Rights::read), dmabroker::Rights::read, joining());
        check(got, 1);
        fill(made, 9);
        std::string cost;
        if (got.info().source) cost = fmt::format(", refreshed in {:.1f} ms", static_cast<double>(got.refresh().count()) / 1e6);
        check(got, 9);
        rung_ = rung_name(got);
        return fmt::format("rung {}{}: {}", rung_, cost, outcome(got.info().request));
    }
    const std::string& rung() const { return rung_; }

private:
    void fill(const dmabroker::Image& image, std::uint8_t seed)
    {
        if (what_ == What::buffer) producer_.write(image, bytes(seed));
        else producer_.draw(image, pattern(seed));
    }
    void check(const dmabroker::Image& image, std::uint8_t seed)
    {
        if (what_ == What::buffer) compare_bytes(consumer_.read(image), bytes(seed));
        else compare(consumer_.look(image), pattern(seed));
    }
    std::string outcome(std::uint64_t request)
    {
        const Json decision = Json::parse(consuming_.why(request)).at("decision");
        return decision.value("outcome", "") + removals(decision, 1);
    }
    static std::string removals(const Json& decision, std::size_t most)
    {
        std::string out;
        for (const Json& r : decision.at("removals"))
            if (most-- > 0)
                out += fmt::format("; not {} {} from {}: {} {}", r.value("format", ""), r.value("modifier", ""),
                                   r.value("backend", ""), r.value("who", ""), r.value("reason", ""));
        return out;
    }
    /// A peer that can import nothing that anybody here allocates, not even alone.
    bool can_import_anything(dmabroker::Client& client, const dmabroker::Participant& participant, std::string& why)
    {
        dmabroker::Allocation alone = allocation_;
        alone.backends = 0;
        alone.modifiers.clear();
        alone.participants = {participant};
        alone.participants[0].minimum_rung = DMABROKER_RUNG_SYSTEM_DMA_BUF;
        try {
            client.allocate(alone);
            return true;
        } catch (const std::exception& e) {
            why = participant.name + " can import nothing that is allocated here" +
                  removals(Json::parse(client.why(client.last_request())).at("decision"), 9);
            return false;
        }
    }

public:
    /// Why this pair cannot work on this machine whatever the broker does; empty when it can.
    std::string impossible()
    {
        std::string why;
        if (can_import_anything(producing_, allocation_.participants[0], why))
            can_import_anything(consuming_, allocation_.participants[1], why);
        return why;
    }

private:
    What what_;
    Peer& producer_;
    Peer& consumer_;
    dmabroker::Client producing_, consuming_;
    dmabroker::Allocation allocation_;
    std::string rung_;
};

void try_pairs(const std::string& socket, const Peers& peers, const std::string& filter, Report& report)
{
    const auto try_pair = [&](Peer& producer, Peer& consumer, What what) {
        const std::string pair =
            fmt::format("{}{} -> {}", what == What::buffer ? "buffer " : "", producer.name(), consumer.name());
        if (pair.find(filter) == std::string::npos) return;
        try {
            report.pass(pair + ": " + Session(socket, producer, consumer, what).run());
        } catch (const std::exception& e) {
            const std::string why = Session(socket, producer, consumer, what).impossible();
            if (why.empty()) report.fail(pair + ": " + e.what());
            else report.skip(pair + ": " + why);
        }
    };
    for (const auto& producer : peers)
        for (const auto& consumer : peers) {
            try_pair(*producer, *consumer, What::picture);
            if (producer->knows_buffers() && consumer->knows_buffers()) try_pair(*producer, *consumer, What::buffer);
        }
}

/// What leaves a rung as the best one.
struct Force {
    const char* rung;
    std::uint32_t backends = 0;
    std::vector<std::uint64_t> modifiers{};
    What what = What::picture;
};

/// The first pair that ends on the rung when it is forced.
bool force(const std::string& socket, const Peers& peers, const Force& wanted, std::string& how)
{
    for (const auto& producer : peers)
        for (const auto& consumer : peers) {
            if (wanted.what == What::buffer && !(producer->knows_buffers() && consumer->knows_buffers())) continue;
            try {
                Session session(socket, *producer, *consumer, wanted.what);
                session.allocation().backends = wanted.backends;
                session.allocation().modifiers = wanted.modifiers;
                const std::string text = session.run();
                if (session.rung() != wanted.rung) continue;
                how = producer->name() + " -> " + consumer->name() + ": " + text;
                return true;
            } catch (const std::exception& e) {
                how = e.what();
            }
        }
    return false;
}

void force_rungs(const std::string& socket, const Peers& peers, Report& report)
{
    constexpr std::uint32_t gpu =
        DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_GBM) | DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_VULKAN);
    constexpr std::uint32_t system = DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_UDMABUF) |
                                     DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_DMA_HEAP) |
                                     DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_MEMFD);
    constexpr std::uint32_t opaque = DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_VULKAN_OPAQUE);
    for (const Force& wanted :
         {Force{"tiled", opaque}, Force{"linear", gpu, {DMABROKER_MODIFIER_LINEAR}}, Force{"system_dma_buf", system},
          Force{"blit", opaque}, Force{"copy", opaque}, Force{"copy", gpu}, Force{"linear", opaque, {}, What::buffer},
          Force{"blit", opaque, {}, What::buffer}, Force{"copy", opaque, {}, What::buffer}}) {
        std::string how;
        const std::string what =
            fmt::format("forced rung {}{}", wanted.rung, wanted.what == What::buffer ? " for a buffer" : "");
        if (force(socket, peers, wanted, how)) report.pass(what + ": " + how);
        else report.skip(fmt::format("{}: no pair here ends on it; last: {}", what, how));
    }
}

void write_tables(const std::string& folder, const Peers& peers)
{
    int index = 0;
    for (const auto& peer : peers)
        std::ofstream(fmt::format("{}/{:02}.json", folder, index++)) << peer->table().to_json() << '\n';
}

/// What trials found that does not work.
void print_failed_proofs(const std::string& socket)
{
    dmabroker::ConnectOptions options;
    options.remote = socket;
    options.manager = true;
    const Json snapshot = Json::parse(dmabroker::Client::connect(options).inspect()).at("snapshot");
    for (const Json& proof : snapshot.at("proofs")) {
        const Json& key = proof.at("key");
        if (proof.value("result", "") == "works") continue;
        fmt::print("tried {} {} {} from {} ({}) in {} {}: {} {}\n", key.value("format", ""), key.value("modifier", ""),
                   key.value("usage", ""), key.value("backend", ""), key.value("exporter", ""), key.value("api", ""),
                   key.value("importer", ""), proof.value("result", ""), proof.value("reason", ""));
    }
}

int run(const std::string& tables, const std::string& filter)
{
    std::vector<std::string> missing;
    const Peers peers = all_peers(missing);
    if (!tables.empty()) write_tables(tables, peers);
    Report report;
    for (const std::string& what : missing) report.skip(what);
    test::BrokerProcess broker(std::vector<std::string>{});
    try_pairs(broker.socket(), peers, filter, report);
    if (filter.empty()) force_rungs(broker.socket(), peers, report);
    print_failed_proofs(broker.socket());
    if (report.failed) fmt::print("{}", broker.log());
    fmt::print("{} passed, {} failed, {} skipped\n", report.passed, report.failed, report.skipped);
    return report.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

} // namespace
} // namespace dmb::pairs

int main(int argc, char** argv)
{
    const bool tables = argc == 3 && std::string(argv[1]) == "--tables";
    return dmb::pairs::run(tables ? argv[2] : "", argc == 2 ? argv[1] : "");
}
