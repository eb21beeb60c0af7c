// SPDX-License-Identifier: MIT
// Mesa's own drivers of AMD's GPUs, without the GPUs (kernel.cpp): they list the modifiers of each generation, lay images
// out in them, tiled and compressed, with planes for the compression, and take each other's. No pixel can be seen here.
#include "proto/image/format_table.hpp"
#include "proto/image/image.hpp"
#include "tests/drm/worker_images.hpp"
#include "tests/drm/worker_process.hpp"
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"

#include <algorithm>
#include <cstdlib>
#include <dlfcn.h>
#include <dmabroker/dmabroker.hpp>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <linux/udmabuf.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sys/ioctl.h>
#include <unistd.h>

namespace dmb::test {
namespace {

using Json = nlohmann::json;
using dmabroker::Rights;

struct Gpu {
    const char* name; ///< as AMDGPU_GPU_ID takes it
    /// Of AR24: the picture, its compression, and the compression for a display where that is another.
    std::size_t most_planes;
};
void PrintTo(const Gpu& gpu, std::ostream* out) { *out << gpu.name; }

constexpr Gpu raven{"raven", 3}, navi31{"navi31", 3};
const FourCC ar24 = fourcc("AR24");
constexpr const char* shim = "libamdgpu_noop_drm_shim.so";

/// For processes that are started while it lives.
class WithGpu {
public:
    explicit WithGpu(const Gpu& gpu)
    {
        ::setenv("LD_PRELOAD", fmt::format("{}:{}", SHIM_KERNEL, shim).c_str(), 1);
        ::setenv("AMDGPU_GPU_ID", gpu.name, 1);
        ::setenv("MESA_SHADER_CACHE_DISABLE", "true", 1);
    }
    ~WithGpu()
    {
        ::unsetenv("LD_PRELOAD");
        ::unsetenv("AMDGPU_GPU_ID");
        ::unsetenv("MESA_SHADER_CACHE_DISABLE");
    }
    WithGpu(const WithGpu&) = delete;
    WithGpu& operator=(const WithGpu&) = delete;
};

bool is_explicit(Modifier modifier) { return modifier != modifier_linear && modifier != modifier_invalid; }

std::unique_ptr<WorkerProcess> start(const Gpu& gpu, const std::vector<std::string>& arguments)
{
    const WithGpu with(gpu);
    auto worker = std::make_unique<WorkerProcess>(arguments);
    worker->hello();
    return worker;
}

/// Every layout that the worker offers is asked for by its modifier alone, in a size that fits no tile.
void expect_every_layout(WorkerProcess& worker, const Gpu& gpu)
{
    const wire::WorkerHello& hello = worker.hello();
    ASSERT_FALSE(hello.exports.empty());
    EXPECT_EQ(hello.exports[0].exporter.problem.view(), "");
    EXPECT_FALSE(hello.exports[0].exporter.software);
    std::set<Modifier> tiled;
    std::size_t most_planes = 0;
    for (const Support& row : worker.formats()) {
        if (!is_explicit(row.modifier)) continue;
        SCOPED_TRACE(fmt::format("{} {}", to_string(row.format), to_string(row.modifier)));
        const WorkerAnswer answer = worker.allocate(row.device, spec_for(row, {601, 333}, row.usage));
        if (!answer.image()) {
            EXPECT_TRUE(may_refuse(*find_format(row.format), {601, 333})) << answer.error()->reason.view();
            continue;
        }
        const ImageDesc& desc = answer.image()->desc;
        EXPECT_EQ(desc.modifier, row.modifier);
        EXPECT_EQ(desc.planes.size(), row.plane_count);
        EXPECT_EQ(desc.rung, Rung::tiled);
        const auto good = check_layout(desc);
        EXPECT_TRUE(good) << good.error().reason.view();
        if (row.format != ar24) continue;
        tiled.insert(row.modifier);
        most_planes = std::max(most_planes, desc.planes.size());
    }
    EXPECT_GE(tiled.size(), 3u) << "modifiers of AR24";
    EXPECT_EQ(most_planes, gpu.most_planes);
}

/// Empty: Mesa's shim is installed.
std::string missing()
{
    void* const found = ::dlopen(shim, RTLD_LAZY | RTLD_LOCAL);
    if (!found) return fmt::format("{}; `./dev setup` installs mesa-drm-shim", ::dlerror());
    ::dlclose(found);
    return {};
}

class Shim : public FdTest, public testing::WithParamInterface<Gpu> {
protected:
    void SetUp() override
    {
        if (const std::string text = missing(); !text.empty()) GTEST_SKIP() << text;
    }
};

TEST_P(Shim, gbm_makes_every_layout_that_the_driver_lists)
{
    const auto worker = start(GetParam(), {"gbm", "/dev/dri/renderD128"});
    expect_every_layout(*worker, GetParam());
    // Others can import an explicit layout; the driver's own secret comes after these, and LINEAR last.
    std::vector<int> order;
    for (const Support& row : worker->formats())
        if (row.format == ar24) order.push_back(is_explicit(row.modifier) ? 0 : row.modifier == modifier_invalid ? 1 : 2);
    EXPECT_TRUE(std::ranges::is_sorted(order));
    EXPECT_EQ(worker->finish(), 0);
}

TEST_P(Shim, vulkan_makes_every_layout_that_the_driver_lists)
{
    for (const auto& arguments : all_workers()) {
        if (arguments.size() != 2 || arguments[1].find("radeon") == std::string::npos) continue;
        const auto worker = start(GetParam(), arguments);
        expect_every_layout(*worker, GetParam());
        EXPECT_EQ(worker->finish(), 0);
        return;
    }
    FAIL() << "Mesa's Vulkan driver for these GPUs is not installed";
}

TEST_P(Shim, what_programs_state_has_its_modifiers_and_its_rule_for_rows)
{
    const std::filesystem::path folder = testing::TempDir();
    {
        const WithGpu with(GetParam());
        ASSERT_EQ(std::system(fmt::format("{} tables {} stated 2>/dev/null", SHIM_PEER, folder.string()).c_str()), 0);
    }
    for (const char* api : {"egl", "vulkan"}) {
        const std::filesystem::path file = folder / fmt::format("stated_{}.json", api);
        const Json table = Json::parse(std::ifstream(file)).at("capabilities");
        std::filesystem::remove(file);
        EXPECT_EQ(table.at("rules").at("stride_alignment"), 256) << api;
        EXPECT_EQ(table.at("rules").at("offset_alignment"), 256) << api;
        const auto tiled = std::ranges::count_if(table.at("rows"), [](const Json& row) {
            return row.at("format") == "AR24" && row.at("modifier").get<std::string>().starts_with("0x02");
        });
        EXPECT_GE(tiled, 3) << api;
    }
}

INSTANTIATE_TEST_SUITE_P(Amd, Shim,
                         testing::Values(raven, Gpu{"vega10", 2}, Gpu{"navi10", 2}, Gpu{"navi21", 3}, navi31,
                                         Gpu{"gfx1150", 3}),
                         [](const auto& param) { return std::string(param.param.name); });

// ---- Through the broker, into another process ------------------------------------------------------------

/// What peer.cpp says of each image.
std::vector<std::string> import(const Gpu& gpu, const std::string& socket, const std::vector<std::string>& tokens)
{
    std::string command = fmt::format("{} import {}", SHIM_PEER, socket);
    for (const std::string& token : tokens) command += " " + token;
    const WithGpu with(gpu);
    std::FILE* const pipe = ::popen(command.c_str(), "re");
    std::vector<std::string> lines;
    char line[512];
    while (pipe && std::fgets(line, sizeof line, pipe)) lines.push_back(line);
    EXPECT_TRUE(pipe && ::pclose(pipe) == 0);
    return lines;
}

/// A broker on the newest of them.
class ShimBroker : public FdTest {
protected:
    void SetUp() override
    {
        if (const std::string text = missing(); !text.empty()) GTEST_SKIP() << text;
        if (::access("/dev/udmabuf", R_OK | W_OK) != 0)
            GTEST_SKIP() << "no /dev/udmabuf on this machine: the broker takes nothing but real dma-bufs";
        const WithGpu with(navi31);
        broker_ = std::make_unique<BrokerProcess>(std::vector<std::string>{"--worker-timeout", "200"});
    }
    /// The tiled layouts of AR24 that both kinds of worker offer, when they are there.
    std::vector<std::pair<std::string, std::uint64_t>> tiled(dmabroker::Client& client)
    {
        std::vector<std::pair<std::string, std::uint64_t>> out;
        const auto complete = [&] {
            const Json snapshot = Json::parse(client.inspect()).at("snapshot");
            out.clear();
            std::set<std::string> backends;
            for (const Json& one : snapshot.at("exports"))
                for (const Json& row : one.at("rows")) {
                    const std::string backend = one.at("exporter").at("backend"), modifier = row.at("modifier");
                    if (row.at("format") != "AR24" || !modifier.starts_with("0x02")) continue; // AMD's
                    out.emplace_back(backend, std::stoull(modifier, nullptr, 16));
                    backends.insert(backend);
                }
            return backends == std::set<std::string>{"gbm", "vulkan"};
        };
        EXPECT_TRUE(eventually(complete, 200)) << broker_->log();
        return out;
    }
    std::unique_ptr<BrokerProcess> broker_;
};

TEST_F(ShimBroker, tiled_and_compressed_images_reach_another_process_with_all_their_planes)
{
    auto client = dmabroker::Client::connect({.remote = broker_->socket()});
    std::vector<dmabroker::Image> images;
    std::vector<std::string> tokens, what;
    for (const auto& [backend, modifier] : tiled(client)) {
        const std::uint32_t from = DMABROKER_BACKEND_BIT(backend == "gbm" ? DMABROKER_BACKEND_GBM : DMABROKER_BACKEND_VULKAN);
        images.push_back(client.allocate({.size = {601, 333},
                                          .format = ar24.value,
                                          .usage = dmabroker::Usage::sample | dmabroker::Usage::render,
                                          .modifiers = {modifier},
                                          .backends = from}));
        EXPECT_EQ(images.back().info().modifier, modifier);
        tokens.push_back(images.back().token(Rights::read | Rights::write));
        what.push_back(
            fmt::format("{} {}, {} planes", backend, to_string(Modifier{modifier}), images.back().info().plane_count));
    }
    ASSERT_GE(tokens.size(), 10u);

    const std::vector<std::string> same = import(navi31, broker_->socket(), tokens);
    ASSERT_EQ(same.size(), 2 * tokens.size());
    for (std::size_t i = 0; i < same.size(); ++i) {
        fmt::print("{}: {}", what[i / 2], same[i]);
        EXPECT_EQ(same[i], i % 2 ? "vulkan imported\n" : "egl imported\n") << what[i / 2];
    }

    // A GPU of another generation knows none of them, and the reason names the modifier.
    const std::vector<std::string> other = import(raven, broker_->socket(), tokens);
    ASSERT_EQ(other.size(), 2 * tokens.size());
    for (std::size_t i = 0; i < other.size(); ++i) {
        if (i < 2) fmt::print("{}: {}", what[i / 2], other[i]);
        EXPECT_NE(other[i].find("modifier"), std::string::npos) << what[i / 2] << ": " << other[i];
    }
}

/// A dma-buf with one plane of AR24, given to the broker by a client.
dmabroker::Image registered(dmabroker::Client& client, dmabroker::Size size, std::uint32_t stride, std::uint64_t offset)
{
    const std::uint64_t bytes = (std::uint64_t{stride} * size.height + offset + 4095) / 4096 * 4096;
    const UniqueFd memory = memfd_with(Bytes(bytes));
    const UniqueFd device = UniqueFd::adopt(::open("/dev/udmabuf", O_RDWR | O_CLOEXEC));
    udmabuf_create request{static_cast<std::uint32_t>(memory.get()), UDMABUF_FLAGS_CLOEXEC, 0, bytes};
    const UniqueFd buffer = UniqueFd::adopt(::ioctl(device.get(), UDMABUF_CREATE, &request));
    dmabroker_image_info info{};
    info.width = size.width;
    info.height = size.height;
    info.format = ar24.value;
    info.modifier = DMABROKER_MODIFIER_LINEAR;
    info.kind = DMABROKER_DMA_BUF;
    info.usage = DMABROKER_USAGE_SAMPLE | DMABROKER_USAGE_RENDER;
    info.plane_count = info.memory_count = 1;
    info.planes[0] = {0, stride, offset};
    info.memory_size[0] = bytes;
    const int fd = buffer.get();
    return client.register_image(info, &fd);
}

TEST_F(ShimBroker, rows_are_taken_where_the_rule_for_these_drivers_says_so)
{
    auto client = dmabroker::Client::connect({.remote = broker_->socket()});
    struct Rows {
        std::uint32_t stride;
        std::uint64_t offset;
        bool good;
    };
    const Rows all[] = {{2404, 0, false}, {2432, 0, false},  {2496, 0, false},   {2560, 0, true},
                        {2816, 0, true},  {2560, 64, false}, {2560, 128, false}, {2560, 256, true}};
    std::vector<dmabroker::Image> images;
    std::vector<std::string> tokens;
    for (const Rows& rows : all) {
        images.push_back(registered(client, {601, 333}, rows.stride, rows.offset));
        tokens.push_back(images.back().token(Rights::read | Rights::write));
    }
    const std::vector<std::string> seen = import(navi31, broker_->socket(), tokens);
    ASSERT_EQ(seen.size(), 2 * tokens.size());
    for (std::size_t i = 0; i < seen.size(); ++i) {
        const Rows& rows = all[i / 2];
        EXPECT_EQ(seen[i].ends_with(" imported\n"), rows.good) << rows.stride << " at " << rows.offset << ": " << seen[i];
    }
}

} // namespace
} // namespace dmb::test
