// SPDX-License-Identifier: MIT
// mmap of every memory object, and a CpuBracket of each while the CPU reads or writes. The mapping owns its descriptors,
// so it outlives the image and the client.
//
// A mapping that could fault must not be made: the real size is asked of the kernel, a memfd must be
// sealed against shrinking, and what is called a dma-buf must be one. A mapping whose bytes mean
// something else than rows of pixels is refused: tiled layouts, and implicit ones (modifier INVALID)
// unless their driver promised the CPU a coherent view: virtio-gpu's mapping, for one, is stale after
// another process rendered.
#include "libclient/import/cpu_map.hpp"

#include "proto/image/fd_identity.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
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

/// Size and kind as the kernel sees them.
Result<> check_memory(MemoryKind kind, int fd, std::uint64_t size, std::size_t index)
{
    if (type_without_proc(fd) != (kind == MemoryKind::memfd ? FdType::sealed_memfd : FdType::dma_buf))
        return fail(Errc::bad_descriptor, "memory {} is not the {} that its description says", index, name(kind));
    const off_t real = ::lseek(fd, 0, SEEK_END);
    if (real < 0 || static_cast<std::uint64_t>(real) < size)
        return fail(Errc::bad_layout, "memory {} has {} bytes, the description says {}", index, real, size);
    return {};
}

static_assert(DMABROKER_DIRECTION_READ == Directions(Direction::read).bits &&
              DMABROKER_DIRECTION_WRITE == Directions(Direction::write).bits);

} // namespace

Result<Directions> to_directions(std::uint32_t flags)
{
    const auto directions = Directions::from_bits(flags);
    if (!directions.empty() && directions.is_known()) return directions;
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
    open_ = {};
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
    open_[directions.bits].clear(); // the same once more: one bracket at a time
    const Deadline deadline(timeout_ns_);
    BoundedVector<CpuBracket, max_planes> begun;
    for (const Part& part : parts_)
        if (part.dma_buf) begun.push_back(TRY(CpuBracket::begin(part.dma_buf.get(), directions, deadline)));
    open_[directions.bits] = std::move(begun);
    return {};
}

Result<> CpuMapping::end(Directions directions)
{
    TRY(check(directions));
    auto ending = std::exchange(open_[directions.bits], {});
    for (CpuBracket& bracket : ending) TRY(bracket.end());
    return {};
}

} // namespace dmb
