// SPDX-License-Identifier: MIT
// The real broker with workers that do what the test says (fake_worker.cpp), and the invariant afterwards.
#pragma once
#include "tests/integration/hostile.hpp"

#include "proto/wire/digest.hpp"

#include <csignal>
#include <fmt/core.h>
#include <sstream>

namespace dmb::test {

inline constexpr Modifier tiled{0x0100000000000002}, swizzled{0x0100000000000001};
inline constexpr double patience = 60; // seconds, for workers that have to be started, on a busy machine

/// A folder for the workers' orders and the broker's cache, both of which outlive the broker.
class Orders {
public:
    Orders()
    {
        std::string pattern = (std::filesystem::temp_directory_path() / "dmabroker-fake-XXXXXX").string();
        if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
        folder_ = pattern;
        ::setenv("DMABROKER_FAKE_WORKER", folder_.c_str(), 1);
        drivers({"driver"});
        device("first");
    }
    ~Orders() { std::filesystem::remove_all(folder_); }
    Orders(const Orders&) = delete;
    Orders& operator=(const Orders&) = delete;

    /// The Vulkan drivers of this machine: a worker for each.
    void drivers(const std::vector<std::string>& names) const
    {
        std::string files;
        for (const std::string& name : names) {
            write((name + ".json").c_str(), "");
            files += folder_ + "/" + name + ".json:";
        }
        ::setenv("VK_DRIVER_FILES", files.c_str(), 1);
    }
    std::string cache() const { return folder_ + "/cache"; }
    void device(const char* name, std::vector<Modifier> modifiers = {tiled, swizzled, modifier_linear}) const
    {
        std::string text = name;
        for (const Modifier m : modifiers) text += fmt::format(" {:x}", m.value);
        write("device", text);
    }
    void rule(const char* kind, Modifier modifier, const char* action) const
    {
        write("rules", fmt::format("{} {:x} {}\n", kind, modifier.value, action));
    }
    void no_rules() const { write("rules", ""); }
    int asked(const std::string& kind, Modifier modifier) const
    {
        std::ifstream file(folder_ + "/asked");
        int count = 0;
        for (std::string line; std::getline(file, line);) count += line == fmt::format("{} {:x}", kind, modifier.value);
        return count;
    }

private:
    void write(const char* name, const std::string& text) const
    {
        std::ofstream(folder_ + "/" + name + ".new") << text;
        std::filesystem::rename(folder_ + "/" + name + ".new", folder_ + "/" + name);
    }
    std::string folder_;
};

class WorkerFault : public FdTest {
protected:
    WorkerFault() { start(); }
    void TearDown() override
    {
        if (!broker) return;
        EXPECT_TRUE(broker->alive()) << broker->log();
        clients.clear();
        EXPECT_TRUE(eventually([&] { return is_at_baseline(); }, is_instrumented() ? patience : 2))
            << fds() << " descriptors (before: " << fds_before << ")\n"
            << broker->log();
        stop();
    }

    void start()
    {
        broker.emplace(std::vector<std::string>{"--worker", FAKE_WORKER, "--worker-timeout", is_instrumented() ? "5" : "2",
                                                "--cache", orders.cache()});
        manager.emplace(broker->socket() + ".manager");
        if (!eventually([&] { return is_ready("first"); }, patience)) ADD_FAILURE() << "no device: " << broker->log();
        EXPECT_TRUE(eventually([&] { return fds() == (fds_before = fds()); }));
    }
    void stop()
    {
        clients.clear();
        manager.reset();
        broker.reset();
    }
    bool is_ready(std::string_view name)
    {
        const Snapshot now = manager->snapshot();
        return std::ranges::any_of(
            now.exports, [&](const Exports& e) { return e.exporter.name.view() == name && e.exporter.problem.empty(); });
    }
    /// Without the one socket of each worker: helpers come and go.
    std::size_t fds() const
    {
        const std::size_t all = broker->fds(), workers = children_of(broker->pid()).size();
        return all - std::min(all, workers);
    }
    bool is_at_baseline()
    {
        const Snapshot now = manager->snapshot();
        return fds() == fds_before && now.images.empty() && now.clients.size() == 1;
    }
    RawClient& client() { return *clients.emplace_back(std::make_unique<RawClient>(broker->socket())); }

    /// One that has all the layouts. Display tables cannot be tried: their layouts are first met when allocating.
    static wire::Allocate request_of(RawClient& who, Api api)
    {
        Capabilities table;
        table.device = {.node = "/dev/dri/card9", .driver = "other", .version = "2"};
        table.api = api;
        for (const Modifier m : {modifier_linear, swizzled, tiled})
            for (const MemoryKind kind : {MemoryKind::dma_buf, MemoryKind::memfd})
                table.rows.push_back({.kind = kind, .format = fourcc("AB24"), .modifier = m, .plane_count = 1});
        make_canonical(table);
        const Digest digest = *wire::digest_of(table);
        EXPECT_TRUE(who.get<wire::CapabilitiesReply>(make_definition(table, digest)).known);
        wire::Allocate out = make_allocate({64, 64}, fourcc("AB24"));
        out.spec.usage = UsageFlag::render;
        out.spec.backends = {};
        out.participants.push_back({.name = "consumer", .capabilities = digest, .usage = UsageFlag::sample});
        return out;
    }
    /// Allocates; the layout that came of it.
    Modifier layout_for(RawClient& who, Api api)
    {
        const wire::Allocate request = request_of(who, api);
        if (!who.say(request)) return modifier_invalid;
        const auto answer = who.hear(patience);
        const auto* reply = answer ? std::get_if<wire::ImageReply>(&answer->message) : nullptr;
        if (!reply) {
            const auto* error = answer ? std::get_if<wire::ErrorReply>(&answer->message) : nullptr;
            ADD_FAILURE() << (error ? error->reason.view() : "no answer") << "\n" << broker->log();
            return modifier_invalid;
        }
        last = *reply;
        return reply->desc.modifier;
    }
    /// All that `why` says of the last image.
    std::string why(RawClient& who)
    {
        const Decision decision = who.get<wire::WhyReply>(wire::Why{.request = {}, .image = last.image}).decision;
        std::string out(decision.outcome.view());
        for (const Removal& removal : decision.removals) out.append("\n").append(removal.reason.view());
        return out;
    }
    pid_t worker(std::string_view kind) const
    {
        for (const pid_t pid : children_of(broker->pid())) {
            std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
            std::string program, argument;
            std::getline(file, program, '\0');
            if (std::getline(file, argument, '\0') && argument == kind) return pid;
        }
        return -1;
    }

    Orders orders;
    std::optional<BrokerProcess> broker;
    std::optional<RawClient> manager;
    std::vector<std::unique_ptr<RawClient>> clients;
    wire::ImageReply last;
    std::size_t fds_before = 0;
};

} // namespace dmb::test
