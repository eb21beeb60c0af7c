// SPDX-License-Identifier: MIT
// The real dmabroker-worker, driven as the broker drives it: one worker for Vulkan and one per DRM device.
// Every format that a hello promises is asked for, filled and read back.
#include "daemon/worker/mapping.hpp"
#include "proto/image/fd_identity.hpp"
#include "proto/image/format_table.hpp"
#include "proto/image/image.hpp"
#include "tests/drm/gbm_reader.hpp"
#include "tests/drm/opaque_reader.hpp"
#include "tests/drm/worker_images.hpp"
#include "tests/drm/worker_process.hpp"
#include "tests/support/fixture.hpp"

#include <fcntl.h>
#include <map>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb::test {
namespace {

Bytes read_mapped(const ImageDesc& desc, const wire::PacketFds& fds)
{
    const FormatInfo& format = *find_format(desc.format);
    Bytes out;
    for (std::size_t i = 0; i < format.plane_count; ++i) {
        const Plane& plane = desc.planes[i];
        const auto mapping = worker::Mapping::map(fds[plane.memory].get(), desc.memories[plane.memory].size);
        EXPECT_TRUE(mapping) << mapping.error().reason.view();
        if (!mapping) return {};
        for (std::uint32_t y = 0; y < plane_extent(format, i, desc.size).height; ++y) {
            const std::byte* row = mapping->data() + plane.offset + std::uint64_t{plane.stride} * y;
            out.insert(out.end(), row, row + row_bytes(format, i, desc.size.width));
        }
    }
    return out;
}

std::string describe(const Exporter& device, const Support& support)
{
    return fmt::format("{} {} {} {}", name(device.backend), device.driver.view(), to_string(support.format),
                       to_string(support.modifier));
}

/// An unknown message: when its answer is here, the worker is done with the request before.
WorkerAnswer ping(WorkerProcess& worker)
{
    std::byte unknown[wire::header_bytes]{};
    unknown[0] = std::byte{0x77};
    unknown[8] = std::byte{9};
    worker.send(unknown);
    return worker.receive();
}

class WorkerTest : public FdTest {
protected:
    static void SetUpTestSuite()
    {
        prefer_lavapipe();
        for (const auto& arguments : all_workers()) workers_.push_back(std::make_unique<WorkerProcess>(arguments));
        std::erase_if(workers_, [](const auto& worker) { return worker->hello().exports.empty(); });
        reader_ = std::make_unique<OpaqueReader>();
        gbm_reader_ = std::make_unique<GbmReader>();
        for (const auto& worker : workers_) warm_up(*worker);
    }
    static void TearDownTestSuite()
    {
        workers_.clear();
        reader_.reset();
        gbm_reader_.reset();
    }

    /// Drivers open devices on first use: before anybody counts descriptors.
    static void warm_up(WorkerProcess& worker)
    {
        const wire::WorkerHello& hello = worker.hello();
        if (worker.formats().empty()) return;
        const Support support = worker.formats().front();
        WorkerAnswer answer = worker.allocate(support.device, spec_for(support, {64, 64}, support.usage));
        if (answer.image()) read(hello.exports[support.device].exporter, answer.image()->desc, std::move(answer.fds));
    }

    template <class Visit> void each_format(Visit visit)
    {
        std::size_t visited = 0;
        for (const auto& worker : workers_)
            for (const Support& support : worker->formats()) {
                const Exporter& device = worker->hello().exports[support.device].exporter;
                SCOPED_TRACE(worker->name() + ": " + describe(device, support));
                visit(*worker, device, support), ++visited;
            }
        if (visited == 0) GTEST_SKIP() << "no worker shows a format here";
    }
    /// Empty when nothing here can look into such an image.
    static std::optional<Bytes> read(const Exporter& device, const ImageDesc& desc, wire::PacketFds fds)
    {
        if (desc.usage.has(UsageFlag::cpu_read)) return read_mapped(desc, fds);
        const bool by_gbm = desc.backend == Backend::gbm && find_format(desc.format)->plane_count == 1;
        if (!by_gbm && desc.kind != MemoryKind::opaque) return std::nullopt;
        auto bytes = by_gbm ? gbm_reader_->read(std::string(device.node.view()), desc, fds[0].get())
                            : reader_->read(desc, std::move(fds[0]));
        EXPECT_TRUE(bytes) << bytes.error().reason.view();
        return bytes ? *bytes : Bytes{};
    }
    static void expect_pixels(WorkerProcess&, const Support&, Extent size, const Bytes* contents);

    static inline std::vector<std::unique_ptr<WorkerProcess>> workers_;
    static inline std::unique_ptr<OpaqueReader> reader_;
    static inline std::unique_ptr<GbmReader> gbm_reader_;
};

void WorkerTest::expect_pixels(WorkerProcess& worker, const Support& support, Extent size, const Bytes* contents)
{
    const FormatInfo& format = *find_format(support.format);
    const UniqueFd memfd = contents ? memfd_with(*contents) : UniqueFd();
    WorkerAnswer answer = worker.allocate(support.device, spec_for(support, size, support.usage), memfd.get());
    if (answer.error() && may_refuse(format, size)) return;
    ASSERT_TRUE(answer.image()) << answer.error()->reason.view();
    EXPECT_EQ(answer.image()->contents_written, contents != nullptr);
    const auto seen = read(worker.hello().exports[support.device].exporter, answer.image()->desc, std::move(answer.fds));
    if (!seen) return;
    const Bytes expected = contents ? *contents : Bytes(packed_bytes(format, size));
    ASSERT_EQ(seen->size(), expected.size());
    std::size_t different = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) different += (*seen)[i] != expected[i];
    EXPECT_EQ(different, 0u) << "of " << expected.size() << " bytes, " << size.width << "x" << size.height;
}

TEST_F(WorkerTest, every_device_has_formats_or_a_problem)
{
    for (const auto& worker : workers_) {
        const wire::WorkerHello& hello = worker->hello();
        EXPECT_FALSE(hello.exports.empty()) << worker->name();
        std::map<std::size_t, std::map<std::uint64_t, std::string>> words;
        for (const Support& f : worker->formats()) {
            EXPECT_FALSE(f.usage.empty());
            words[f.device][f.modifier.value] += fmt::format(" {}({:x})", to_string(f.format), f.usage.bits);
        }
        for (std::size_t i = 0; i < hello.exports.size(); ++i) {
            const Exporter& device = hello.exports[i].exporter;
            fmt::print("{} [{}]: {} | {} | {} | {}{} | {}\n", worker->name(), i, name(device.backend), device.node.view(),
                       device.driver.view(), device.name.view(), device.software ? "software" : "hardware",
                       device.problem.view());
            for (const auto& [modifier, formats] : words[i]) fmt::print("    {}:{}\n", to_string(Modifier{modifier}), formats);
            EXPECT_NE(words[i].empty(), device.problem.empty());
        }
    }
}

TEST_F(WorkerTest, what_the_hello_promises_is_allocated)
{
    each_format([](WorkerProcess& worker, const Exporter& device, const Support& support) {
        for (const Extent picture : {Extent{64, 64}, Extent{1, 1}, Extent{99, 17}}) {
            const Extent size = shaped(support.format, picture);
            WorkerAnswer answer = worker.allocate(support.device, spec_for(support, size, support.usage));
            if (answer.error() && may_refuse(*find_format(support.format), size)) continue;
            ASSERT_TRUE(answer.image()) << answer.error()->reason.view();
            const ImageDesc& desc = answer.image()->desc;
            EXPECT_EQ(desc.size, size);
            EXPECT_EQ(desc.format, support.format);
            EXPECT_EQ(desc.modifier, support.modifier);
            EXPECT_EQ(desc.backend, device.backend);
            EXPECT_EQ(desc.device, device.id);
            EXPECT_EQ(desc.usage, support.usage);
            EXPECT_FALSE(answer.image()->contents_written);
            if (desc.kind == MemoryKind::opaque) continue;
            EXPECT_EQ(desc.planes.size(), support.plane_count);
            // Software importers crash on less.
            for (const Plane& plane : desc.planes)
                EXPECT_TRUE(!device.software || desc.is_buffer() || plane.stride % 16 == 0) << plane.stride;
            for (const UniqueFd& fd : answer.fds) EXPECT_TRUE(identify(fd.get()).writable);
            auto image = Image::validate(desc, wire::take_image_fds(answer.fds, 0, answer.fds.size()));
            EXPECT_TRUE(image) << image.error().reason.view();
        }
    });
}

TEST_F(WorkerTest, initial_contents_arrive_in_every_plane)
{
    each_format([](WorkerProcess& worker, const Exporter&, const Support& support) {
        for (const Extent picture : {Extent{33, 17}, Extent{130, 66}}) {
            const Extent size = shaped(support.format, picture);
            const Bytes contents = random_bytes(packed_bytes(*find_format(support.format), size));
            expect_pixels(worker, support, size, &contents);
        }
    });
}

TEST_F(WorkerTest, contents_larger_than_the_staging_buffer_arrive)
{
    for (const auto& worker : workers_)
        for (const Support& support : worker->formats()) {
            const Backend backend = worker->hello().exports[support.device].exporter.backend;
            if (support.format != fourcc("AB48") || backend == Backend::gbm) continue;
            const Extent size = shaped(support.format, {4099, 1031});
            const Bytes contents = random_bytes(packed_bytes(*find_format(support.format), size));
            expect_pixels(*worker, support, size, &contents);
        }
}

TEST_F(WorkerTest, memory_without_contents_is_zero)
{
    each_format([](WorkerProcess& worker, const Exporter&, const Support& support) {
        const Extent size = shaped(support.format, {66, 34});
        const Bytes contents = random_bytes(packed_bytes(*find_format(support.format), size));
        expect_pixels(worker, support, size, &contents); // dirties what the driver might hand out again
        expect_pixels(worker, support, size, nullptr);
    });
}

TEST_F(WorkerTest, a_hundred_allocations_leave_no_descriptor_in_the_worker)
{
    for (const auto& worker : workers_) {
        if (worker->formats().empty()) continue;
        const Support support = worker->formats().front();
        const Bytes contents(packed_bytes(*find_format(support.format), {64, 64}));
        const UniqueFd memfd = memfd_with(contents);
        const AllocateSpec spec = spec_for(support, {64, 64}, support.usage);
        const std::string pid = std::to_string(worker->pid());
        worker->allocate(support.device, spec, memfd.get()); // drivers open things on first use
        ping(*worker);
        const std::size_t before = count_fds(pid);
        for (int i = 0; i < 100; ++i) worker->allocate(support.device, spec, i % 2 ? memfd.get() : -1);
        ping(*worker);
        EXPECT_EQ(count_fds(pid), before) << worker->name();
    }
}

TEST_F(WorkerTest, contents_that_are_too_short_are_refused)
{
    each_format([](WorkerProcess& worker, const Exporter&, const Support& support) {
        const Extent size = shaped(support.format, {64, 64});
        const Bytes contents(packed_bytes(*find_format(support.format), size) - 1);
        const UniqueFd memfd = memfd_with(contents);
        const auto answer = worker.allocate(support.device, spec_for(support, size, support.usage), memfd.get());
        ASSERT_TRUE(answer.error());
        EXPECT_EQ(answer.error()->code, Errc::bad_layout);
    });
}

TEST_F(WorkerTest, contents_that_are_no_sealed_memfd_are_refused)
{
    int pipe[2];
    ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    const UniqueFd reading = UniqueFd::adopt(pipe[0]), writing = UniqueFd::adopt(pipe[1]);
    const UniqueFd unsealed = memfd_with(Bytes(64 * 64 * 4), 0);
    const UniqueFd zero = UniqueFd::adopt(::open("/dev/zero", O_RDWR | O_CLOEXEC));
    AllocateSpec spec;
    spec.size = {64, 64};
    spec.format = fourcc("AR24");
    for (const auto& worker : workers_)
        for (const int fd : {reading.get(), unsealed.get(), zero.get()}) {
            const auto answer = worker->allocate(0, spec, fd);
            ASSERT_TRUE(answer.error());
            EXPECT_EQ(answer.error()->code, Errc::bad_descriptor);
        }
}

TEST_F(WorkerTest, impossible_requests_get_a_typed_error)
{
    AllocateSpec good;
    good.size = {64, 64};
    good.format = fourcc("AR24");
    const auto expect = [&](std::uint8_t device, const AllocateSpec& spec, Errc code) {
        for (const auto& worker : workers_) {
            const auto answer = worker->allocate(device, spec);
            ASSERT_TRUE(answer.error()) << worker->name();
            EXPECT_EQ(answer.error()->code, code) << worker->name() << ": " << answer.error()->reason.view();
            EXPECT_FALSE(answer.error()->reason.empty());
        }
    };
    expect(200, good, Errc::invalid_argument);
    AllocateSpec spec = good;
    spec.size = {0, 64};
    expect(0, spec, Errc::bad_size);
    spec.size = {64, max_dimension + 1};
    expect(0, spec, Errc::bad_size);
    spec = good;
    spec.modifiers = {Modifier{0x0100'0000'dead'beef}};
    expect(0, spec, Errc::backend_failed);
    spec = good;
    spec.usage = UsageFlag::encode;
    expect(0, spec, Errc::backend_failed);
}

TEST_F(WorkerTest, rules_of_a_layout_are_kept_or_the_request_is_refused)
{
    std::size_t kept = 0;
    each_format([&](WorkerProcess& worker, const Exporter& device, const Support& support) {
        const Extent size = shaped(support.format, {99, 17});
        const Bytes contents = random_bytes(packed_bytes(*find_format(support.format), size));
        const UniqueFd memfd = memfd_with(contents);
        for (const std::uint32_t alignment : {256u, 640u, 4096u}) {
            auto answer = worker.allocate(support.device, spec_for(support, size, support.usage), memfd.get(),
                                          {.stride_alignment = alignment});
            if (answer.error()) {
                EXPECT_EQ(answer.error()->code, Errc::backend_failed);
                continue;
            }
            const ImageDesc desc = answer.image()->desc;
            EXPECT_EQ(broken_rule({.stride_alignment = alignment}, desc).view(), "");
            kept += !desc.planes.empty() && !desc.is_buffer();
            const auto seen = read(device, desc, std::move(answer.fds));
            EXPECT_TRUE(!seen || *seen == contents) << alignment;
        }
        const auto contiguous =
            worker.allocate(support.device, spec_for(support, size, support.usage), -1, {.contiguous = true});
        EXPECT_TRUE(contiguous.error()) << "nobody can promise that";
    });
    fmt::print("{} layouts with longer rows\n", kept);
    EXPECT_TRUE(kept > 0 || ::access("/dev/dri", F_OK) != 0);
}

TEST_F(WorkerTest, a_device_says_which_build_of_its_driver_it_is)
{
    for (const auto& worker : workers_)
        for (const auto& [device, _] : worker->hello().exports) {
            if (!device.problem.empty() && device.driver.empty()) continue; // no driver at all
            fmt::print("{}: driver \"{}\", version \"{}\", pci {:#x}, node {:#x}\n", worker->name(), device.driver.view(),
                       device.version.view(), device.id.pci, device.id.render_node);
            EXPECT_FALSE(device.version.empty()) << worker->name();
            EXPECT_NE(device.version.view(), device.driver.view());
        }
}

TEST_F(WorkerTest, unknown_messages_are_answered_and_the_worker_lives)
{
    for (const auto& worker : workers_) {
        const auto answer = ping(*worker);
        ASSERT_TRUE(answer.error());
        EXPECT_EQ(answer.error()->code, Errc::unsupported);
        EXPECT_EQ(answer.serial, 9u);
    }
}

TEST_F(WorkerTest, a_driver_that_is_none_has_no_device)
{
    WorkerProcess worker({"vulkan", "/dev/null"});
    EXPECT_TRUE(worker.hello().exports.empty());
    const auto answer = worker.allocate(0, spec_for({.format = fourcc("AB24")}, {64, 64}, {}));
    ASSERT_TRUE(answer.error());
    EXPECT_EQ(answer.error()->code, Errc::invalid_argument);
}

TEST_F(WorkerTest, a_closed_socket_ends_the_worker_cleanly)
{
    WorkerProcess worker({"gbm", "/dev/null"});
    worker.hello();
    EXPECT_EQ(worker.finish(), 0);
}

TEST_F(WorkerTest, malformed_bytes_end_the_worker)
{
    WorkerProcess worker({"gbm", "/dev/null"});
    worker.hello();
    const std::byte rubbish[3] = {};
    worker.send(rubbish);
    EXPECT_THROW(worker.receive(), std::runtime_error);
    EXPECT_EQ(WEXITSTATUS(worker.finish()), 1);
}

TEST_F(WorkerTest, a_node_that_is_no_gpu_is_a_problem_and_not_a_crash)
{
    for (const char* node : {"/dev/null", "/nonexistent", "/dev/zero"}) {
        WorkerProcess worker({"gbm", node});
        ASSERT_EQ(worker.hello().exports.size(), 1u);
        EXPECT_FALSE(worker.hello().exports[0].exporter.problem.empty());
        AllocateSpec spec;
        spec.size = {64, 64};
        spec.format = fourcc("AR24");
        EXPECT_TRUE(worker.allocate(0, spec).error());
    }
}

} // namespace
} // namespace dmb::test
