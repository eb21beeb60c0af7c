// SPDX-License-Identifier: MIT
// mmap of every memory object, and DMA_BUF_IOCTL_SYNC around what the CPU does (linux/dma-buf.h). The mapping
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

std::string_view word(Directions directions)
{
    if (directions == Directions(Direction::read)) return "reading";
    return directions == Directions(Direction::write) ? "writing" : "reading and writing";
}

Result<> check_rights(const dmabroker_image& image, Directions directions)
{
    const bool may_read = image.rights.has(Right::read) || !directions.has(Direction::read);
    const bool may_write = image.rights.has(Right::write) || !directions.has(Direction::write);
    if (may_read && may_write) return {};
    return fail(Errc::denied, "this hold has the rights {}, which does not allow {}; open the image with more",
                to_string(image.rights), word(directions));
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
Result<> wait_idle(int fd, Directions directions, std::uint64_t timeout_ns)
{
    pollfd p{fd, static_cast<short>(directions.has(Direction::write) ? POLLOUT : POLLIN), 0};
    const std::uint64_t end = timeout_ns ? now_ms() + timeout_ns / 1'000'000 + 1 : UINT64_MAX;
    int ready;
    do {
        const std::uint64_t now = now_ms();
        ready = ::poll(&p, 1, now < end ? static_cast<int>(std::min<std::uint64_t>(end - now, INT32_MAX)) : 0);
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) return fail(Errc::timed_out, "the GPU did not finish with the image in {} ms", timeout_ns / 1'000'000);
    return {};
}

static_assert(DMABROKER_DIRECTION_READ == DMA_BUF_SYNC_READ && DMABROKER_DIRECTION_WRITE == DMA_BUF_SYNC_WRITE);

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

Result<Directions> to_directions(std::uint32_t flags)
{
    const auto directions = Directions::from_bits(flags);
    if (flags != 0 && flags <= (DMABROKER_DIRECTION_READ | DMABROKER_DIRECTION_WRITE)) return directions;
    return fail(Errc::invalid_argument, "direction {}: use DMABROKER_DIRECTION_READ, _WRITE or both", flags);
}

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
    const int protection = PROT_READ | (directions_.has(Direction::write) ? PROT_WRITE : 0);
    void* address = ::mmap(nullptr, size, protection, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED)
        return fail(Errc::import_failed, "mmap of memory {}: {}; its driver may not allow the CPU to map it", memory,
                    std::strerror(errno));
    part.address = static_cast<std::byte*>(address);
    part.size = size;
    parts_.push_back(std::move(part));
    return {};
}

Result<std::unique_ptr<dmabroker_cpu_mapping>> CpuMapping::create(const dmabroker_image& image, Directions directions)
{
    const ImageDesc& desc = image.image.desc();
    TRY(check_rights(image, directions));
    TRY(check_layout_is_readable(desc));
    if (directions.has(Direction::write) && image.protection == Protection::read_only_descriptor)
        return fail(Errc::denied, "the descriptor is read-only; open the image with the WRITE right");
    auto mapping = std::make_unique<dmabroker_cpu_mapping>();
    mapping->directions_ = directions;
    mapping->timeout_ns_ = image.timeout_ns;
    for (std::size_t i = 0; i < desc.memories.size(); ++i) TRY(mapping->add(image, i));
    for (const Plane& plane : desc.planes) mapping->planes_.push_back(mapping->parts_[plane.memory].address + plane.offset);
    return mapping;
}

CpuMapping::~CpuMapping()
{
    for (const Part& part : parts_) ::munmap(part.address, part.size);
}

Result<> CpuMapping::check(Directions directions) const
{
    if (directions_.has(directions)) return {};
    return fail(Errc::invalid_argument, "the image was mapped for {}, not for {}", word(directions_), word(directions));
}

Result<> CpuMapping::begin(Directions directions)
{
    TRY(check(directions));
    for (std::size_t i = 0; i < parts_.size(); ++i) {
        const int fd = parts_[i].dma_buf.get();
        if (fd < 0) continue;
        auto ready = wait_idle(fd, directions, timeout_ns_);
        if (ready) ready = synchronise(fd, DMA_BUF_SYNC_START | directions.bits);
        if (ready) continue;
        // A begin that failed has no end.
        while (i-- > 0)
            if (parts_[i].dma_buf) (void)synchronise(parts_[i].dma_buf.get(), DMA_BUF_SYNC_END | directions.bits);
        return ready;
    }
    return {};
}

Result<> CpuMapping::end(Directions directions)
{
    TRY(check(directions));
    for (const Part& part : parts_)
        if (part.dma_buf) TRY(synchronise(part.dma_buf.get(), DMA_BUF_SYNC_END | directions.bits));
    return {};
}

} // namespace dmb
