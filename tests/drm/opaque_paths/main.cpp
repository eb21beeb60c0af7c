// SPDX-License-Identifier: MIT
// The ways to share an image or a buffer where GPUs share opaque memory and no dma-bufs (NVIDIA without nvidia-drm), each as
// two processes through a real broker, pixels compared: who waits for whom on the GPU, who else takes the memory, and what it
// is worth against shared memory.
//
//   opaque_paths [TEXT]    only paths whose name has this text in it
//   --tables FOLDER        also writes what everybody and the broker can do there, as JSON
//   --socket PATH          a running broker's; else $DMABROKERD or this build's is started
#include "tests/drm/opaque_paths/buffer_paths.hpp"
#include "tests/drm/opaque_paths/cuda_paths.hpp"
#include "tests/drm/opaque_paths/gl_paths.hpp"
#include "tests/drm/opaque_paths/ratio.hpp"
#include "tests/drm/opaque_paths/tables.hpp"
#include "tests/support/broker_process.hpp"

#include <cstdlib>
#include <fmt/core.h>

namespace dmb::paths {
namespace {

struct Options {
    std::string text, tables, socket;
};

/// Counts and prints.
class Report {
public:
    explicit Report(std::string filter) : filter_(std::move(filter)) {}
    void pair(const std::string& name, const Role& producer, const Role& consumer)
    {
        if (wants(name)) say(name, run_pair(producer, consumer));
    }
    void alone(const std::string& name, const std::function<std::string()>& work)
    {
        if (wants(name)) say(name, run_alone(work));
    }
    void say(const std::string& name, const Outcome& outcome)
    {
        static constexpr const char* words[] = {"ok  ", "FAIL", "SKIP"};
        const auto verdict = static_cast<std::size_t>(outcome.verdict);
        ++counts_[verdict];
        fmt::print("{} {}{}{}\n", words[verdict], name, outcome.text.empty() ? "" : ": ", outcome.text);
        std::fflush(stdout);
    }
    bool failed() const { return counts_[1] != 0; }
    void summary() const { fmt::print("{} passed, {} failed, {} skipped\n", counts_[0], counts_[1], counts_[2]); }

private:
    bool wants(const std::string& name) const { return name.find(filter_) != std::string::npos; }
    std::string filter_;
    int counts_[3] = {};
};

using End = std::string (*)(Link&, const Setup&, Sync);

void share(Report& report, const Setup& setup, const std::string& name, End producer, End consumer, Sync sync)
{
    static constexpr const char* how[] = {"when finished", "binary semaphore", "timeline semaphore, waited for first"};
    report.pair(
        fmt::format("{}, {}", name, how[static_cast<int>(sync)]), [=](Link& link) { return producer(link, setup, sync); },
        [=](Link& link) { return consumer(link, setup, sync); });
}

void share_opaque(Report& report, const Setup& setup, const std::string& device)
{
    const std::string vulkan = "vulkan " + device;
    for (const Sync sync : {Sync::finished, Sync::binary, Sync::timeline})
        share(report, setup, vulkan + " -> vulkan", owner_draws, vulkan_reads, sync);
    for (const Sync sync : {Sync::finished, Sync::binary}) {
        share(report, setup, vulkan + " -> gl", owner_draws, gl_reads, sync);
        share(report, setup, "gl -> " + vulkan, gl_draws, owner_reads, sync);
        share(report, setup, vulkan + " -> cuda", owner_draws, cuda_reads, sync);
        share(report, setup, "cuda -> " + vulkan, cuda_draws, owner_reads, sync);
    }
}

void share_buffer(Report& report, const Setup& setup, const std::string& device)
{
    using Take = std::string (*)(Link&, const Setup&);
    const auto take = [&](const char* api, Take end) {
        report.pair(
            fmt::format("buffer vulkan {} <-> {}", device, api), [=](Link& link) { return buffer_owner(link, setup); },
            [=](Link& link) { return end(link, setup); });
    };
    take("vulkan", vulkan_takes_buffer);
    take("gl", gl_takes_buffer);
    take("cuda", cuda_takes_buffer);
}

void measure(Report& report, const Setup& setup, const std::string& device)
{
    for (const dmabroker::Size extent : {dmabroker::Size{1920, 1080}, dmabroker::Size{3840, 2160}})
        report.pair(
            fmt::format("ratio {}x{} on vulkan {}", extent.width, extent.height, device),
            [=](Link& link) { return ratio_producer(link, setup, extent); },
            [=](Link& link) { return ratio_consumer(link, setup, extent); });
}

/// Loads drivers, so in a child.
unsigned count_devices(Report& report)
{
    const Outcome outcome = run_alone([] { return std::to_string(gpu::VulkanContext::count()); });
    if (outcome.verdict == Verdict::passed) return static_cast<unsigned>(std::stoul(outcome.text));
    report.say("vulkan", {Verdict::skipped, outcome.text});
    return 0;
}

void run_paths(Report& report, const std::string& socket)
{
    for (unsigned i = 0; i < count_devices(report); ++i) {
        const Setup setup{socket, i};
        share_opaque(report, setup, std::to_string(i));
        share_buffer(report, setup, std::to_string(i));
        measure(report, setup, std::to_string(i));
    }
    const Setup setup{socket, 0};
    report.pair(
        "cuda's dma-buf -> everybody", [=](Link& link) { return cuda_registers(link, setup); },
        [=](Link& link) { return everybody_opens(link, setup); });
}

int run(const Options& options)
{
    std::unique_ptr<test::BrokerProcess> broker;
    if (options.socket.empty()) broker = std::make_unique<test::BrokerProcess>(std::vector<std::string>{});
    const std::string socket = broker ? broker->socket() : options.socket;
    Report report(options.text);
    if (!options.tables.empty()) report.alone("tables", [&] { return write_tables(options.tables, {socket, 0}); });
    run_paths(report, socket);
    if (report.failed() && broker) fmt::print("{}", broker->log());
    report.summary();
    return report.failed() ? EXIT_FAILURE : EXIT_SUCCESS;
}

Options parse(int argc, char** argv)
{
    Options out;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--tables" && i + 1 < argc) out.tables = argv[++i];
        else if (word == "--socket" && i + 1 < argc) out.socket = argv[++i];
        else out.text = word;
    }
    return out;
}

} // namespace
} // namespace dmb::paths

int main(int argc, char** argv) { return dmb::paths::run(dmb::paths::parse(argc, argv)); }
