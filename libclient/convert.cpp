// SPDX-License-Identifier: MIT
// Between the structures of dmabroker.h and the values inside, both ways. Every enum, flag set and text that leaves
// here is one the wire accepts. Zero means "default" for the members where the header says so. Functions without state;
// dmabroker-worker uses them, too, because it calls the library with images of its own.
#include "libclient/convert.hpp"
#include "proto/image/format_colour.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>

namespace dmb {
namespace {

template <class E> Result<E> to_enum(std::uint32_t value, E otherwise, std::string_view what)
{
    if (value == 0) return otherwise;
    if (value <= UINT8_MAX && is_valid(static_cast<E>(value))) return static_cast<E>(value);
    return fail(Errc::invalid_argument, "{} {} is not one of the header's", what, value);
}

/// The number of a code point, its 0 being the header's 256.
template <class E> Result<E> to_code_point(std::uint16_t value, E otherwise, std::string_view what)
{
    if (value == 0) return otherwise;
    if (value <= DMABROKER_CODE_POINT_0) return static_cast<E>(value % DMABROKER_CODE_POINT_0);
    return fail(Errc::invalid_argument, "{} {} is no code point of H.273 (1 to 255, and 256 for 0)", what, value);
}

template <class E> std::uint16_t from_code_point(E code)
{
    return code == E{} ? DMABROKER_CODE_POINT_0 : static_cast<std::uint16_t>(code);
}

Gamut to_gamut(const dmabroker_mastering_display& from)
{
    const auto point = [](dmabroker_chromaticity c) { return Chromaticity{c.x, c.y}; };
    return {point(from.red), point(from.green), point(from.blue), point(from.white)};
}

dmabroker_mastering_display to_c(const MasteringDisplay& from)
{
    const auto point = [](Chromaticity c) { return dmabroker_chromaticity{c.x, c.y}; };
    return {point(from.gamut.red),   point(from.gamut.green), point(from.gamut.blue),
            point(from.gamut.white), from.max_luminance,      from.min_luminance};
}

/// `Value` wraps the caller's number.
template <class Value, std::size_t N, class T>
Result<BoundedVector<Value, N>> to_list(const T* values, std::size_t count, std::string_view what)
{
    if (count > N) return fail(Errc::invalid_argument, "{} {}; {} are possible: leave out the least wanted", count, what, N);
    if (count != 0 && !values) return fail(Errc::invalid_argument, "the number of {} is {} and the array NULL", what, count);
    BoundedVector<Value, N> list;
    for (std::size_t i = 0; i < count; ++i) list.push_back({values[i]});
    return list;
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
        TRY(check_reserved(plane));
        if (plane.memory >= from.memory_count)
            return fail(Errc::bad_layout, "plane {} points at memory {}, there are {}", i, plane.memory, from.memory_count);
        desc.planes.push_back({static_cast<std::uint8_t>(plane.memory), plane.stride, plane.offset});
    }
    for (std::size_t i = 0; i < from.memory_count; ++i) desc.memories.push_back({from.memory_size[i]});
    return {};
}

} // namespace

Result<Colour> to_colour(const dmabroker_colour& from, FourCC format)
{
    Colour usual = default_colour(format);
    const Primaries primaries = TRY(to_code_point(from.primaries, usual.primaries, "primaries"));
    if (usual.matrix == MatrixCoefficients::bt709) usual.matrix = usual_matrix(primaries);
    return to_colour(from, usual);
}

Result<Colour> to_colour(const dmabroker_colour& from, const Colour& otherwise)
{
    TRY(check_reserved(from));
    Colour colour = otherwise;
    colour.primaries = TRY(to_code_point(from.primaries, otherwise.primaries, "primaries"));
    colour.transfer = TRY(to_code_point(from.transfer, otherwise.transfer, "transfer"));
    colour.matrix = TRY(to_code_point(from.matrix, otherwise.matrix, "matrix"));
    colour.range = TRY(to_code_point(from.range, otherwise.range, "range"));
    colour.siting = TRY(to_code_point(from.siting, otherwise.siting, "siting"));
    colour.alpha = TRY(to_code_point(from.alpha, otherwise.alpha, "alpha"));
    const MasteringDisplay mastering{to_gamut(from.mastering), from.mastering.max_luminance, from.mastering.min_luminance};
    if (mastering != MasteringDisplay{}) colour.mastering = mastering;
    if (const ContentLight light{from.light.max_cll, from.light.max_fall}; light != ContentLight{}) colour.light = light;
    return colour;
}

dmabroker_colour to_c(const Colour& colour)
{
    return {from_code_point(colour.primaries),
            from_code_point(colour.transfer),
            from_code_point(colour.matrix),
            from_code_point(colour.range),
            from_code_point(colour.siting),
            from_code_point(colour.alpha),
            to_c(colour.mastering),
            {colour.light.max_cll, colour.light.max_fall},
            {}};
}

Result<> copy_out(std::string_view text, char** out)
{
    char* copy = static_cast<char*>(std::malloc(text.size() + 1));
    if (!copy) return fail(Errc::out_of_memory, "out of memory in the library");
    text.copy(copy, text.size());
    copy[text.size()] = '\0';
    *out = copy;
    return {};
}

Result<Name> to_name(const char* text, std::string_view what)
{
    const std::string_view view = text ? text : "";
    if (view.size() <= Name::max_size() && is_printable(view)) return Name(view);
    return fail(Errc::invalid_argument, "the {} must be printable UTF-8 of at most {} bytes", what, Name::max_size());
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

Result<Digest> to_digest(const char* text)
{
    Digest digest{};
    if (!text) return digest;
    const std::string_view view = text;
    for (std::size_t i = 0; i < digest.size() && view.size() == 2 * digest.size(); ++i) {
        const char* at = text + 2 * i;
        if (std::from_chars(at, at + 2, digest[i], 16).ptr != at + 2) break;
        if (i + 1 == digest.size()) return digest;
    }
    return fail(Errc::invalid_argument, "capabilities are named by 64 hexadecimal digits: dmabroker_capabilities_digest");
}

Result<Participant> to_participant(const dmabroker_participant* given)
{
    const dmabroker_participant from = TRY(read_struct(given));
    Participant out;
    out.name = TRY(to_name(from.name, "name of the participant"));
    out.capabilities = TRY(to_digest(from.capabilities));
    out.usage = TRY(to_usage(from.usage));
    out.formats = TRY((to_list<FourCC, limits::formats>(from.formats, from.format_count, "formats")));
    out.modifiers = TRY((to_list<Modifier, limits::modifiers>(from.modifiers, from.modifier_count, "modifiers")));
    out.minimum_rung = TRY(to_enum(from.minimum_rung, Rung::copy, "minimum_rung"));
    out.rules = {from.stride_alignment, from.offset_alignment, from.contiguous != 0};
    out.max_size = {from.max_width, from.max_height};
    out.no_external_only = from.no_external_only != 0;
    out.is_protected = from.is_protected != 0;
    return out;
}

namespace {

/// The first one's struct_size says how far they are apart.
Result<std::vector<Participant>> to_participants(const dmabroker_allocation& from)
{
    std::vector<Participant> out;
    if (from.participant_count == 0) return out;
    TRY(require(from.participants, "participants"));
    if (from.participant_count > limits::participants)
        return fail(Errc::invalid_argument, "{} participants; {} are possible", from.participant_count, limits::participants);
    const char* at = reinterpret_cast<const char*>(from.participants);
    const std::size_t distance = from.participants->struct_size;
    for (std::size_t i = 0; i < from.participant_count; ++i, at += distance) {
        const auto* participant = reinterpret_cast<const dmabroker_participant*>(at);
        out.push_back(TRY(to_participant(participant)));
        if (participant->struct_size != distance)
            return fail(Errc::invalid_argument, "participant {}: struct_size is {}, the first one's {}", i,
                        participant->struct_size, distance);
    }
    return out;
}

} // namespace

Result<ImageRequest> to_request(const dmabroker_allocation& from)
{
    ImageRequest request;
    request.spec.size = {from.width, from.height};
    request.spec.format = {from.format};
    request.spec.usage = TRY(to_usage(from.usage));
    request.spec.backends = TRY(to_backends(from.backends));
    request.spec.minimum_rung = TRY(to_enum(from.minimum_rung, Rung::copy, "minimum_rung"));
    request.spec.colour = TRY(to_colour(from.colour, request.spec.format));
    TRY(check_colour(request.spec.colour, request.spec.format));
    request.spec.device = TRY(to_name(from.device, "device"));
    request.spec.modifiers = TRY((to_list<Modifier, limits::modifiers>(from.modifiers, from.modifier_count, "modifiers")));
    request.label = TRY(to_name(from.label, "label"));
    request.lease_ns = from.lease_ns;
    request.alternatives = TRY((to_list<FourCC, limits::formats>(from.alternatives, from.alternative_count, "formats")));
    if (from.contents && from.alternative_count != 0)
        return fail(Errc::invalid_argument, "contents have one format; leave out the alternatives");
    request.participants = TRY(to_participants(from));
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
    desc.colour = TRY(to_colour(from.colour, desc.format));
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
    info.colour = to_c(desc.colour);
    info.plane_count = static_cast<std::uint32_t>(desc.planes.size());
    info.memory_count = static_cast<std::uint32_t>(desc.memories.size());
    for (std::size_t i = 0; i < desc.planes.size(); ++i)
        info.planes[i] = {desc.planes[i].memory, desc.planes[i].stride, desc.planes[i].offset, 0};
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
    image.info.request = image.request.value;
    image.info.source = image.source.value;
    image.info.rights = image.rights.bits;
    image.info.protection = static_cast<std::uint32_t>(image.protection);
}

} // namespace dmb
