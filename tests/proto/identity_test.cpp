// SPDX-License-Identifier: MIT
// Every type of descriptor that a client might register: only dma-bufs and sealed memfds pass, every
// other is refused with a sentence, and none is waited for. Real dma-bufs are tested where the machine
// has /dev/udmabuf (in the VM).
#include "proto/image/fd_identity.hpp"
#include "tests/proto/layouts.hpp"
#include "tests/support/fixture.hpp"

#include <cstdlib>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/udmabuf.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace dmb {
namespace {

constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

UniqueFd make_memfd(off_t size, int add, unsigned flags = 0)
{
    UniqueFd fd = UniqueFd::adopt(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags));
    if (fd && ::ftruncate(fd.get(), size) == 0 && add) ::fcntl(fd.get(), F_ADD_SEALS, add);
    return fd;
}

class Identify : public test::FdTest {
protected:
    void expect_other(UniqueFd fd, const char* what)
    {
        if (!fd) {
            std::printf("not on this machine: %s\n", what);
            return;
        }
        const FdIdentity found = identify(fd.get());
        EXPECT_EQ(found.type, FdType::other) << what;
        EXPECT_FALSE(found.problem.empty()) << what;
        EXPECT_EQ(found.size, 0u) << what;
    }
    void expect_other(int fd, const char* what) { expect_other(UniqueFd::adopt(fd), what); }
    static int open(const char* path, int flags) { return ::open(path, flags | O_CLOEXEC, 0600); }
};

TEST_F(Identify, a_sealed_memfd_is_known_with_its_size_and_access)
{
    const UniqueFd fd = make_memfd(12345, seals);
    const FdIdentity found = identify(fd.get());
    EXPECT_EQ(found.type, FdType::sealed_memfd) << found.problem.view();
    EXPECT_EQ(found.size, 12345u);
    EXPECT_TRUE(found.writable);
    EXPECT_TRUE(found.problem.empty());
    EXPECT_NE(found.inode, 0u);
}

TEST_F(Identify, an_image_needs_all_three_seals)
{
    for (int some = 0; some < seals; ++some) {
        const UniqueFd fd = make_memfd(4096, some & seals);
        const FdIdentity found = identify(fd.get());
        EXPECT_EQ(found.type, FdType::other) << some;
        EXPECT_NE(found.problem.view().find("F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL"), std::string_view::npos)
            << found.problem.view();
    }
}

TEST_F(Identify, contents_that_are_only_read_must_not_shrink_and_may_be_sealed_against_writing)
{
    for (const int enough : {F_SEAL_SHRINK, seals, seals | F_SEAL_WRITE, F_SEAL_SHRINK | 0x0010}) {
        const UniqueFd fd = make_memfd(4096, enough);
        EXPECT_EQ(identify(fd.get(), FdUse::contents).type, FdType::sealed_memfd) << enough;
    }
    for (const int too_few : {0, F_SEAL_GROW, F_SEAL_GROW | F_SEAL_SEAL, F_SEAL_WRITE}) {
        const UniqueFd fd = make_memfd(4096, too_few);
        EXPECT_EQ(identify(fd.get(), FdUse::contents).type, FdType::other) << too_few;
        EXPECT_FALSE(identify(fd.get(), FdUse::contents).problem.empty());
    }
}

TEST_F(Identify, the_file_position_is_left_where_its_owner_had_it)
{
    const UniqueFd fd = make_memfd(4096, seals);
    ASSERT_EQ(::lseek(fd.get(), 100, SEEK_SET), 100);
    EXPECT_EQ(identify(fd.get()).size, 4096u);
    EXPECT_EQ(::lseek(fd.get(), 0, SEEK_CUR), 100);
}

TEST_F(Identify, duplicates_and_reopened_descriptors_are_the_same_memory)
{
    const UniqueFd fd = make_memfd(4096, seals);
    const UniqueFd copy = *fd.duplicate();
    EXPECT_EQ(identify(fd.get()), identify(copy.get()));
    const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
    const UniqueFd reader = UniqueFd::adopt(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const FdIdentity found = identify(reader.get());
    EXPECT_EQ(found.inode, identify(fd.get()).inode);
    EXPECT_EQ(found.mount, identify(fd.get()).mount);
    EXPECT_FALSE(found.writable);
    const UniqueFd other = make_memfd(4096, seals);
    EXPECT_NE(identify(other.get()).inode, found.inode);
}

TEST_F(Identify, memfds_that_could_hurt_an_importer_are_refused)
{
    expect_other(make_memfd(4096, 0), "a memfd without seals");
    expect_other(make_memfd(4096, F_SEAL_GROW), "a memfd that may shrink");
    expect_other(make_memfd(4096, seals | F_SEAL_WRITE), "a memfd sealed against writing");
    expect_other(make_memfd(4096, seals | 0x0010), "a memfd sealed against future writing");
    expect_other(make_memfd(2 << 20, seals, MFD_HUGETLB), "a memfd on huge pages");
    expect_other(static_cast<int>(::syscall(SYS_memfd_secret, O_CLOEXEC)), "secret memory");
}

TEST_F(Identify, files_and_devices_are_refused)
{
    expect_other(open("/dev/null", O_RDWR), "/dev/null");
    expect_other(open("/dev/zero", O_RDWR), "/dev/zero");
    expect_other(open("/dev/ptmx", O_RDWR | O_NOCTTY), "a terminal");
    expect_other(open("/", O_RDONLY | O_DIRECTORY), "a folder");
    expect_other(open("/proc/self/exe", O_RDONLY), "a regular file");
    expect_other(open("/dev/shm", O_RDWR | O_TMPFILE), "a file on a tmpfs");
    expect_other(open("/proc/self/mem", O_RDWR), "/proc/self/mem");
    expect_other(open("/dev/dri/card0", O_RDWR), "a DRM node");
    expect_other(open("/dev/udmabuf", O_RDWR), "/dev/udmabuf");
    expect_other(open("/dev/dma_heap/system", O_RDONLY), "a dma-heap");
    expect_other(open("/dev/null", O_PATH), "an O_PATH descriptor of a device");
}

TEST_F(Identify, a_path_descriptor_of_a_sealed_memfd_is_refused)
{
    const UniqueFd fd = make_memfd(4096, seals);
    const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
    expect_other(::open(path.c_str(), O_PATH | O_CLOEXEC), "an O_PATH descriptor of a memfd");
}

TEST_F(Identify, kernel_objects_are_refused)
{
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    expect_other(ends[0], "the reading end of a pipe");
    expect_other(ends[1], "the writing end of a pipe");
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    expect_other(ends[0], "a socket");
    expect_other(ends[1], "a socket");
    expect_other(::epoll_create1(EPOLL_CLOEXEC), "epoll");
    expect_other(::eventfd(0, EFD_CLOEXEC), "an eventfd");
    expect_other(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "a timerfd");
    sigset_t none;
    sigemptyset(&none);
    expect_other(::signalfd(-1, &none, SFD_CLOEXEC), "a signalfd");
    expect_other(::inotify_init1(IN_CLOEXEC), "inotify");
    expect_other(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)), "a pidfd");
    expect_other(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC)), "a userfaultfd");
}

TEST_F(Identify, a_closed_descriptor_is_refused)
{
    EXPECT_EQ(identify(-1).type, FdType::other);
    EXPECT_EQ(identify(100000).type, FdType::other);
    EXPECT_FALSE(identify(100000).problem.empty());
}

TEST_F(Identify, a_dma_buf_is_known_with_its_size)
{
    const UniqueFd device = UniqueFd::adopt(::open("/dev/udmabuf", O_RDWR | O_CLOEXEC));
    if (!device) GTEST_SKIP() << "no /dev/udmabuf on this machine";
    const UniqueFd memfd = make_memfd(8192, F_SEAL_SHRINK);
    udmabuf_create request{static_cast<__u32>(memfd.get()), UDMABUF_FLAGS_CLOEXEC, 0, 8192};
    const UniqueFd buffer = UniqueFd::adopt(::ioctl(device.get(), UDMABUF_CREATE, &request));
    ASSERT_TRUE(buffer);
    const FdIdentity found = identify(buffer.get());
    EXPECT_EQ(found.type, FdType::dma_buf) << found.problem.view();
    EXPECT_EQ(found.size, 8192u);
    EXPECT_TRUE(found.writable);
}

class Validate : public test::FdTest {
protected:
    static ImageDesc desc(const char (&code)[5] = "XR24") { return test::exact_layout(*find_format(fourcc(code)), {16, 16}); }
    static Errc error(ImageDesc d, ImageFds fds)
    {
        const Result<Image> image = Image::validate(std::move(d), std::move(fds));
        if (image) return Errc{};
        EXPECT_FALSE(image.error().reason.empty());
        return image.error().code;
    }
    template <class... Fds> static ImageFds list(Fds... fds)
    {
        ImageFds out;
        (out.push_back(std::move(fds)), ...);
        return out;
    }
};

TEST_F(Validate, accepts_memory_of_exactly_the_size_and_refuses_one_byte_less)
{
    EXPECT_EQ(error(desc(), list(make_memfd(1024, seals))), Errc{});
    EXPECT_EQ(error(desc(), list(make_memfd(1023, seals))), Errc::bad_layout);
    EXPECT_EQ(error(desc(), list(make_memfd(0, seals))), Errc::bad_layout);
}

TEST_F(Validate, believes_the_descriptor_about_its_size)
{
    Result<Image> image = Image::validate(desc(), list(make_memfd(8192, seals)));
    ASSERT_TRUE(image);
    EXPECT_EQ(image->desc().memories[0].size, 8192u);
}

TEST_F(Validate, checks_every_plane_against_its_own_memory)
{
    EXPECT_EQ(error(desc("NV12"), list(make_memfd(256, seals), make_memfd(128, seals))), Errc{});
    EXPECT_EQ(error(desc("NV12"), list(make_memfd(256, seals), make_memfd(127, seals))), Errc::bad_layout);
    EXPECT_EQ(error(desc("NV12"), list(make_memfd(255, seals), make_memfd(128, seals))), Errc::bad_layout);
}

TEST_F(Validate, refuses_too_few_and_too_many_descriptors)
{
    EXPECT_EQ(error(desc(), {}), Errc::bad_layout);
    EXPECT_EQ(error(desc(), list(make_memfd(1024, seals), make_memfd(1024, seals))), Errc::bad_layout);
}

TEST_F(Validate, refuses_a_kind_that_the_descriptor_is_not)
{
    ImageDesc claimed = desc();
    claimed.kind = MemoryKind::dma_buf;
    EXPECT_EQ(error(claimed, list(make_memfd(1024, seals))), Errc::bad_descriptor);
}

TEST_F(Validate, opaque_memory_cannot_be_checked_and_is_refused)
{
    ImageDesc claimed = desc();
    claimed.kind = MemoryKind::opaque;
    claimed.planes.clear();
    EXPECT_EQ(error(claimed, list(make_memfd(1024, seals))), Errc::bad_descriptor);
    const UniqueFd device = UniqueFd::adopt(::open("/dev/udmabuf", O_RDWR | O_CLOEXEC));
    if (!device) return;
    const UniqueFd memfd = make_memfd(8192, F_SEAL_SHRINK);
    udmabuf_create request{static_cast<__u32>(memfd.get()), UDMABUF_FLAGS_CLOEXEC, 0, 8192};
    EXPECT_EQ(error(claimed, list(UniqueFd::adopt(::ioctl(device.get(), UDMABUF_CREATE, &request)))), Errc::bad_descriptor);
}

TEST_F(Validate, refuses_read_only_descriptors)
{
    const UniqueFd fd = make_memfd(1024, seals);
    const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
    EXPECT_EQ(error(desc(), list(UniqueFd::adopt(::open(path.c_str(), O_RDONLY | O_CLOEXEC)))), Errc::bad_descriptor);
}

TEST_F(Validate, refuses_other_descriptors_with_their_reason)
{
    const Result<Image> image = Image::validate(desc(), list(UniqueFd::adopt(::eventfd(0, EFD_CLOEXEC))));
    ASSERT_FALSE(image);
    EXPECT_EQ(image.error().code, Errc::bad_descriptor);
    EXPECT_EQ(image.error().reason.view(),
              "memory 0: neither a dma-buf nor a sealed memfd; only these can be shared as images");
}

} // namespace
} // namespace dmb
