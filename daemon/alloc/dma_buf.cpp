// SPDX-License-Identifier: MIT
// Both node types are one ioctl; the rest (layout, identity, the reference count that proves exclusive
// ownership later) is shared. udmabuf keeps the pages of its memfd, so the memfd is closed at once.
// Kernel: include/uapi/linux/udmabuf.h, dma-heap.h. udmabuf's limits are module parameters.
#include "daemon/alloc/dma_buf.hpp"

#include "daemon/alloc/memfd.hpp"
#include "daemon/alloc/system_formats.hpp"
#include "proto/image/fd_identity.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>

namespace dmb {
namespace {

constexpr std::uint64_t page = 4096;

} // namespace

SystemDmaBufAllocator::SystemDmaBufAllocator(Backend backend, const char* path, const char* name)
    : node_(UniqueFd::adopt(::open(path, O_RDWR | O_CLOEXEC)))
{
    const int error = errno;
    Exporter& exporter = exports_.exporter;
    exporter.backend = backend;
    exporter.node = path;
    exporter.name = name;
    exporter.software = true;
    if (!node_) exporter.problem = BoundedText<160>(fmt::format("{}: {}", path, std::strerror(error)));
}

void SystemDmaBufAllocator::try_once(const char* remedy)
{
    BoundedText<160>& problem = exports_.exporter.problem;
    if (!node_) {
        problem = BoundedText<160>(fmt::format("{}; {}", problem.view(), remedy));
        return;
    }
    if (const auto made = create(page); !made)
        problem = BoundedText<160>(fmt::format("{}; {}", made.error().reason.view(), remedy));
    else exports_.rows = system_formats(MemoryKind::dma_buf);
}

BackendSet SystemDmaBufAllocator::offers() const
{
    BackendSet set;
    set.add(exports_.exporter.backend);
    return set;
}

Result<Allocated> SystemDmaBufAllocator::make_image(const AllocateSpec& spec, const LayoutRules& rules)
{
    Allocated out;
    out.desc = TRY(linear_layout(spec.size, spec.format, rules));
    out.desc.kind = MemoryKind::dma_buf;
    out.desc.backend = exports_.exporter.backend;
    out.desc.rung = Rung::system_dma_buf;
    out.desc.usage = spec.usage;
    out.fds.push_back(TRY(create(out.desc.memories[0].size)));
    const FdIdentity found = identify(out.fds[0].get());
    if (found.type != FdType::dma_buf || found.size < out.desc.memories[0].size)
        return fail(Errc::backend_failed, "{} returned something else than a dma-buf of {} bytes",
                    exports_.exporter.node.view(), out.desc.memories[0].size);
    out.keys.push_back({found.mount, found.inode});
    out.unshared_count = dma_buf_references(out.fds[0].get());
    return out;
}

void SystemDmaBufAllocator::allocate(std::uint8_t, const AllocateSpec& spec, const LayoutRules& rules, int, Instant now,
                                     Completion done)
{
    done(make_image(spec, rules), now);
}

UdmabufAllocator::UdmabufAllocator() : SystemDmaBufAllocator(Backend::udmabuf, "/dev/udmabuf", "system memory (udmabuf)")
{
    try_once("load the module udmabuf and allow access to its node");
}

Result<UniqueFd> UdmabufAllocator::create(std::uint64_t size)
{
    const UniqueFd memory = TRY(create_memfd("dmabroker-udmabuf", size, F_SEAL_SHRINK));
    udmabuf_create request{};
    request.memfd = static_cast<std::uint32_t>(memory.get());
    request.flags = UDMABUF_FLAGS_CLOEXEC;
    request.size = size;
    const int fd = ::ioctl(node(), UDMABUF_CREATE, &request);
    if (fd >= 0) return UniqueFd::adopt(fd);
    if (errno == EINVAL)
        return fail(Errc::backend_failed, "udmabuf refused {} bytes; its limit is the module parameter size_limit_mb", size);
    return fail_errno(errno == ENOMEM ? Errc::out_of_memory : Errc::backend_failed, "UDMABUF_CREATE", errno);
}

DmaHeapAllocator::DmaHeapAllocator()
    : SystemDmaBufAllocator(Backend::dma_heap, "/dev/dma_heap/system", "system memory (dma-heap)")
{
    try_once("use a kernel with CONFIG_DMABUF_HEAPS_SYSTEM and allow access to its node");
}

Result<UniqueFd> DmaHeapAllocator::create(std::uint64_t size)
{
    dma_heap_allocation_data request{};
    request.len = size;
    request.fd_flags = O_RDWR | O_CLOEXEC;
    if (::ioctl(node(), DMA_HEAP_IOCTL_ALLOC, &request) == 0) return UniqueFd::adopt(static_cast<int>(request.fd));
    return fail_errno(errno == ENOMEM ? Errc::out_of_memory : Errc::backend_failed, "DMA_HEAP_IOCTL_ALLOC", errno);
}

} // namespace dmb
