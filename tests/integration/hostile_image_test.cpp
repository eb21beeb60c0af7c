// SPDX-License-Identifier: MIT
// The real broker against clients that speak well and lie: descriptors that are no image memory, layouts
// that do not hold, tokens and handles of others. Names carry the row of the fault list they prove.
#include "tests/integration/hostile.hpp"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <sstream>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <thread>

namespace dmb {
namespace {

using test::Clock;
using test::encoded;
using test::eventually;
using test::Hostile;
using test::make_allocate;
using test::make_desc;
using test::make_memfd;
using test::RawClient;
using test::rounds;
using test::since;
using Greeting = RawClient::Greeting;

TEST_F(Hostile, f05_only_dma_bufs_and_sealed_memfds_can_be_registered)
{
    int pipe[2], pair[2];
    ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    std::vector<UniqueFd> bad;
    for (const int fd :
         {pipe[0], pipe[1], pair[0], pair[1], ::open("/dev/null", O_RDWR | O_CLOEXEC), ::open("/dev/zero", O_RDWR | O_CLOEXEC),
          ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ::open("/dev/null", O_PATH | O_CLOEXEC),
          ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), ::open("/dev/shm", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600),
          ::open("/dev/dri/card0", O_RDWR | O_CLOEXEC), ::epoll_create1(EPOLL_CLOEXEC), ::eventfd(0, EFD_CLOEXEC),
          ::inotify_init1(IN_CLOEXEC), static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)),
          static_cast<int>(::syscall(SYS_memfd_secret, O_CLOEXEC))})
        if (fd >= 0) bad.push_back(UniqueFd::adopt(fd));
    sigset_t none;
    ::sigemptyset(&none);
    for (const int fd : {::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), ::signalfd(-1, &none, SFD_CLOEXEC),
                         static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */)),
                         ::open("/dev/udmabuf", O_RDWR | O_CLOEXEC), ::open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC),
                         ::open("/dev/dri/renderD128", O_RDWR | O_CLOEXEC), ::open("/dev/fuse", O_RDWR | O_CLOEXEC),
                         ::open("/proc/self/mem", O_RDWR | O_CLOEXEC)})
        if (fd >= 0) bad.push_back(UniqueFd::adopt(fd));
    if (UniqueFd huge = UniqueFd::adopt(::memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
        huge && ::ftruncate(huge.get(), 2 << 20) == 0 &&
        ::fcntl(huge.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        bad.push_back(std::move(huge));
    bad.push_back(make_memfd(4096, 0));
    bad.push_back(make_memfd(4096, F_SEAL_GROW));
    bad.push_back(make_memfd(4096, F_SEAL_SHRINK | F_SEAL_GROW));
    bad.push_back(make_memfd(4096, F_SEAL_SHRINK | F_SEAL_SEAL));
    bad.push_back(make_memfd(4096, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_WRITE));
    RawClient attacker = client();
    for (const MemoryKind kind : {MemoryKind::memfd, MemoryKind::dma_buf, MemoryKind::opaque})
        for (const UniqueFd& fd : bad) {
            ImageDesc desc = make_desc({8, 8});
            desc.kind = kind;
            if (kind == MemoryKind::opaque) desc.planes.clear();
            EXPECT_EQ(attacker.error(wire::Register{desc, "x", 0}, {fd.get()}), Errc::bad_descriptor);
        }
    const UniqueFd good = make_memfd(256);
    EXPECT_EQ(attacker.get<wire::ImageReply>(wire::Register{make_desc({8, 8}), "x", 0}, {good.get()}).desc.backend,
              Backend::client);
    EXPECT_EQ(::fcntl(good.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1) << "other importers' drivers would crash";
}

TEST_F(Hostile, f08_memory_has_one_identity_whoever_brings_it)
{
    RawClient first = client(), second = client();
    const UniqueFd memfd = make_memfd(256), copy = *memfd.duplicate();
    const wire::Register request{make_desc({8, 8}), "mine", 0};
    const auto registered = first.get<wire::ImageReply>(request, {memfd.get()});
    EXPECT_EQ(second.error(request, {memfd.get()}), Errc::already_registered);
    EXPECT_EQ(second.error(request, {copy.get()}), Errc::already_registered);
    const Errc again = first.error(request, {copy.get()});
    EXPECT_TRUE(again == Errc{} || again == Errc::already_registered);
    first.say(wire::Release{registered.handle});
    first.close();
    EXPECT_TRUE(eventually([&] { return second.error(request, {memfd.get()}) == Errc{}; })) << "its owner is gone";
}

TEST_F(Hostile, f09_sockets_sent_to_the_broker_are_closed_at_once)
{
    RawClient attacker = client();
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(attacker.error(wire::Register{make_desc({8, 8}), "x", 0}, {attacker.fd()}), Errc::bad_descriptor);
    }
    int outer[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, outer), 0);
    const UniqueFd a = UniqueFd::adopt(outer[0]), b = UniqueFd::adopt(outer[1]);
    const std::byte byte{};
    ASSERT_TRUE(wire::send(a.get(), {&byte, 1}, {{b.get()}}, wire::Wait::yes).has_value()) << "a socket that holds its own end";
    EXPECT_EQ(attacker.error(wire::Register{make_desc({8, 8}), "x", 0}, {b.get()}), Errc::bad_descriptor);
    std::array<std::byte, 8> buffer;
    (void)wire::receive(b.get(), buffer, wire::Wait::no);
}

TEST_F(Hostile, f09_sockets_inside_sockets_are_gone_with_the_outermost)
{
    UniqueFd memfd = make_memfd(256);
    RawClient attacker = client();
    const std::byte byte{};
    for (int round = 0; round < 20; ++round) {
        UniqueFd inner = *memfd.duplicate();
        for (int depth = 0; depth < 5; ++depth) {
            int ends[2];
            ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
            const UniqueFd a = UniqueFd::adopt(ends[0]);
            UniqueFd b = UniqueFd::adopt(ends[1]);
            ASSERT_TRUE(wire::send(a.get(), {&byte, 1}, {{inner.get()}}, wire::Wait::yes).has_value());
            inner = std::move(b); // holds, unread, what it replaces
        }
        EXPECT_EQ(attacker.error(wire::Register{make_desc({8, 8}), "x", 0}, {inner.get()}), Errc::bad_descriptor);
        EXPECT_EQ(attacker.error(wire::Register{make_desc({8, 8}), "x", 0}, {attacker.fd()}), Errc::bad_descriptor);
    }
    // A lease for writing is granted to the only open file of its inode: nobody else has the memory any more.
    const std::string path = "/proc/self/fd/" + std::to_string(memfd.get());
    const UniqueFd again = UniqueFd::adopt(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    memfd.reset();
    EXPECT_TRUE(eventually([&] { return ::fcntl(again.get(), F_SETLEASE, F_WRLCK) == 0; })) << "it is still in flight";
}

TEST_F(Hostile, f12_what_a_client_does_to_shared_descriptors_stays_with_it)
{
    RawClient attacker = client();
    const UniqueFd own = make_memfd(256);
    ASSERT_EQ(attacker.error(wire::Register{make_desc({8, 8}), "x", 0}, {own.get()}), Errc{});
    for (int round = 0; round < 20; ++round) {
        const auto made = attacker.get<wire::ImageReply>(make_allocate({64, 64}));
        ASSERT_EQ(attacker.last_fds.size(), 1u);
        for (const int fd : {attacker.last_fds[0].get(), own.get(), attacker.fd()}) {
            ::fcntl(fd, F_SETOWN, pid); // SIGIO; with F_SETSIG it could be another, for who may kill the broker anyway
            ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_ASYNC | O_NONBLOCK | (fd == attacker.fd() ? 0 : O_APPEND));
            for (const int lease : {F_RDLCK, F_WRLCK}) ::fcntl(fd, F_SETLEASE, lease);
            ::flock(fd, LOCK_EX | LOCK_NB);
        }
        const auto start = Clock::now();
        const auto given = attacker.get<wire::TokenReply>(wire::MintToken{made.handle, Right::read}).token;
        const auto seen = bystander.get<wire::ImageReply>(wire::Open{given, Right::read, UsageFlag::cpu_read});
        EXPECT_EQ(seen.image, made.image);
        char bytes[4];
        EXPECT_EQ(::pread(bystander.last_fds[0].get(), bytes, sizeof bytes, 0), 4);
        bystander.last_fds.clear();
        bystander.say(wire::Release{seen.handle});
        attacker.last_fds.clear();
        attacker.say(wire::Release{made.handle});
        EXPECT_LT(since(start), 1.0) << "the broker waited for a lease";
    }
}

class Inheritance : public test::FdTest {};

TEST_F(Inheritance, f10_a_worker_has_its_socket_its_log_and_nothing_else)
{
    if (test::under_valgrind()) GTEST_SKIP() << "every program is valgrind there, with descriptors of its own";
    // In place of the worker: a program that opens nothing, started by a shell whose script is closed on exec.
    char script[] = "/tmp/dmabroker-worker-XXXXXX";
    UniqueFd file = UniqueFd::adopt(::mkostemp(script, O_CLOEXEC));
    const std::string text = "#!/bin/sh\nexec sleep 1000\n";
    ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ASSERT_EQ(::fchmod(file.get(), 0755), 0);
    file.reset();
    test::BrokerProcess broker({"--worker", script});
    RawClient client(broker.socket()), manager(broker.socket() + ".manager");
    for (std::uint32_t i = 1; i <= 20; ++i) (void)client.get<wire::ImageReply>(make_allocate({i, i}));
    client.last_fds.clear();
    const auto workers = [&] {
        const std::string number = std::to_string(broker.pid());
        std::ifstream children("/proc/" + number + "/task/" + number + "/children");
        std::vector<pid_t> out;
        for (pid_t child; children >> child;) {
            std::string name;
            std::getline(std::ifstream("/proc/" + std::to_string(child) + "/comm"), name);
            if (name == "sleep") out.push_back(child);
        }
        return out;
    };
    ASSERT_TRUE(eventually([&] { return !workers().empty(); }, 20)) << broker.log();
    const std::vector<pid_t> first = workers();
    for (const pid_t worker : first) ::kill(worker, SIGKILL); // those started now could inherit all that is open
    ASSERT_TRUE(eventually(
        [&] {
            const std::vector<pid_t> now = workers();
            return now.size() >= first.size() && std::ranges::find_first_of(now, first) == now.end();
        },
        20));
    for (const pid_t worker : workers()) {
        std::map<std::string, std::string> open;
        const auto look = [&] {
            open.clear();
            std::error_code gone; // its loader opens and closes libraries
            for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(worker) + "/fd"))
                open[entry.path().filename()] = std::filesystem::read_symlink(entry, gone).string();
            return open.size() == 4;
        };
        EXPECT_TRUE(eventually(look)) << open.size() << " descriptors";
        EXPECT_EQ(open["0"], "/dev/null");
        EXPECT_EQ(open["1"], broker.folder() + "/log");
        EXPECT_EQ(open["2"], broker.folder() + "/log");
        EXPECT_TRUE(open["3"].starts_with("socket:")) << open["3"];
    }
    ::unlink(script);
}

TEST_F(Hostile, f13_descriptors_sent_while_the_broker_closes_are_not_leaked)
{
    const UniqueFd memfd = make_memfd(4096);
    const std::vector<std::byte> bad = encoded(wire::Release{{999}}), more = encoded(wire::Register{make_desc({8, 8}), "x", 0});
    for (int i = 0; i < rounds(2'000); ++i) {
        RawClient attacker = client();
        ASSERT_GE(attacker.channel(), 0);
        attacker.say_bytes(bad, {}, false);
        for (int j = 0; j < 4; ++j) attacker.say_bytes(more, {memfd.get()}, false);
    }
}

TEST_F(Hostile, m01_sizes_beyond_the_limit_are_refused)
{
    RawClient attacker = client();
    std::mt19937 random(test::seed());
    const auto beyond = [&] { return static_cast<std::uint32_t>(16385 + random() % (UINT32_MAX - 16385)); };
    for (const std::uint32_t bad : {0u, 16385u, 0x8000'0000u, 0xffff'ffffu, beyond(), beyond(), beyond()}) {
        EXPECT_EQ(attacker.error(make_allocate({bad, 1})), Errc::bad_size) << bad;
        EXPECT_EQ(attacker.error(make_allocate({1, bad})), Errc::bad_size) << bad;
        ImageDesc desc = make_desc({8, 8});
        desc.size.height = bad;
        const UniqueFd memfd = make_memfd(256);
        EXPECT_EQ(attacker.error(wire::Register{desc, "x", 0}, {memfd.get()}), Errc::bad_size) << bad;
    }
    for (const Extent edge : {Extent{16384, 1}, {1, 16384}, {1, 1}}) {
        const auto reply = attacker.get<wire::ImageReply>(make_allocate(edge));
        EXPECT_EQ(reply.desc.size, edge);
        attacker.last_fds.clear();
        attacker.say(wire::Release{reply.handle});
    }
}

TEST_F(Hostile, m03_a_plane_may_end_at_the_last_byte_and_not_one_later)
{
    RawClient attacker = client();
    for (const char* code : {"XR24", "NV12", "YU12", "P010", "YUYV", "R8  ", "AB4H"})
        for (const Extent size : {Extent{1, 1}, {5, 3}, {64, 64}}) {
            const FourCC format = *parse_fourcc(std::string_view(code).substr(0, code[2] == ' ' ? 2 : 4));
            const ImageDesc desc = make_desc(size, format);
            const UniqueFd exact = make_memfd(desc.memories[0].size), one_short = make_memfd(desc.memories[0].size - 1);
            EXPECT_EQ(attacker.error(wire::Register{desc, "x", 0}, {exact.get()}), Errc{}) << code;
            EXPECT_EQ(attacker.error(wire::Register{desc, "x", 0}, {one_short.get()}), Errc::bad_layout) << code;
            ImageDesc modest = desc;
            modest.memories[0].size -= 1;
            const UniqueFd short_too = make_memfd(modest.memories[0].size);
            EXPECT_EQ(attacker.error(wire::Register{modest, "x", 0}, {short_too.get()}), Errc::bad_layout) << code;
        }
}

TEST_F(Hostile, m02_m05_m11_layouts_that_contradict_themselves_are_refused)
{
    RawClient attacker = client();
    const UniqueFd memfd = make_memfd(1 << 20);
    const auto refused = [&](auto change) {
        ImageDesc desc = make_desc({64, 64});
        desc.memories[0].size = 1 << 20;
        change(desc);
        EXPECT_EQ(attacker.error(wire::Register{desc, "x", 0}, {memfd.get()}), Errc::bad_layout);
    };
    refused([](ImageDesc& d) { d.planes.clear(); });
    refused([](ImageDesc& d) { d.planes.push_back(d.planes[0]); });
    refused([](ImageDesc& d) { d.format = fourcc("NV12"); });
    refused([](ImageDesc& d) { d.planes[0].memory = 3; });
    refused([](ImageDesc& d) { d.planes[0].stride = 255; });
    refused([](ImageDesc& d) { d.planes[0].stride = 257; });
    refused([](ImageDesc& d) { d.planes[0].stride = 0; });
    refused([](ImageDesc& d) { d.planes[0].stride = 0xffff'ff00; });
    refused([](ImageDesc& d) { d.planes[0].offset = UINT64_MAX - 255; });
    refused([](ImageDesc& d) { d.planes[0].offset = (1 << 20) - 256; });
    refused([](ImageDesc& d) { d.memories[0].size = UINT64_MAX; });
    refused([](ImageDesc& d) { d.memories[0].size = (1 << 20) + 1; });
    ImageDesc unknown = make_desc({64, 64});
    unknown.format = fourcc("C8  ");
    EXPECT_EQ(attacker.error(wire::Register{unknown, "x", 0}, {memfd.get()}), Errc::unknown_format);
}

TEST_F(Hostile, m07_planes_may_share_overlap_and_lie_apart_and_each_is_checked)
{
    ImageDesc desc = make_desc({64, 64}, fourcc("NV12"));
    const std::uint64_t luma = 64 * 64, chroma = luma / 2;
    const UniqueFd large = make_memfd(luma), small = make_memfd(chroma), tiny = make_memfd(chroma - 1);
    const auto with = [&](std::initializer_list<Plane> planes, std::initializer_list<Memory> memories) {
        ImageDesc out = desc;
        out.planes = planes;
        out.memories = memories;
        return wire::Register{out, "x", 0};
    };
    RawClient attacker = client();
    const wire::Register apart = with({{0, 64, 0}, {1, 64, 0}}, {{luma}, {chroma}});
    EXPECT_EQ(attacker.error(apart, {large.get(), small.get()}), Errc{});
    EXPECT_EQ(attacker.error(apart, {small.get(), large.get()}), Errc::bad_layout) << "in the wrong order";
    EXPECT_EQ(attacker.error(apart, {large.get(), tiny.get()}), Errc::bad_layout);
    EXPECT_EQ(attacker.error(with({{0, 64, 0}, {1, 64, 1}}, {{luma}, {chroma}}), {large.get(), small.get()}), Errc::bad_layout);
    EXPECT_EQ(attacker.error(with({{0, 64, 0}, {0, 64, 0}}, {{luma}, {chroma}}), {large.get(), small.get()}), Errc::bad_layout)
        << "one is unused";
    EXPECT_EQ(attacker.error(with({{0, 64, 0}, {0, 64, 0}}, {{luma}}), {large.get()}), Errc{})
        << "overlapping is the client's own affair";
    EXPECT_EQ(attacker.error(with({{0, 64, 0}, {0, 64, luma - chroma}}, {{luma}}), {large.get()}), Errc{});
    EXPECT_EQ(attacker.error(with({{0, 64, 0}, {0, 64, luma - chroma + 64}}, {{luma}}), {large.get()}), Errc::bad_layout);
    // The same memory under two numbers is counted twice, and free again when its last image is.
    const UniqueFd both = make_memfd(luma), copy = *both.duplicate();
    RawClient other = client();
    {
        RawClient owner = client();
        EXPECT_EQ(owner.error(apart, {both.get(), copy.get()}), Errc{});
        EXPECT_EQ(owner.error(apart, {copy.get(), both.get()}), Errc{});
        EXPECT_EQ(other.error(apart, {large.get(), both.get()}), Errc::already_registered);
    }
    EXPECT_TRUE(eventually([&] { return other.error(apart, {both.get(), copy.get()}) == Errc{}; }));
}

TEST_F(Hostile, m08_memory_cannot_shrink_and_holes_read_as_zeros)
{
    RawClient attacker = client(), reader = client();
    const UniqueFd memfd = make_memfd(1 << 20);
    ImageDesc desc = make_desc({256, 256});
    const auto registered = attacker.get<wire::ImageReply>(wire::Register{desc, "x", 0}, {memfd.get()});
    const auto given = attacker.get<wire::TokenReply>(wire::MintToken{registered.handle, Right::read}).token;
    EXPECT_NE(::ftruncate(memfd.get(), 0), 0);
    EXPECT_NE(::ftruncate(memfd.get(), 2 << 20), 0);
    EXPECT_NE(::fallocate(memfd.get(), FALLOC_FL_COLLAPSE_RANGE, 0, 4096), 0);
    EXPECT_NE(::fallocate(memfd.get(), FALLOC_FL_KEEP_SIZE, 1 << 20, 4096), 0)
        << "memory beyond the end would be charged to nobody";
    EXPECT_EQ(reader.get<wire::ImageReply>(wire::Open{given, Right::read, UsageFlag::cpu_read}).image, registered.image);
    ASSERT_EQ(reader.last_fds.size(), 1u);
    void* seen = ::mmap(nullptr, 1 << 20, PROT_READ, MAP_SHARED, reader.last_fds[0].get(), 0);
    ASSERT_NE(seen, MAP_FAILED);
    ASSERT_EQ(::pwrite(memfd.get(), "pixel", 5, 0), 5);
    std::atomic<bool> stop = false;
    std::thread puncher([&] {
        while (!stop) ::fallocate(memfd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20);
    });
    bool as_expected = true;
    for (int round = 0; round < rounds(20); ++round)
        for (std::size_t at = 0; at < 1 << 20; at += 4096) {
            const char byte = static_cast<const volatile char*>(seen)[at];
            as_expected &= byte == 0 || (at == 0 && byte == 'p');
        }
    stop = true;
    puncher.join();
    EXPECT_TRUE(as_expected) << "what was written, or zeros";
    ::munmap(seen, 1 << 20);
    reader.last_fds.clear();
}

TEST_F(Hostile, m06_modifiers_that_no_device_knows_are_refused)
{
    RawClient attacker = client();
    const UniqueFd memfd = make_memfd(1 << 16);
    std::mt19937_64 random(test::seed());
    auto next = [&random, i = 0]() mutable -> std::uint64_t {
        // Of every vendor, and each bit alone: 1 is Intel's X tiling, 0x08... ARM's AFBC, 0x0100... Intel's.
        if (++i <= 64) return 1ULL << (i - 1);
        return i % 2 ? random() : (random() % 16) << 56 | (random() % 64);
    };
    for (int i = 0; i < rounds(10'000); ++i) {
        const std::uint64_t modifier = next();
        if (modifier == modifier_linear.value || modifier == modifier_invalid.value) continue;
        ImageDesc desc = make_desc({16, 16});
        desc.modifier = {modifier};
        EXPECT_EQ(attacker.error(wire::Register{desc, "x", 0}, {memfd.get()}), Errc::unknown_modifier);
        wire::Allocate allocate = make_allocate({16, 16});
        allocate.spec.modifiers = {Modifier{modifier}};
        const Errc code = attacker.error(allocate);
        EXPECT_TRUE(code == Errc::unknown_modifier || code == Errc::no_backend) << name(code);
    }
}

TEST_F(Hostile, m09_requests_beyond_the_quota_are_refused_before_memory_is_taken)
{
    RawClient attacker = client();
    const auto start = Clock::now();
    int refused = 0;
    for (int i = 0; i < 100; ++i) {
        const Errc code = attacker.error(make_allocate({16384, 16384}, fourcc("AB4H")));
        if (code == Errc::quota_exceeded) ++refused;
        else EXPECT_EQ(code, Errc{});
    }
    EXPECT_GE(refused, 99) << "each has 2 GiB and more";
    EXPECT_LT(since(start), 5.0);
}

TEST_F(Hostile, p04_guessing_tokens_ends_the_connection_and_nobody_elses)
{
    RawClient attacker = client();
    std::size_t guesses = 0;
    Token guess;
    for (; guesses < 200; ++guesses) {
        guess.bytes[0] = static_cast<std::uint8_t>(guesses + 1);
        if (attacker.error(wire::Open{guess, Right::read, {}}) != Errc::not_found) break;
    }
    EXPECT_GE(guesses, limits::wrong_tokens - 1);
    EXPECT_LE(guesses, limits::wrong_tokens + 1);
    EXPECT_TRUE(attacker.ends());
    EXPECT_EQ(attacker.goodbye, Errc::too_many_requests);
}

TEST_F(Hostile, p04_a_thousand_guessing_clients_find_nothing_and_delay_nobody)
{
    std::mt19937_64 random(test::seed());
    const auto guess = [&] {
        Token out;
        for (std::uint8_t& byte : out.bytes) byte = static_cast<std::uint8_t>(random());
        return out;
    };
    double slowest = 0;
    for (int i = 0; i < rounds(1000); ++i) {
        RawClient attacker = client();
        Token near = token; // half of the guesses know all but one byte
        for (std::size_t n = 0; n <= limits::wrong_tokens; ++n) {
            near.bytes[n % 16] = static_cast<std::uint8_t>(token.bytes[n % 16] + 1 + random() % 255);
            attacker.say(wire::Open{n % 2 ? near : guess(), Right::read, {}});
            near = token;
        }
        ASSERT_TRUE(attacker.ends());
        EXPECT_EQ(attacker.goodbye, Errc::too_many_requests);
        const auto asked = Clock::now();
        bystander_is_served();
        slowest = std::max(slowest, since(asked));
    }
    EXPECT_LT(slowest, 0.5);
}

TEST_F(Hostile, p05_two_threads_race_for_one_shot_tokens)
{
    RawClient racers[] = {client(), client()};
    Token once;
    std::barrier line(3);
    std::atomic<int> won = 0, lost = 0;
    const int races = rounds(5'000);
    const auto race = [&](RawClient& racer) {
        for (int i = 0; i < races; ++i) {
            line.arrive_and_wait();
            const auto answer = racer.ask(wire::Open{once, Right::read, UsageFlag::cpu_read});
            const auto* reply = answer ? std::get_if<wire::ImageReply>(&answer->message) : nullptr;
            const auto* error = answer ? std::get_if<wire::ErrorReply>(&answer->message) : nullptr;
            if (reply) racer.say(wire::Release{reply->handle});
            won += reply != nullptr;
            lost += error && error->code == Errc::token_used;
            line.arrive_and_wait();
        }
    };
    std::thread first(race, std::ref(racers[0])), second(race, std::ref(racers[1]));
    for (int i = 0; i < races; ++i) {
        once = bystander.get<wire::TokenReply>(wire::MintToken{image.handle, Right::read, true, false, 0}).token;
        line.arrive_and_wait();
        line.arrive_and_wait();
        EXPECT_EQ(won, i + 1);
        EXPECT_EQ(lost, i + 1);
    }
    first.join();
    second.join();
}

TEST_F(Hostile, p05_a_one_shot_token_is_won_once)
{
    RawClient a = client(), b = client();
    for (int i = 0; i < 200; ++i) {
        const auto once = bystander.get<wire::TokenReply>(wire::MintToken{image.handle, Right::read, true, false, 0}).token;
        const wire::Open open{once, Right::read, UsageFlag::cpu_read};
        RawClient& first = i % 2 ? a : b;
        RawClient& second = i % 2 ? b : a;
        first.say(open);
        second.say(open);
        int won = 0;
        for (RawClient* racer : {&first, &second}) {
            const auto answer = racer->hear();
            ASSERT_TRUE(answer);
            if (const auto* reply = std::get_if<wire::ImageReply>(&answer->message)) {
                ++won;
                racer->say(wire::Release{reply->handle});
            } else EXPECT_EQ(std::get<wire::ErrorReply>(answer->message).code, Errc::token_used);
        }
        EXPECT_EQ(won, 1);
        if (i < 20) {
            EXPECT_EQ(a.error(open), Errc::token_used) << "a replay";
        }
    }
}

TEST_F(Hostile, p05_expired_and_revoked_tokens_open_nothing)
{
    RawClient other = client();
    const auto mint = [&](std::uint64_t lifetime) {
        return bystander.get<wire::TokenReply>(wire::MintToken{image.handle, Right::read, false, false, lifetime}).token;
    };
    const Token brief = mint(1), revoked = mint(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(other.error(wire::Open{brief, Right::read, {}}), Errc::token_expired);
    bystander.get<wire::Done>(wire::RevokeToken{revoked});
    EXPECT_EQ(other.error(wire::Open{revoked, Right::read, {}}), Errc::token_revoked);
}

TEST_F(Hostile, p06_handles_and_images_of_others_do_not_exist)
{
    RawClient attacker = client();
    for (const HandleId handle : {image.handle, HandleId{0}, HandleId{2}, HandleId{UINT32_MAX}}) {
        EXPECT_EQ(attacker.error(wire::MintToken{handle, Right::read}), Errc::not_found);
        EXPECT_EQ(attacker.error(wire::SetLease{handle, 0}), Errc::not_found);
    }
    for (const ImageId id : {image.image, ImageId{99999}}) {
        EXPECT_EQ(attacker.error(wire::RevokeImage{id}), Errc::not_found);
        EXPECT_EQ(attacker.error(wire::Inspect{id}), Errc::not_found);
    }
    const auto own = attacker.error(wire::RevokeToken{token}), nonsense = attacker.error(wire::RevokeToken{Token{}});
    EXPECT_EQ(own, nonsense) << "a foreign token cannot be told from no token";
    attacker.say(wire::Release{image.handle});
    EXPECT_TRUE(attacker.ends());
}

TEST_F(Hostile, p06_the_same_sentence_answers_foreign_and_nonexistent_images)
{
    RawClient attacker = client();
    const auto foreign = attacker.ask(wire::Inspect{image.image}),
               nothing = attacker.ask(wire::Inspect{ImageId{image.image.value + 1000}});
    ASSERT_TRUE(foreign && nothing);
    std::string a(std::get<wire::ErrorReply>(foreign->message).reason.view()),
        b(std::get<wire::ErrorReply>(nothing->message).reason.view());
    const auto strip = [](std::string& text) { std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; }); };
    strip(a);
    strip(b);
    EXPECT_EQ(a, b);
}

TEST_F(Hostile, p07_no_token_reaches_the_log_or_a_snapshot)
{
    RawClient attacker = client();
    (void)attacker.error(wire::Open{test::sample_token(), Right::read, {}});
    (void)attacker.error(wire::RevokeToken{test::sample_token()});
    bystander.get<wire::Done>(wire::RevokeToken{token});
    EXPECT_EQ(bystander.error(wire::Open{token, Right::read, {}}), Errc::token_revoked);
    const std::string log = broker.log();
    EXPECT_EQ(log.find(to_string(token)), std::string::npos);
    EXPECT_EQ(log.find(to_string(test::sample_token())), std::string::npos);
    EXPECT_EQ(log.find(to_string(token).substr(0, 12)), std::string::npos);
    const auto bytes = wire::encode_snapshot(snapshot()).value();
    const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
    EXPECT_EQ(std::search(begin, begin + bytes.size(), token.bytes.begin(), token.bytes.end()), begin + bytes.size());
    token = bystander.get<wire::TokenReply>(wire::MintToken{image.handle, Right::read}).token;
}

class Secrets : public test::FdTest {
protected:
    /// The broker starts in a folder of its own, where a core would lie, and may dump as much as it likes.
    Secrets() : home(std::filesystem::current_path())
    {
        ::getrlimit(RLIMIT_CORE, &limit);
        const rlimit most{limit.rlim_max, limit.rlim_max};
        ::setrlimit(RLIMIT_CORE, &most);
        std::string pattern = (std::filesystem::temp_directory_path() / "dmabroker-core-XXXXXX").string();
        std::filesystem::current_path(folder = ::mkdtemp(pattern.data()));
    }
    ~Secrets() override
    {
        std::filesystem::current_path(home);
        ::setrlimit(RLIMIT_CORE, &limit);
        std::filesystem::remove_all(folder);
    }
    static bool this_machine_dumps_cores()
    {
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::signal(SIGABRT, SIG_DFL);
            ::raise(SIGABRT);
            ::_exit(0);
        }
        int status = 0;
        ::waitpid(pid, &status, 0);
        return WCOREDUMP(status);
    }
    static std::string read(pid_t pid, const char* what)
    {
        std::stringstream text;
        text << std::ifstream("/proc/" + std::to_string(pid) + "/" + what).rdbuf();
        return text.str();
    }

    std::filesystem::path home, folder;
    rlimit limit{};
};

TEST_F(Secrets, p07_no_token_is_on_a_command_line_in_an_environment_or_in_a_core)
{
    test::BrokerProcess broker({"--no-gpu"}, test::BrokerProcess::Debuggable::no);
    RawClient client(broker.socket());
    const auto image = client.get<wire::ImageReply>(make_allocate({64, 64}));
    const Token token = client.get<wire::TokenReply>(wire::MintToken{image.handle, Right::read}).token;
    for (const char* file : {"cmdline", "environ", "comm", "status"})
        EXPECT_EQ(read(broker.pid(), file).find(to_string(token)), std::string::npos);
    for (const std::string secret : {"/environ", "/mem"}) {
        const UniqueFd opened =
            UniqueFd::adopt(::open(("/proc/" + std::to_string(broker.pid()) + secret).c_str(), O_RDONLY | O_CLOEXEC));
        EXPECT_TRUE(!opened || ::geteuid() == 0) << secret << " can be read by its own user";
    }
    if (test::under_valgrind()) GTEST_SKIP() << "valgrind dumps its own cores";
    const bool dumps = this_machine_dumps_cores();
    ::kill(broker.pid(), SIGABRT);
    ASSERT_TRUE(eventually([&] { return !broker.alive(); }, 20));
    const int status = broker.terminate();
    EXPECT_EQ(WTERMSIG(status), SIGABRT);
    EXPECT_FALSE(WCOREDUMP(status));
    if (!dumps) GTEST_SKIP() << "this machine dumps no cores, so that of the broker proves nothing";
}

TEST_F(Hostile, p08_rights_stay_with_the_connection_whoever_has_it)
{
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const UniqueFd ours = UniqueFd::adopt(ends[0]), theirs = UniqueFd::adopt(ends[1]);
    // A process connects, allocates, passes its connection on and dies: its pid may be anybody's next.
    const pid_t connector = ::fork();
    if (connector == 0) {
        RawClient made(broker.socket());
        const auto mine = made.get<wire::ImageReply>(make_allocate({32, 32}));
        const auto* bytes = reinterpret_cast<const std::byte*>(&mine.handle);
        ::_exit(wire::send(theirs.get(), {bytes, sizeof mine.handle}, {{made.fd()}}, wire::Wait::yes).has_value() ? 0 : 1);
    }
    int status = 0;
    ::waitpid(connector, &status, 0);
    ASSERT_EQ(status, 0);
    HandleId handle;
    std::array<std::byte, sizeof handle> buffer;
    auto packet = wire::receive(ours.get(), buffer, wire::Wait::yes);
    ASSERT_TRUE(packet && *packet && (*packet)->fds.size() == 1);
    std::memcpy(&handle, buffer.data(), sizeof handle);
    RawClient heir(std::move((*packet)->fds[0]));
    EXPECT_EQ(heir.error(wire::MintToken{handle, Rights::all()}), Errc{}) << "the connection is the principal";
    EXPECT_EQ(client().error(wire::MintToken{handle, Rights::all()}), Errc::not_found) << "a number alone is nothing";
    // So does another user who was given it, if this test may become one.
    const pid_t stranger = ::fork();
    if (stranger == 0) {
        if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
        ::_exit(heir.error(wire::MintToken{handle, Right::read}) == Errc{} ? 0 : 1);
    }
    ::waitpid(stranger, &status, 0);
    EXPECT_EQ(status, 0);
    heir.close();
    EXPECT_TRUE(eventually([&] { return count_images() == images; })) << "it lasted as long as the connection";
}

TEST_F(Hostile, p11_a_reader_cannot_register_what_it_was_given_as_its_own)
{
    RawClient reader = client();
    const auto seen = reader.get<wire::ImageReply>(wire::Open{token, Right::read, UsageFlag::cpu_read});
    ASSERT_EQ(reader.last_fds.size(), 1u);
    ImageDesc desc = seen.desc;
    const std::string path = "/proc/self/fd/" + std::to_string(reader.last_fds[0].get());
    const UniqueFd reopened = UniqueFd::adopt(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    for (const UniqueFd* fd : std::initializer_list<const UniqueFd*>{&reader.last_fds[0], &reopened})
        if (*fd) {
            const Errc code = reader.error(wire::Register{desc, "mine", 0}, {fd->get()});
            EXPECT_TRUE(code == Errc::already_registered || code == Errc::bad_descriptor) << name(code);
        }
    EXPECT_EQ(reader.error(wire::MintToken{seen.handle, Right::read | Right::write}), Errc::denied);
    EXPECT_EQ(reader.error(wire::SetLease{seen.handle, 1}), Errc::denied);
}

class SmallQuota : public Hostile {
protected:
    SmallQuota() : Hostile({"--no-gpu", "--client-images", "8", "--client-bytes", "1M", "--client-fds", "64"}) {}
};

TEST_F(SmallQuota, q02_the_limit_itself_is_served_and_one_more_refused_and_given_back)
{
    RawClient attacker = client();
    for (int round = 0; round < 3; ++round) {
        std::vector<HandleId> handles;
        for (int i = 0; i < 8; ++i) handles.push_back(attacker.get<wire::ImageReply>(make_allocate({8, 8})).handle);
        EXPECT_EQ(attacker.error(make_allocate({8, 8})), Errc::quota_exceeded);
        for (const HandleId handle : handles) attacker.say(wire::Release{handle});
    }
    EXPECT_EQ(attacker.error(make_allocate({1024, 1024})), Errc::quota_exceeded);
    attacker.last_fds.clear();
}

} // namespace
} // namespace dmb
