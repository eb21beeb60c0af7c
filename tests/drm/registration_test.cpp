// SPDX-License-Identifier: MIT
// Real dma-bufs, and what only looks like one, given to the real broker by clients that lie. Names carry
// the row of the fault list they prove.
#include "tests/integration/hostile.hpp"

#include <drm.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

namespace dmb {
namespace {

using test::make_desc;
using test::make_memfd;
using test::RawClient;

constexpr std::uint64_t bytes = 64 * 64 * 4;

UniqueFd open_node(const char* path) { return UniqueFd::adopt(::open(path, O_RDWR | O_CLOEXEC)); }

class Registration : public test::Hostile {
protected:
    void SetUp() override
    {
        if (!udmabuf) GTEST_SKIP() << "no /dev/udmabuf on this machine";
        const UniqueFd memfd = make_memfd(bytes, F_SEAL_SHRINK);
        udmabuf_create request{static_cast<__u32>(memfd.get()), UDMABUF_FLAGS_CLOEXEC, 0, bytes};
        buffer = UniqueFd::adopt(::ioctl(udmabuf.get(), UDMABUF_CREATE, &request));
        ASSERT_TRUE(buffer);
    }
    static wire::Register request(MemoryKind kind = MemoryKind::dma_buf)
    {
        ImageDesc desc = make_desc({64, 64});
        desc.kind = kind;
        return {desc, "x", 0};
    }

    const UniqueFd udmabuf = open_node("/dev/udmabuf");
    UniqueFd buffer;
};

TEST_F(Registration, f05_a_fence_and_the_devices_themselves_are_no_memory)
{
    RawClient attacker = client();
    dma_buf_export_sync_file fence{DMA_BUF_SYNC_RW, -1};
    ASSERT_EQ(::ioctl(buffer.get(), DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &fence), 0);
    std::vector<UniqueFd> bad;
    bad.push_back(UniqueFd::adopt(fence.fd));
    for (const char* node : {"/dev/udmabuf", "/dev/dma_heap/system", "/dev/dri/card0", "/dev/dri/card1", "/dev/dri/renderD128"})
        if (UniqueFd opened = open_node(node)) bad.push_back(std::move(opened));
    for (const MemoryKind kind : {MemoryKind::dma_buf, MemoryKind::memfd})
        for (const UniqueFd& fd : bad) EXPECT_EQ(attacker.error(request(kind), {fd.get()}), Errc::bad_descriptor);
    EXPECT_EQ(attacker.error(request(MemoryKind::memfd), {buffer.get()}), Errc::bad_descriptor) << "a dma-buf is no memfd";
    EXPECT_EQ(attacker.error(request(), {make_memfd(bytes).get()}), Errc::bad_descriptor) << "nor the other way round";
    EXPECT_EQ(attacker.error(request(), {buffer.get()}), Errc{});
}

TEST_F(Registration, f07_a_dma_buf_that_cannot_be_written_is_refused)
{
    const UniqueFd heap = open_node("/dev/dma_heap/system");
    if (!heap) GTEST_SKIP() << "no /dev/dma_heap/system on this machine";
    RawClient attacker = client();
    for (const int access : {O_RDONLY, O_RDWR}) {
        dma_heap_allocation_data data{bytes, 0, static_cast<__u32>(access | O_CLOEXEC), 0};
        ASSERT_EQ(::ioctl(heap.get(), DMA_HEAP_IOCTL_ALLOC, &data), 0);
        const UniqueFd made = UniqueFd::adopt(static_cast<int>(data.fd));
        EXPECT_EQ(attacker.error(request(), {made.get()}), access == O_RDWR ? Errc{} : Errc::bad_descriptor);
    }
}

/// The same memory once through a DRM device: a descriptor from the kernel, not from dup.
UniqueFd reimport(const UniqueFd& buffer, const char* node)
{
    const UniqueFd device = open_node(node);
    drm_prime_handle handle{0, 0, buffer.get()};
    if (!device || ::ioctl(device.get(), DRM_IOCTL_PRIME_FD_TO_HANDLE, &handle) != 0) return {};
    drm_prime_handle out{handle.handle, DRM_CLOEXEC | DRM_RDWR, -1};
    return ::ioctl(device.get(), DRM_IOCTL_PRIME_HANDLE_TO_FD, &out) == 0 ? UniqueFd::adopt(out.fd) : UniqueFd();
}

TEST_F(Registration, f08_a_dma_buf_has_one_identity_whoever_brings_it_and_however)
{
    RawClient owner = client(), other = client();
    const UniqueFd copy = *buffer.duplicate();
    std::vector<HandleId> handles;
    for (const int fd : {buffer.get(), copy.get()}) handles.push_back(owner.get<wire::ImageReply>(request(), {fd}).handle);
    EXPECT_EQ(other.error(request(), {buffer.get()}), Errc::already_registered);
    EXPECT_EQ(other.error(request(), {copy.get()}), Errc::already_registered);
    int imported = 0;
    for (const char* node : {"/dev/dri/card0", "/dev/dri/card1"})
        if (const UniqueFd again = reimport(buffer, node)) {
            ++imported;
            EXPECT_EQ(other.error(request(), {again.get()}), Errc::already_registered) << node;
        }
    std::printf("%d devices exported it again\n", imported);
    owner.say(wire::Release{handles[0]});
    EXPECT_EQ(owner.error(wire::Inspect{ImageId{UINT64_MAX}}), Errc::not_found); // the release was heard
    EXPECT_EQ(other.error(request(), {buffer.get()}), Errc::already_registered) << "its second image still has it";
    owner.say(wire::Release{handles[1]});
    EXPECT_EQ(owner.error(wire::Inspect{ImageId{UINT64_MAX}}), Errc::not_found);
    EXPECT_EQ(other.error(request(), {buffer.get()}), Errc{}) << "and then nobody";
}

} // namespace
} // namespace dmb
