// SPDX-License-Identifier: MIT
// A driver and its helpers without a process: tests say what each layout does to it, and when it answers. Its
// memory is memfds, which nobody looks into.
#pragma once
#include "daemon/alloc/allocator.hpp"
#include "daemon/alloc/memfd.hpp"
#include "proto/image/format_table.hpp"
#include "proto/image/image.hpp"

#include <deque>
#include <map>
#include <sys/stat.h>

namespace dmb::test {

inline constexpr Modifier tiled{0x0100000000000002};
inline constexpr Modifier swizzled{0x0100000000000001};

/// Answers at once, or when the test says so.
class Answers {
public:
    bool held = false;
    std::size_t waiting() const { return waiting_.size(); }
    void give(std::move_only_function<void()> answer)
    {
        if (held) waiting_.push_back(std::move(answer));
        else answer();
    }
    /// The oldest one.
    void release()
    {
        auto answer = std::move(waiting_.at(0));
        waiting_.pop_front();
        answer();
    }
    void release_all()
    {
        held = false;
        while (!waiting_.empty()) release();
    }

private:
    std::deque<std::move_only_function<void()>> waiting_;
};

struct FakeHelper : Helper {
    void prove(const Importer& importer, const ImageDesc& desc, std::span<const int> fds, Instant now,
               Done<Proven> done) override
    {
        struct stat memory{};
        ::fstat(fds[0], &memory);
        proven.push_back(importer);
        memories.push_back(memory.st_ino);
        const auto found = proofs.find(desc.modifier.value);
        Result<Proven> answer = Proven{ProofResult::works, {}};
        if (found != proofs.end() && desc.kind != MemoryKind::memfd) answer = found->second;
        answers.give([this, answer, now, done = std::move(done)]() mutable {
            if (std::exchange(abandoned_, false)) answer = fail(Errc::shutting_down, "abandoned");
            done(answer, now);
        });
    }
    void abandon(Instant) override
    {
        ++times_abandoned;
        abandoned_ = true;
        answers.release();
    }
    void read(const ImageDesc&, std::span<const int>, Instant now, Done<Pixels> done) override
    {
        ++reads;
        const std::byte pixel[4]{};
        Result<Pixels> answer = std::unexpected(read_error);
        if (read_error.code == Errc{}) answer = Pixels{*sealed_copy("pixels", pixel), 3};
        answers.give([answer = std::move(answer), now, done = std::move(done)]() mutable { done(std::move(answer), now); });
    }
    void write(const ImageDesc& desc, std::span<const int>, Instant now, Done<std::uint64_t> done) override
    {
        written.push_back(desc);
        count(write_error, 4, now, std::move(done));
    }
    void blit(const ImageDesc&, const ImageDesc&, std::span<const int>, Instant now, Done<std::uint64_t> done) override
    {
        ++blits;
        count(blit_error, 2, now, std::move(done));
    }

    std::map<std::uint64_t, Result<Proven>> proofs; ///< of the GPU's images, by modifier; all else works
    Error read_error{Errc{}, ""}, write_error{Errc{}, ""}, blit_error{Errc{}, ""};
    Answers answers;
    std::vector<Importer> proven;
    std::vector<ino_t> memories; ///< of the images in `proven`
    std::vector<ImageDesc> written;
    int reads = 0, blits = 0, times_abandoned = 0;

private:
    bool abandoned_ = false;
    void count(const Error& error, std::uint64_t cost_ns, Instant now, Done<std::uint64_t> done)
    {
        Result<std::uint64_t> answer = cost_ns;
        if (error.code != Errc{}) answer = std::unexpected(error);
        answers.give([answer, now, done = std::move(done)]() mutable { done(answer, now); });
    }
};

struct FakeGpu : Allocator {
    explicit FakeGpu(std::vector<Modifier> modifiers = {tiled, swizzled, modifier_linear})
    {
        gbm.add(Backend::gbm);
        const Device device{.id = {.device_uuid = {1}}, .node = "/dev/dri/renderD128", .driver = "fake", .version = "1.0"};
        Exports& gpu = known.emplace_back(Exporter{device, Backend::gbm, "Fake GPU", {}});
        const Usage usage = Usage(UsageFlag::render) | UsageFlag::sample;
        for (const Modifier m : modifiers)
            gpu.rows.push_back({.format = fourcc("AB24"), .modifier = m, .plane_count = 1, .usage = usage});
    }
    std::span<const Exports> exports() const override { return known; }
    BackendSet offers() const override { return gbm; }
    void allocate(std::uint8_t device, const AllocateSpec& spec, const LayoutRules&, int contents, Instant now,
                  Completion done) override
    {
        asked.push_back(spec);
        const Modifier modifier = spec.modifiers.empty() ? modifier_linear : spec.modifiers[0];
        const auto found = broken.find(modifier.value);
        Result<Allocated> made = found != broken.end() ? std::unexpected(found->second) : make(device, spec, modifier);
        if (made) made->contents_written = contents >= 0 && fills;
        answers.give([this, made = std::move(made), now, done = std::move(done)]() mutable {
            if (made && wrong_device) made->desc.device = known.at(0).exporter.id;
            done(std::move(made), now);
        });
    }
    Helper* helper() override { return &hands; }

    std::size_t times_asked(Modifier modifier) const
    {
        return static_cast<std::size_t>(std::ranges::count_if(
            asked, [&](const AllocateSpec& s) { return !s.modifiers.empty() && s.modifiers[0] == modifier; }));
    }

    BackendSet gbm;
    std::vector<Exports> known;
    std::map<std::uint64_t, Error> broken; ///< by modifier
    bool wrong_device = false;             ///< makes everything on the first device that it has by then
    bool fills = true;                     ///< writes initial contents
    FakeHelper hands;
    Answers answers;
    std::vector<AllocateSpec> asked;

private:
    Result<Allocated> make(std::uint8_t device, const AllocateSpec& spec, Modifier modifier) const
    {
        Allocated out;
        out.desc = TRY(linear_layout(spec.size, spec.format));
        out.desc.backend = known.at(device).exporter.backend;
        out.desc.device = known.at(device).exporter.id;
        out.desc.kind = MemoryKind::dma_buf;
        out.desc.modifier = modifier;
        out.desc.rung = modifier == modifier_linear ? Rung::linear : Rung::tiled;
        out.desc.usage = spec.usage;
        out.fds.push_back(TRY(create_memfd("gpu", out.desc.total_size(), 0)));
        return out;
    }
};

/// A table of a device that is not the fake GPU: all the modifiers, as dma-bufs; `memfd` for system memory, too.
inline Capabilities make_table(std::vector<Modifier> modifiers, Api api = Api::egl, bool memfd = false,
                               std::string_view driver = "other")
{
    Capabilities out;
    out.device = {.node = "/dev/dri/renderD129", .driver = driver, .version = "2.0"};
    out.api = api;
    for (const Modifier m : modifiers) out.rows.push_back({.format = fourcc("AB24"), .modifier = m, .plane_count = 1});
    if (memfd)
        out.rows.push_back(
            {.kind = MemoryKind::memfd, .format = fourcc("AB24"), .modifier = modifier_linear, .plane_count = 1});
    make_canonical(out);
    return out;
}

} // namespace dmb::test
