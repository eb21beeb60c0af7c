// SPDX-License-Identifier: MIT
// The layout check against a second opinion in 128-bit integers: a description it accepts lets nobody
// read or write outside of its memory. The input is the number of descriptors and the
// body of a description as on the wire.
#include "proto/image/format_table.hpp"
#include "proto/image/image.hpp"
#include "proto/wire/codec.hpp"

#include <cstdlib>
#include <cstring>
#include <sys/eventfd.h>

using namespace dmb;

namespace {

__extension__ typedef unsigned __int128 Big;

void require(bool holds)
{
    if (!holds) std::abort();
}

/// One Register packet around the input; its decoder is the way descriptions come in.
bool read(std::span<const std::uint8_t> body, std::size_t fds, ImageDesc& desc)
{
    std::vector<std::byte> packet(wire::header_bytes + body.size() + 10);
    packet[0] = std::byte{static_cast<std::uint8_t>(wire::Opcode::register_image)};
    packet[2] = static_cast<std::byte>(fds);
    std::memcpy(packet.data() + wire::header_bytes, body.data(), body.size());
    wire::Decoded<wire::Request> out;
    if (!wire::decode(packet, fds, out)) return false;
    desc = std::get<wire::Register>(out.message).desc;
    return true;
}

void check_rows(const ImageDesc& d, const FormatInfo& f)
{
    require(d.planes.size() == f.plane_count);
    for (std::size_t i = 0; i < d.planes.size(); ++i) {
        const Plane& p = d.planes[i];
        const Extent extent = plane_extent(f, i, d.size);
        const Big row = row_bytes(f, i, d.size.width);
        require(row > 0 && extent.height > 0 && p.stride >= row);
        require(Big(p.offset) + Big(p.stride) * (extent.height - 1) + row <= d.memories[p.memory].size);
    }
}

void check_accepted(const ImageDesc& d)
{
    const FormatInfo* f = find_format(d.format);
    const bool in_range = d.size.width - 1 < max_dimension && d.size.height - 1 < max_dimension;
    require(f && !d.memories.empty() && (d.is_buffer() ? d.size.width != 0 && d.size.height == 1 : in_range));
    if (d.kind == MemoryKind::opaque) return;
    for (const Plane& p : d.planes) require(p.memory < d.memories.size() && p.offset < d.memories[p.memory].size);
    if (d.modifier == modifier_linear || d.modifier == modifier_invalid) check_rows(d, *f);
}

void adopt(const ImageDesc& desc, bool accepted)
{
    ImageFds fds;
    for (std::size_t i = 0; i < desc.memories.size(); ++i) fds.push_back(UniqueFd::adopt(::eventfd(0, EFD_CLOEXEC)));
    require(Image::adopt(desc, std::move(fds)).has_value() == accepted);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    ImageDesc desc;
    if (size < 1 || size > 4096 || !read({data + 1, size - 1}, data[0] % (max_planes + 2), desc)) return 0;
    const Result<> checked = check_layout(desc);
    if (checked) check_accepted(desc);
    else require(is_printable(checked.error().reason.view()) && !checked.error().reason.empty());
    static unsigned turn = 0;
    if (++turn % 64 == 0) adopt(desc, checked.has_value());
    if (const auto made = linear_layout(desc.size, desc.format)) require(check_layout(*made).has_value());
    return 0;
}
