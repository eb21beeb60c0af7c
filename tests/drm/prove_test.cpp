// SPDX-License-Identifier: MIT
// The workers that prove and copy, driven as the broker drives them: images from every exporter here, with the pattern
// of proof_pattern.hpp in them, through every importer here. The full outcome is printed; what must hold whatever
// the drivers can: nothing that shows other pixels "works", an exporter's own importer does, and
// what was drawn is in the memory.
#include "proto/image/image.hpp"
#include "tests/drm/worker_images.hpp"
#include "tests/drm/worker_process.hpp"
#include "tests/support/fixture.hpp"

#include <csignal>
#include <fstream>
#include <iterator>
#include <linux/udmabuf.h>
#include <map>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dmb::test {
namespace {

constexpr Extent size{64, 48};

/// An image of this process, and the worker that made it, if one did.
struct Subject {
    std::string name;
    ImageDesc desc;
    std::vector<UniqueFd> fds;
    WorkerProcess* owner = nullptr;
    std::vector<int> numbers() const
    {
        std::vector<int> out;
        for (const UniqueFd& fd : fds) out.push_back(fd.get());
        return out;
    }
    const FormatInfo& format() const { return *find_format(desc.format); }
};

struct Importer {
    std::string name;
    Api api = Api::cpu;
    Device device;
};

bool is_interesting(FourCC format)
{
    for (const char* code : {"XR24", "AB24", "XR30", "RG16", "R8", "AB4H", "NV12", "P010", "YUYV"})
        if (format == *parse_fourcc(code)) return true;
    return false;
}

void write_rows(const UniqueFd& memfd, const ImageDesc& desc, const Bytes& packed)
{
    const FormatInfo& format = *find_format(desc.format);
    std::size_t at = 0;
    for (std::size_t p = 0; p < format.plane_count; ++p)
        for (std::uint32_t y = 0; y < plane_extent(format, p, desc.size).height; ++y) {
            const std::size_t row = row_bytes(format, p, desc.size.width);
            const auto to = static_cast<off_t>(desc.planes[p].offset + std::uint64_t{desc.planes[p].stride} * y);
            EXPECT_EQ(::pwrite(memfd.get(), packed.data() + at, row, to), static_cast<ssize_t>(row));
            at += row;
        }
}

/// System memory as the broker makes it; with udmabuf, as a dma-buf.
std::optional<Subject> system_subject(FourCC format, const Bytes& packed, bool udmabuf)
{
    Subject subject;
    subject.desc = linear_layout(size, format).value();
    subject.desc.usage = UsageFlag::sample | UsageFlag::render | usage_cpu;
    UniqueFd memfd =
        memfd_with(Bytes(subject.desc.memories[0].size), udmabuf ? F_SEAL_SHRINK : F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    write_rows(memfd, subject.desc, packed);
    if (udmabuf) {
        const UniqueFd maker = UniqueFd::adopt(::open("/dev/udmabuf", O_RDWR | O_CLOEXEC));
        if (!maker) return std::nullopt;
        udmabuf_create create{static_cast<std::uint32_t>(memfd.get()), UDMABUF_FLAGS_CLOEXEC, 0, subject.desc.memories[0].size};
        memfd = UniqueFd::adopt(::ioctl(maker.get(), UDMABUF_CREATE, &create));
        EXPECT_TRUE(memfd);
        subject.desc.kind = MemoryKind::dma_buf;
        subject.desc.backend = Backend::udmabuf;
    }
    subject.name = fmt::format("{} {}", name(subject.desc.backend), to_string(format));
    subject.fds.push_back(std::move(memfd));
    return subject;
}

class ProveTest : public FdTest {
protected:
    static void SetUpTestSuite()
    {
        prefer_lavapipe();
        for (const auto& arguments : all_workers()) workers_.push_back(std::make_unique<WorkerProcess>(arguments));
        std::erase_if(workers_, [](const auto& worker) { return worker->hello().exports.empty(); });
        prover_ = std::make_unique<WorkerProcess>(std::vector<std::string>{"prove"});
        system_ = std::make_unique<WorkerProcess>(std::vector<std::string>{"system"});
    }
    static void TearDownTestSuite()
    {
        workers_.clear();
        prover_.reset();
        system_.reset();
    }

    /// An image from that worker; none where an odd size or the driver forbids it.
    static std::optional<Subject> allocate(WorkerProcess& worker, const Support& support, const Bytes& contents)
    {
        const UniqueFd memfd = memfd_with(contents);
        WorkerAnswer answer = worker.allocate(support.device, spec_for(support, size, support.usage), memfd.get());
        if (!answer.image()) {
            ADD_FAILURE() << answer.error()->reason.view();
            return std::nullopt;
        }
        Subject subject{fmt::format("{} {} {}", worker.name(), name(answer.image()->desc.backend), to_string(support.format)),
                        answer.image()->desc,
                        {},
                        &worker};
        for (UniqueFd& fd : answer.fds) subject.fds.push_back(std::move(fd));
        return subject;
    }

    template <class Visit> static void each_support(Visit visit)
    {
        for (const auto& worker : workers_)
            for (const Support& support : worker->formats())
                if (is_interesting(support.format)) visit(*worker, support);
    }

    static std::vector<Subject> subjects(ProofPattern pattern)
    {
        std::vector<Subject> out;
        each_support([&](WorkerProcess& worker, const Support& support) {
            auto made = allocate(worker, support, proof_contents(*find_format(support.format), size, pattern));
            if (made) out.push_back(std::move(*made));
        });
        for (const char* code : {"XR24", "AB24", "R8", "NV12"})
            for (const bool udmabuf : {false, true}) {
                const FourCC format = *parse_fourcc(code);
                auto made = system_subject(format, proof_contents(*find_format(format), size, pattern), udmabuf);
                if (made) out.push_back(std::move(*made));
            }
        return out;
    }

    static std::vector<Importer> importers()
    {
        std::vector<Importer> out{{"cpu", Api::cpu, {}}, {"egl software", Api::egl, {.software = true}}};
        for (const auto& worker : workers_)
            for (const auto& [info, _] : worker->hello().exports) {
                if (info.backend == Backend::vulkan) {
                    out.push_back({"vulkan", Api::vulkan, info});
                    out.push_back({"gl_memory", Api::gl_memory, info});
                }
                if (info.backend != Backend::gbm || !info.problem.empty()) continue;
                out.push_back({fmt::format("egl {}", info.driver.view()), Api::egl, info});
                out.push_back({fmt::format("gbm {}", info.driver.view()), Api::gbm, info});
            }
        return out;
    }

    /// A driver may take the worker down: then there is a new one, and no proof.
    static wire::WorkerProof prove(const Importer& importer, const Subject& subject, Usage usage)
    {
        try {
            const WorkerAnswer answer =
                prover_->ask(wire::WorkerProve{importer.api, importer.device, usage, subject.desc}, subject.numbers());
            if (answer.proof()) return *answer.proof();
            ADD_FAILURE() << (answer.error() ? answer.error()->reason.view() : "no proof");
            return {ProofResult::impossible, "an answer that is none"};
        } catch (const std::runtime_error& error) {
            prover_ = std::make_unique<WorkerProcess>(std::vector<std::string>{"prove"});
            prover_->hello();
            return {ProofResult::crashed, std::string_view(error.what())};
        }
    }

    static Result<Bytes> read(WorkerProcess& worker, const Subject& subject)
    {
        WorkerAnswer answer = worker.ask(wire::WorkerRead{subject.desc}, subject.numbers());
        if (answer.error()) return fail(answer.error()->code, "{}", answer.error()->reason.view());
        EXPECT_GT(answer.pixels()->cost_ns, 0u);
        const int seals = ::fcntl(answer.fds[0].get(), F_GET_SEALS);
        EXPECT_EQ(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        Bytes out(packed_bytes(subject.format(), subject.desc.size));
        EXPECT_EQ(::lseek(answer.fds[0].get(), 0, SEEK_END), static_cast<off_t>(out.size()));
        EXPECT_EQ(::pread(answer.fds[0].get(), out.data(), out.size(), 0), static_cast<ssize_t>(out.size()));
        return out;
    }

    static Result<> write(WorkerProcess& worker, const Subject& subject, const Bytes& pixels)
    {
        const UniqueFd memfd = memfd_with(pixels);
        std::vector<int> fds = subject.numbers();
        fds.push_back(memfd.get());
        const WorkerAnswer answer = worker.ask(wire::WorkerWrite{subject.desc}, fds);
        if (answer.error()) return fail(answer.error()->code, "{}", answer.error()->reason.view());
        EXPECT_GT(answer.done()->cost_ns, 0u);
        return {};
    }

    static Result<> blit(WorkerProcess& worker, const Subject& from, const Subject& to)
    {
        std::vector<int> fds = from.numbers();
        for (const int fd : to.numbers()) fds.push_back(fd);
        const WorkerAnswer answer = worker.ask(wire::WorkerBlit{from.desc, to.desc}, fds);
        if (answer.error()) return fail(answer.error()->code, "{}", answer.error()->reason.view());
        EXPECT_GT(answer.done()->cost_ns, 0u);
        return {};
    }

    static inline std::vector<std::unique_ptr<WorkerProcess>> workers_;
    static inline std::unique_ptr<WorkerProcess> prover_, system_;
};

/// A broker can start them whenever it likes: what takes long is only loaded for the first trial.
TEST_F(ProveTest, the_workers_without_devices_load_no_driver_to_greet)
{
    for (const char* kind : {"prove", "system"}) {
        WorkerProcess worker({kind});
        const wire::WorkerHello& hello = worker.hello();
        EXPECT_TRUE(hello.exports.empty());
        std::ifstream maps(fmt::format("/proc/{}/maps", worker.pid()));
        const std::string mapped(std::istreambuf_iterator<char>(maps), {});
        EXPECT_NE(mapped.find("libdmabroker.so"), std::string::npos) << "not the worker's mappings: " << mapped;
        for (const char* driver : {"libvulkan_", "libgallium", "libEGL_", "dri_gbm"})
            EXPECT_EQ(mapped.find(driver), std::string::npos) << kind << ": " << driver;
        EXPECT_EQ(worker.finish(), 0);
    }
}

TEST_F(ProveTest, every_exporter_meets_every_importer)
{
    std::map<std::string, std::size_t> worked;
    const std::vector<Importer> all = importers();
    for (const Importer& importer : all) { // drivers open devices on first use: before anybody compares
        auto subject = system_subject(fourcc("AB24"), proof_contents(*find_format(fourcc("AB24")), size), false);
        prove(importer, *subject, UsageFlag::sample);
    }
    for (const Subject& subject : subjects(ProofPattern::plain)) {
        for (const Importer& importer : all) {
            const Usage usage = importer.api == Api::cpu ? Usage(UsageFlag::cpu_read) : Usage(UsageFlag::sample);
            const auto proof = prove(importer, subject, usage);
            fmt::print("{:34} -> {:14}: {} {}\n", subject.name, importer.name, name(proof.result), proof.reason.view());
            EXPECT_NE(proof.result, ProofResult::wrong_pixels)
                << subject.name << " " << importer.name << ": " << proof.reason.view();
            EXPECT_EQ(proof.result == ProofResult::works, proof.reason.empty());
            worked[fmt::format("{} {}", name(subject.desc.backend), name(importer.api))] += proof.result == ProofResult::works;
        }
    }
    EXPECT_GT(worked["memfd cpu"], 0u);
    for (const auto& worker : workers_)
        for (const Support& support : worker->formats()) {
            const Backend backend = worker->hello().exports[support.device].exporter.backend;
            const Api own = backend == Backend::gbm ? Api::gbm : Api::vulkan;
            EXPECT_GT(worked[fmt::format("{} {}", name(backend), name(own))], 0u);
        }
}

TEST_F(ProveTest, wrong_contents_are_wrong_pixels)
{
    std::size_t told = 0;
    std::vector<Subject> right = subjects(ProofPattern::plain), wrong = subjects(ProofPattern::inverse);
    ASSERT_EQ(right.size(), wrong.size());
    for (std::size_t i = 0; i < right.size(); ++i)
        for (const Importer& importer : importers()) {
            const Usage usage = importer.api == Api::cpu ? Usage(UsageFlag::cpu_read) : Usage(UsageFlag::sample);
            if (prove(importer, right[i], usage).result != ProofResult::works) continue;
            if (importer.api == Api::gbm && right[i].format().plane_count > 1) continue; // GBM shows the first plane only
            const auto proof = prove(importer, wrong[i], usage);
            EXPECT_EQ(proof.result, ProofResult::wrong_pixels) << wrong[i].name << " " << importer.name;
            EXPECT_NE(proof.reason.view().find("pixel"), std::string_view::npos) << proof.reason.view();
            ++told;
        }
    EXPECT_GT(told, 0u);
}

TEST_F(ProveTest, what_is_drawn_is_in_the_memory)
{
    std::size_t drawn = 0;
    for (const Importer& importer : importers()) {
        const bool cpu = importer.api == Api::cpu;
        for (const Subject& subject : subjects(ProofPattern::plain)) {
            const Usage usage = cpu ? usage_cpu : UsageFlag::sample | UsageFlag::render;
            if (!subject.desc.usage.has(usage) || importer.api == Api::gbm) continue;
            const auto proof = prove(importer, subject, usage);
            EXPECT_NE(proof.result, ProofResult::wrong_pixels)
                << subject.name << " " << importer.name << ": " << proof.reason.view();
            if (proof.result != ProofResult::works) continue;
            WorkerProcess& looks = subject.owner ? *subject.owner : *system_;
            const auto seen = read(looks, subject);
            ASSERT_TRUE(seen) << subject.name << ": " << seen.error().reason.view();
            const auto different = wrong_packed(subject.format(), size, *seen, ProofPattern::inverse);
            EXPECT_TRUE(different.empty()) << subject.name << " drawn by " << importer.name << ": " << different.view();
            ++drawn;
        }
    }
    EXPECT_GT(drawn, 0u);
}

TEST_F(ProveTest, what_cannot_be_tried_is_impossible)
{
    const FourCC format = fourcc("AB24");
    const auto subject = system_subject(format, proof_contents(*find_format(format), size), false);
    Device elsewhere;
    elsewhere.id.device_uuid.fill(0x77);
    elsewhere.id.render_node = 0x1234567;
    elsewhere.node = "/dev/null";
    for (const Api api : {Api::vulkan, Api::egl, Api::gl_memory, Api::gbm, Api::kms, Api::v4l2, Api::cuda, Api::other}) {
        const auto proof = prove({"elsewhere", api, elsewhere}, *subject, UsageFlag::sample);
        EXPECT_EQ(proof.result, ProofResult::impossible) << name(api) << ": " << name(proof.result);
        EXPECT_FALSE(proof.reason.empty());
    }
}

TEST_F(ProveTest, what_was_written_is_read)
{
    std::size_t compared = 0;
    each_support([&](WorkerProcess& worker, const Support& support) {
        SCOPED_TRACE(fmt::format("{} {} {}", worker.name(), support.device, to_string(support.format)));
        const FormatInfo& format = *find_format(support.format);
        const Bytes before(packed_bytes(format, size));
        const auto subject = allocate(worker, support, before);
        if (!subject) return;
        Bytes pixels = random_bytes(before.size());
        if (format.sample == SampleType::sfloat) // a NaN need not keep its bits in a GPU
            for (std::byte& byte : pixels) byte &= std::byte{0xbf};
        const auto written = write(worker, *subject, pixels);
        ASSERT_TRUE(written) << written.error().reason.view();
        const auto seen = read(worker, *subject);
        ASSERT_TRUE(seen) << seen.error().reason.view();
        EXPECT_TRUE(without_padding(format, size, *seen) == without_padding(format, size, pixels));
        ++compared;
    });
    EXPECT_GT(compared, 0u);
}

TEST_F(ProveTest, the_system_worker_copies_what_the_cpu_may_map)
{
    for (const char* code : {"AB24", "NV12", "YU12", "YUYV", "RG24"})
        for (const bool udmabuf : {false, true}) {
            const FormatInfo& format = *find_format(*parse_fourcc(code));
            const auto from = system_subject(format.fourcc, Bytes(packed_bytes(format, size)), udmabuf);
            const auto to = system_subject(format.fourcc, Bytes(packed_bytes(format, size)), false);
            if (!from) continue; // no /dev/udmabuf
            const Bytes pixels = random_bytes(packed_bytes(format, size));
            ASSERT_TRUE(write(*system_, *from, pixels)) << from->name;
            EXPECT_TRUE(read(*system_, *from).value() == pixels) << from->name;
            ASSERT_TRUE(blit(*system_, *from, *to)) << from->name;
            EXPECT_TRUE(read(*system_, *to).value() == pixels) << from->name;
        }
}

TEST_F(ProveTest, the_system_worker_refuses_what_it_must_not_map)
{
    const FormatInfo& format = *find_format(fourcc("AB24"));
    const auto good = system_subject(format.fourcc, Bytes(packed_bytes(format, size)), false);
    const auto code = [&](const ImageDesc& desc, int fd) {
        const WorkerAnswer answer = system_->ask(wire::WorkerRead{desc}, {&fd, 1});
        return answer.error() ? answer.error()->code : Errc::internal;
    };
    const UniqueFd unsealed = memfd_with(Bytes(good->desc.memories[0].size), 0);
    EXPECT_EQ(code(good->desc, unsealed.get()), Errc::bad_descriptor);
    ImageDesc desc = good->desc;
    desc.memories[0].size *= 2; // more than there is
    EXPECT_EQ(code(desc, good->fds[0].get()), Errc::bad_layout);
    desc = good->desc;
    desc.planes[0].stride = 1 << 20;
    EXPECT_EQ(code(desc, good->fds[0].get()), Errc::bad_layout);
    desc = good->desc;
    desc.modifier = Modifier{0x0100'0000'0000'0001};
    EXPECT_EQ(code(desc, good->fds[0].get()), Errc::import_refused);
    desc = good->desc;
    desc.kind = MemoryKind::dma_buf;
    EXPECT_EQ(code(desc, good->fds[0].get()), Errc::bad_descriptor);
}

TEST_F(ProveTest, a_blit_copies_every_plane)
{
    std::size_t copied = 0;
    each_support([&](WorkerProcess& worker, const Support& support) {
        SCOPED_TRACE(fmt::format("{} {} {}", worker.name(), support.device, to_string(support.format)));
        const FormatInfo& format = *find_format(support.format);
        const auto from = allocate(worker, support, proof_contents(format, size));
        const auto to = allocate(worker, support, Bytes(packed_bytes(format, size)));
        if (!from || !to) return;
        const auto done = blit(worker, *from, *to);
        // GL draws neither into every format nor shows the bits of packed YUV.
        if (!done && !worker.name().starts_with("vulkan")) fmt::print("{}: {}\n", from->name, done.error().reason.view());
        if (!done && !worker.name().starts_with("vulkan")) return;
        ASSERT_TRUE(done) << done.error().reason.view();
        const auto seen = read(worker, *to);
        ASSERT_TRUE(seen) << seen.error().reason.view();
        EXPECT_TRUE(wrong_packed(format, size, *seen).empty()) << wrong_packed(format, size, *seen).view();
        ++copied;
    });
    EXPECT_GT(copied, 0u);
}

TEST_F(ProveTest, a_blit_between_different_shapes_is_refused)
{
    const auto small = system_subject(fourcc("AB24"), Bytes(size.width * size.height * 4), false);
    const auto other = system_subject(fourcc("XR24"), Bytes(size.width * size.height * 4), false);
    const auto refused = blit(*system_, *small, *other);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::invalid_argument);
}

/// What a dead worker held is closed by the kernel; what it was sent is still ours alone.
TEST_F(ProveTest, a_killed_worker_leaves_nothing_open)
{
    const FourCC format = fourcc("AB24");
    const auto subject = system_subject(format, proof_contents(*find_format(format), size), false);
    for (const int signal : {SIGSTOP, SIGKILL}) {
        const std::size_t before = count_fds();
        {
            WorkerProcess worker({"prove"});
            worker.hello();
            ::kill(worker.pid(), signal); // hung, or gone
            std::vector<std::byte> packet(limits::packet_bytes);
            const auto encoded = wire::encode(wire::WorkerProve{Api::cpu, {}, UsageFlag::cpu_read, subject->desc}, 1, packet);
            packet.resize(encoded.value());
            if (signal == SIGSTOP) worker.send(packet, subject->numbers());
        }
        EXPECT_EQ(count_fds(), before);
    }
}

} // namespace
} // namespace dmb::test
