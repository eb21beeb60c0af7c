// SPDX-License-Identifier: MIT
// mmap of every memory object, and DMA_BUF_IOCTL_SYNC around accesses (linux/dma-buf.h). The mapping
// owns its descriptors, so it outlives the image and the client.
//
// A mapping that could fault must not be made: the real size is asked of the kernel, a memfd must be
// sealed against shrinking, and what is called a dma-buf must be one. A mapping whose bytes mean
// something else than rows of pixels is refused: tiled layouts, and implicit ones (modifier INVALID)
// unless their driver promised the CPU a coherent view: virtio-gpu's mapping, for one, is stale after
// another process rendered.
#include "libclient/import/cpu_map.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

namespace dmb {
namespace {

Result<> check_layout_is_readable(const ImageDesc& desc)
{
    if (desc.kind == MemoryKind::opaque)
        return fail(Errc::import_refused, "opaque memory has no layout that the CPU could read; import it with Vulkan or "
                                          "OpenGL, or allocate with cpu usage");
    if (desc.modifier != modifier_linear && desc.modifier != modifier_invalid)
        return fail(Errc::import_refused, "modifier {} is a tiled layout; allocate with modifier LINEAR or with cpu usage",
                    to_string(desc.modifier));
    // A GBM worker serves cpu usage only where the mapping is coherent. LINEAR does not say that.
    if (desc.backend == Backend::gbm && !desc.usage.has_any(usage_cpu))
        return fail(Errc::import_refused, "allocated by gbm without cpu usage: the CPU's view may be stale; allocate with "
                                          "cpu_read or cpu_write");
    if (desc.modifier == modifier_invalid && desc.backend != Backend::gbm)
        return fail(Errc::import_refused, "the layout is implicit (modifier INVALID): only its driver knows it");
    return {};
}

Result<> check_rights(const dmabroker_image& image, Rights access)
{
    const Rights both = Right::read | Right::write;
    if (access.empty() || !both.has(access)) return fail(Errc::invalid_argument, "access must be READ, WRITE or both");
    if (!image.rights.has(access))
        return fail(Errc::denied, "this hold has the rights {}; open the image with {}", to_string(image.rights),
                    to_string(access));
    return {};
}

bool is_sealed_memfd(int fd)
{
    const int seals = ::fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

bool is_dma_buf(int fd)
{
    struct statfs fs{};
    return ::fstatfs(fd, &fs) == 0 && fs.f_type == DMA_BUF_MAGIC;
}

/// Size and kind as the kernel sees them.
Result<> check_memory(MemoryKind kind, int fd, std::uint64_t size, std::size_t index)
{
    const bool kind_fits = kind == MemoryKind::memfd ? is_sealed_memfd(fd) : is_dma_buf(fd);
    if (!kind_fits) return fail(Errc::bad_descriptor, "memory {} is not the {} that its description says", index, name(kind));
    const off_t real = ::lseek(fd, 0, SEEK_END);
    if (real < 0 || static_cast<std::uint64_t>(real) < size)
        return fail(Errc::bad_layout, "memory {} has {} bytes, the description says {}", index, real, size);
    return {};
}

std::uint64_t now_ms()
{
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

/// Pending fences, waited for with a limit: DMA_BUF_IOCTL_SYNC has none. poll(2) on a dma-buf: POLLIN when
/// its writers are done, POLLOUT when its readers are too.
Result<> wait_idle(int fd, Rights access, std::uint64_t timeout_ns)
{
    pollfd p{fd, static_cast<short>(access.has(Right::write) ? POLLOUT : POLLIN), 0};
    const std::uint64_t end = timeout_ns ? now_ms() + timeout_ns / 1'000'000 + 1 : UINT64_MAX;
    int ready;
    do {
        const std::uint64_t now = now_ms();
        ready = ::poll(&p, 1, now < end ? static_cast<int>(std::min<std::uint64_t>(end - now, INT32_MAX)) : 0);
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) return fail(Errc::timed_out, "the GPU did not finish with the image in {} ms", timeout_ns / 1'000'000);
    return {};
}

std::uint64_t direction(Rights access)
{
    return (access.has(Right::read) ? DMA_BUF_SYNC_READ : 0) | (access.has(Right::write) ? DMA_BUF_SYNC_WRITE : 0);
}

Result<> synchronise(int fd, std::uint64_t flags)
{
    dma_buf_sync sync{flags};
    int done;
    do done = ::ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
    while (done < 0 && (errno == EINTR || errno == EAGAIN));
    if (done == 0) return {};
    return fail_errno(Errc::import_failed, "DMA_BUF_IOCTL_SYNC", errno);
}

} // namespace

Result<> CpuMapping::add(const dmabroker_image& image, std::size_t memory)
{
    const ImageDesc& desc = image.image.desc();
    const int fd = image.image.fd(memory);
    const std::uint64_t size = desc.memories[memory].size;
    TRY(check_memory(desc.kind, fd, size, memory));
    Part part;
    if (desc.kind == MemoryKind::dma_buf) {
        const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (copy < 0) return fail_errno(Errc::internal, "duplicate a descriptor", errno);
        part.dma_buf = UniqueFd::adopt(copy);
    }
    const int protection = PROT_READ | (access_.has(Right::write) ? PROT_WRITE : 0);
    void* address = ::mmap(nullptr, size, protection, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED)
        return fail(Errc::import_failed, "mmap of memory {}: {}; its driver may not allow the CPU to map it", memory,
                    std::strerror(errno));
    part.address = static_cast<std::byte*>(address);
    part.size = size;
    parts_.push_back(std::move(part));
    return {};
}

Result<std::unique_ptr<dmabroker_cpu_mapping>> CpuMapping::create(const dmabroker_image& image, Rights access)
{
    const ImageDesc& desc = image.image.desc();
    TRY(check_rights(image, access));
    TRY(check_layout_is_readable(desc));
    if (access.has(Right::write) && image.protection == Protection::read_only_descriptor)
        return fail(Errc::denied, "the descriptor is read-only; open the image with the WRITE right");
    auto mapping = std::make_unique<dmabroker_cpu_mapping>();
    mapping->access_ = access;
    mapping->timeout_ns_ = image.timeout_ns;
    for (std::size_t i = 0; i < desc.memories.size(); ++i) TRY(mapping->add(image, i));
    for (const Plane& plane : desc.planes) mapping->planes_.push_back(mapping->parts_[plane.memory].address + plane.offset);
    return mapping;
}

CpuMapping::~CpuMapping()
{
    for (const Part& part : parts_) ::munmap(part.address, part.size);
}

Result<> CpuMapping::check(Rights access) const
{
    if (!access.empty() && access_.has(access)) return {};
    return fail(Errc::invalid_argument, "the image was mapped for {}, not for {}", to_string(access_), to_string(access));
}

Result<> CpuMapping::begin(Rights access)
{
    TRY(check(access));
    for (std::size_t i = 0; i < parts_.size(); ++i) {
        const int fd = parts_[i].dma_buf.get();
        if (fd < 0) continue;
        auto ready = wait_idle(fd, access, timeout_ns_);
        if (ready) ready = synchronise(fd, DMA_BUF_SYNC_START | direction(access));
        if (ready) continue;
        // A begin that failed has no end.
        while (i-- > 0)
            if (parts_[i].dma_buf) (void)synchronise(parts_[i].dma_buf.get(), DMA_BUF_SYNC_END | direction(access));
        return ready;
    }
    return {};
}

Result<> CpuMapping::end(Rights access)
{
    TRY(check(access));
    for (const Part& part : parts_)
        if (part.dma_buf) TRY(synchronise(part.dma_buf.get(), DMA_BUF_SYNC_END | direction(access)));
    return {};
}

} // namespace dmb
