// SPDX-License-Identifier: MIT
// Exported: what the exporters of this folder fill step by step and register at the end; it lives for one call.
// Descriptors are identified as the broker will identify them, so that a refusal names the call that made the mistake
// and what to pass instead. An API may give the same memory once per plane: it is one memory object then.
#include "libclient/export/exported.hpp"

#include "libclient/convert.hpp"
#include "proto/image/fd_identity.hpp"
#include "proto/image/format_colour.hpp"
#include "proto/image/format_table.hpp"

#include <algorithm>

namespace dmb::exporting {

Result<Exported> Exported::begin(Extent size, FourCC format, Modifier modifier, const dmabroker_export_options& options)
{
    Exported out;
    out.options_ = options;
    if (!find_format(format))
        return fail(Errc::unknown_format, "format {} is not known; `dmabrokerctl formats` lists those that are",
                    to_string(format));
    TRY(check_size(size, format));
    dmabroker_image_info words{};
    words.struct_size = sizeof words;
    words.width = size.width;
    words.height = size.height;
    words.format = format.value;
    words.modifier = modifier.value;
    words.usage = out.options_.usage;
    words.colour = out.options_.colour;
    out.desc_ = TRY(to_desc(words));
    out.label_ = TRY(to_name(out.options_.label, "label"));
    out.lease_ns_ = out.options_.lease_ns;
    return out;
}

Result<std::uint8_t> Exported::add_memory(UniqueFd fd)
{
    const FdIdentity found = identify(fd.get());
    if (found.type == FdType::other) return fail(Errc::bad_descriptor, "memory {}: {}", fds_.size(), found.problem.view());
    if (!found.writable)
        return fail(Errc::bad_descriptor,
                    "memory {} was exported O_RDONLY, on which GPU drivers crash; export it with O_RDWR "
                    "(DRM_RDWR for DRM, flags O_RDWR for V4L2 and dma-heaps)",
                    fds_.size());
    const auto known = std::ranges::find(inodes_, found.inode);
    if (known != inodes_.end()) return static_cast<std::uint8_t>(known - inodes_.begin());
    if (fds_.full()) return fail(Errc::bad_layout, "more than {} memory objects", max_planes);
    const MemoryKind kind = found.type == FdType::dma_buf ? MemoryKind::dma_buf : MemoryKind::memfd;
    if (!fds_.empty() && kind != desc_.kind) return fail(Errc::bad_descriptor, "a dma-buf and a memfd in one image");
    desc_.kind = kind;
    desc_.memories.push_back({found.size});
    inodes_.push_back(found.inode);
    fds_.push_back(std::move(fd));
    return static_cast<std::uint8_t>(fds_.size() - 1);
}

Result<> Exported::add_plane(std::uint8_t memory, std::uint64_t stride, std::uint64_t offset)
{
    if (desc_.planes.full()) return fail(Errc::bad_layout, "more than {} planes", max_planes);
    if (stride > UINT32_MAX) return fail(Errc::bad_layout, "plane {}: a stride of {} bytes", desc_.planes.size(), stride);
    desc_.planes.push_back({memory, static_cast<std::uint32_t>(stride), offset});
    return {};
}

Result<> Exported::set_colour(const Colour& colour)
{
    desc_.colour = TRY(to_colour(options_.colour, colour));
    return {};
}

Result<std::unique_ptr<dmabroker_image>> Exported::register_at(Client& client) &&
{
    TRY(check_layout(desc_));
    TRY(check_colour(desc_.colour, desc_.format));
    std::vector<UniqueFd> fds;
    for (UniqueFd& fd : fds_) fds.push_back(std::move(fd));
    return client.ask_for_image({.question = wire::Register{std::move(desc_), label_, lease_ns_}}, std::move(fds));
}

} // namespace dmb::exporting
