// SPDX-License-Identifier: MIT
// Every enum, flag set and text that leaves here is one the wire accepts. Zero means "default" for the
// members where the header says so.
#include "libclient/convert.hpp"

#include <algorithm>
#include <cstdlib>

namespace dmb {
namespace {

template <class E> Result<E> to_enum(std::uint32_t value, E otherwise, std::string_view what)
{
    if (value == 0) return otherwise;
    if (value <= UINT8_MAX && is_valid(static_cast<E>(value))) return static_cast<E>(value);
    return fail(Errc::invalid_argument, "{} {} is not one of the header's", what, value);
}

template <class T> Result<Colour> to_colour(const T& from)
{
    const Colour d;
    Colour colour;
    colour.matrix = TRY(to_enum(from.matrix, d.matrix, "matrix"));
    colour.range = TRY(to_enum(from.range, d.range, "range"));
    colour.siting = TRY(to_enum(from.siting, d.siting, "siting"));
    colour.alpha = TRY(to_enum(from.alpha, d.alpha, "alpha"));
    return colour;
}

Result<> to_modifiers(const dmabroker_allocation& from, wire::AllocateSpec& spec)
{
    if (from.modifier_count > limits::modifiers)
        return fail(Errc::invalid_argument, "{} modifiers; {} are possible: leave out the least wanted", from.modifier_count,
                    limits::modifiers);
    if (from.modifier_count != 0 && !from.modifiers)
        return fail(Errc::invalid_argument, "modifier_count is {} and modifiers is NULL", from.modifier_count);
    for (std::size_t i = 0; i < from.modifier_count; ++i) spec.modifiers.push_back({from.modifiers[i]});
    return {};
}

/// Backend bits are those of BackendSet.
static_assert(DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_MEMFD) == 1u << static_cast<unsigned>(Backend::memfd));
Result<BackendSet> to_backends(std::uint32_t bits)
{
    if ((bits & ~BackendSet::known) == 0) return BackendSet{bits};
    return fail(Errc::invalid_argument, "backends 0x{:x} has unknown bits; use DMABROKER_BACKEND_BIT()", bits);
}

Result<> to_planes(const dmabroker_image_info& from, ImageDesc& desc)
{
    if (from.plane_count > max_planes || from.memory_count > max_planes)
        return fail(Errc::bad_layout, "{} planes in {} memories; at most {} each are possible", from.plane_count,
                    from.memory_count, max_planes);
    for (std::size_t i = 0; i < from.plane_count; ++i) {
        const dmabroker_plane& plane = from.planes[i];
        if (plane.memory >= from.memory_count)
            return fail(Errc::bad_layout, "plane {} points at memory {}, there are {}", i, plane.memory, from.memory_count);
        desc.planes.push_back({static_cast<std::uint8_t>(plane.memory), plane.stride, plane.offset});
    }
    for (std::size_t i = 0; i < from.memory_count; ++i) desc.memories.push_back({from.memory_size[i]});
    return {};
}

} // namespace

Result<> copy_out(std::string_view text, char** out)
{
    char* copy = static_cast<char*>(std::malloc(text.size() + 1));
    if (!copy) return fail(Errc::out_of_memory, "out of memory in the library");
    text.copy(copy, text.size());
    copy[text.size()] = '\0';
    *out = copy;
    return {};
}

Result<wire::Name> to_name(const char* text, std::string_view what)
{
    const std::string_view view = text ? text : "";
    if (view.size() <= wire::Name::max_size() && is_printable(view)) return wire::Name(view);
    return fail(Errc::invalid_argument, "the {} must be printable UTF-8 of at most {} bytes", what, wire::Name::max_size());
}

Result<Token> to_token(const char* text)
{
    // Never repeat the text: a token with a typing error is still almost a token.
    const auto token = parse_token(text ? text : "");
    if (token) return *token;
    return fail(Errc::invalid_argument, "a token is 32 hexadecimal digits");
}

Result<Rights> to_rights(std::uint32_t flags)
{
    const Rights rights = Rights::from_bits(flags);
    if (rights.is_known() && !rights.empty()) return rights;
    return fail(Errc::invalid_argument, "rights 0x{:x}: use READ, WRITE and MANAGE, at least one", flags);
}

Result<Usage> to_usage(std::uint32_t flags)
{
    const Usage usage = Usage::from_bits(flags);
    if (usage.is_known()) return usage;
    return fail(Errc::invalid_argument, "usage 0x{:x} has flags that this release does not know", flags);
}

Result<wire::Allocate> to_request(const dmabroker_allocation& from)
{
    wire::Allocate request;
    request.spec.size = {from.width, from.height};
    request.spec.format = {from.format};
    request.spec.usage = TRY(to_usage(from.usage));
    request.spec.backends = TRY(to_backends(from.backends));
    request.spec.minimum_rung = TRY(to_enum(from.minimum_rung, Rung::copy, "minimum_rung"));
    request.spec.colour = TRY(to_colour(from));
    request.spec.device = TRY(to_name(from.device, "device"));
    TRY(to_modifiers(from, request.spec));
    request.label = TRY(to_name(from.label, "label"));
    request.lease_ns = from.lease_ns;
    return request;
}

Result<ImageDesc> to_desc(const dmabroker_image_info& from)
{
    ImageDesc desc;
    desc.kind = TRY(to_enum(from.kind, MemoryKind::dma_buf, "kind"));
    desc.backend = TRY(to_enum(from.backend, Backend::client, "backend"));
    desc.rung = TRY(to_enum(from.rung, Rung::copy, "rung"));
    desc.size = {from.width, from.height};
    desc.format = {from.format};
    desc.modifier = {from.modifier};
    desc.usage = TRY(to_usage(from.usage));
    desc.colour = TRY(to_colour(from));
    desc.device.render_node = from.render_node;
    std::ranges::copy(from.device_uuid, desc.device.device_uuid.begin());
    std::ranges::copy(from.driver_uuid, desc.device.driver_uuid.begin());
    desc.opaque = {from.vk_format,           from.vk_usage,      from.vk_create_flags, from.memory_type,
                   from.optimal_tiling != 0, from.dedicated != 0};
    TRY(to_planes(from, desc));
    return desc;
}

namespace {

/// In place: this is on the way of every open.
void fill(dmabroker_image_info& info, const ImageDesc& desc)
{
    info.struct_size = sizeof info;
    info.width = desc.size.width;
    info.height = desc.size.height;
    info.format = desc.format.value;
    info.usage = desc.usage.bits;
    info.modifier = desc.modifier.value;
    info.kind = static_cast<std::uint32_t>(desc.kind);
    info.backend = static_cast<std::uint32_t>(desc.backend);
    info.rung = static_cast<std::uint32_t>(desc.rung);
    info.matrix = static_cast<std::uint32_t>(desc.colour.matrix);
    info.range = static_cast<std::uint32_t>(desc.colour.range);
    info.siting = static_cast<std::uint32_t>(desc.colour.siting);
    info.alpha = static_cast<std::uint32_t>(desc.colour.alpha);
    info.plane_count = static_cast<std::uint32_t>(desc.planes.size());
    info.memory_count = static_cast<std::uint32_t>(desc.memories.size());
    for (std::size_t i = 0; i < desc.planes.size(); ++i)
        info.planes[i] = {desc.planes[i].memory, desc.planes[i].stride, desc.planes[i].offset};
    for (std::size_t i = 0; i < desc.memories.size(); ++i) info.memory_size[i] = desc.memories[i].size;
    info.render_node = desc.device.render_node;
    std::ranges::copy(desc.device.device_uuid, info.device_uuid);
    std::ranges::copy(desc.device.driver_uuid, info.driver_uuid);
    info.vk_format = desc.opaque.vk_format;
    info.vk_usage = desc.opaque.vk_usage;
    info.vk_create_flags = desc.opaque.vk_create_flags;
    info.memory_type = desc.opaque.memory_type;
    info.optimal_tiling = desc.opaque.optimal_tiling;
    info.dedicated = desc.opaque.dedicated;
}

} // namespace

dmabroker_image_info to_info(const ImageDesc& desc)
{
    dmabroker_image_info info{};
    fill(info, desc);
    return info;
}

void describe(dmabroker_image& image)
{
    fill(image.info, image.image.desc());
    image.info.id = image.id.value;
    image.info.rights = image.rights.bits;
    image.info.protection = static_cast<std::uint32_t>(image.protection);
}

} // namespace dmb
