// SPDX-License-Identifier: MIT
// alloc and put: make an image, leave it to its lease, print its token last.
//
// put allocates without a lease and sets it when all pixels are there: a file that breaks off in the
// middle, or a put that is killed, leaves nothing behind. Rows go from libpng straight into the mapping,
// and so do the bytes of a buffer. Memory that the CPU cannot map (a GPU backend was asked for by name) is
// filled by the broker's worker instead, which needs the whole image at once.
#include "tools/dmabrokerctl/colour.hpp"
#include "tools/dmabrokerctl/commands.hpp"

#include "proto/image/image_desc.hpp"
#include "tools/dmabrokerctl/file.hpp"
#include "tools/dmabrokerctl/pixels.hpp"
#include "tools/dmabrokerctl/png_colour.hpp"
#include "tools/dmabrokerctl/text.hpp"

#include <dmabroker/capabilities.h>
#include <filesystem>
#include <fmt/core.h>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

namespace dmb::ctl {
namespace {

struct Made {
    const Global& global;
    dmabroker_client* client;
    dmabroker_image* image;
    std::string token;
    std::uint64_t lease_ns;
};

Json lease_json(std::uint64_t lease_ns)
{
    return lease_ns == DMABROKER_FOREVER ? Json("forever") : Json(static_cast<double>(lease_ns) / 1e9);
}

Result<Json> image_json(const dmabroker_image_info& info)
{
    char* text = nullptr;
    CallError error;
    TRY(check(dmabroker_image_to_json(&info, &text, error), error));
    const std::unique_ptr<char, Closer<dmabroker_free>> owner(text);
    Json json = Json::parse(text, nullptr, false);
    return json.is_object() && json.contains("image") ? json["image"] : json;
}

std::string one_line(const dmabroker_image_info& info)
{
    const FourCC format{info.format};
    std::string out = fmt::format("image {}: {} {}, {} from {}, modifier {}, rung {}", info.id, to_string(format),
                                  human_size({info.width, info.height}, format), name(static_cast<MemoryKind>(info.kind)),
                                  name(static_cast<Backend>(info.backend)), to_string(Modifier{info.modifier}),
                                  name(static_cast<Rung>(info.rung)));
    for (std::uint32_t i = 0; i < info.plane_count; ++i)
        out += fmt::format("{}{}", i ? "+" : ", stride ", info.planes[i].stride);
    return out;
}

Result<> report(const Made& made)
{
    const dmabroker_image_info& info = *dmabroker_image_get_info(made.image);
    const Json decision = TRY(last_decision(made.client));
    if (made.global.json) {
        const Json image = TRY(image_json(info));
        print_json(Json{{"id", info.id},
                        {"image", image},
                        {"candidates", decision.value("candidates", Json::array())},
                        {"lease", lease_json(made.lease_ns)},
                        {"token", made.token}});
        return {};
    }
    print(one_line(info) + "\n" + candidates_text(decision));
    fmt::print("lease {}, token\n{}\n", human_lease(made.lease_ns), made.token);
    return {};
}

dmabroker_allocation allocation_of(const Placement& p, Extent size, FourCC format, Usage usage)
{
    dmabroker_allocation a = DMABROKER_ALLOCATION_INIT;
    a.width = size.width;
    a.height = size.height;
    a.format = format.value;
    a.usage = p.usage.value_or(usage).bits;
    a.backends = p.backends.bits;
    a.device = p.device.empty() ? nullptr : p.device.c_str();
    a.label = p.label.empty() ? nullptr : p.label.c_str();
    a.colour = p.colour;
    return a;
}

/// After a failure: the decision, beside the error.
void explain(const Global& global, dmabroker_client* client)
{
    const Result<Json> decision = last_decision(client);
    if (decision && global.json) (*global.details)["why"] = *decision;
    else if (decision) fmt::print(stderr, "{}", decision_text(*decision));
}

Result<ImageHandle> allocate(const Global& global, dmabroker_client* client, const dmabroker_allocation& allocation)
{
    dmabroker_image* image = nullptr;
    CallError error;
    const auto result = check(dmabroker_allocate(client, &allocation, &image, error), error);
    if (!result) explain(global, client);
    TRY(Result<>(result));
    return ImageHandle(image);
}

/// The last step: from here on the image lives without us.
Result<> hand_over(const Global& global, dmabroker_client* client, dmabroker_image* image, const Placement& p, Rights rights)
{
    CallError error;
    const std::string token = TRY(mint_token(image, p.rights.value_or(rights), p.one_shot));
    TRY(check(dmabroker_image_set_lease(image, p.lease_ns, error), error));
    return report({global, client, image, token, p.lease_ns});
}

/// Tables from files, stated, and the participants that have them.
struct Participants {
    std::vector<std::unique_ptr<dmabroker_capabilities, Closer<dmabroker_capabilities_free>>> tables;
    std::vector<std::string> names;
    std::vector<dmabroker_participant> list;

    static Result<Participants> state(dmabroker_client* client, const std::vector<ParticipantOption>& options)
    {
        Participants out;
        out.names.reserve(options.size());
        for (const ParticipantOption& option : options) TRY(out.add(client, option));
        return out;
    }

private:
    Result<> add(dmabroker_client* client, const ParticipantOption& option)
    {
        std::ostringstream text;
        std::ifstream file(option.file, std::ios::binary);
        if (!file) return fail(Errc::invalid_argument, "{}: cannot be read", escaped(option.file));
        text << file.rdbuf();
        dmabroker_capabilities* table = nullptr;
        CallError error;
        TRY(check(dmabroker_capabilities_from_json(text.str().c_str(), &table, error), error));
        tables.emplace_back(table);
        TRY(check(dmabroker_state_capabilities(client, table, error), error));
        names.push_back(std::filesystem::path(option.file).stem().string());
        dmabroker_participant participant = DMABROKER_PARTICIPANT_INIT;
        participant.name = names.back().c_str();
        participant.capabilities = dmabroker_capabilities_digest(table);
        participant.usage = option.usage.bits;
        participant.minimum_rung = static_cast<std::uint32_t>(option.minimum_rung);
        list.push_back(participant);
        return {};
    }
};

} // namespace

Result<> alloc(const Global& global, const AllocOptions& options)
{
    const ClientHandle client = TRY(connect(global));
    dmabroker_allocation allocation = allocation_of(options.placement, options.size, options.format, Usage{});
    allocation.modifiers = options.modifiers.empty() ? nullptr : options.modifiers.data();
    allocation.modifier_count = options.modifiers.size();
    allocation.minimum_rung = static_cast<std::uint32_t>(options.minimum_rung);
    allocation.alternatives = options.alternatives.empty() ? nullptr : options.alternatives.data();
    allocation.alternative_count = options.alternatives.size();
    const Participants participants = TRY(Participants::state(client.get(), options.participants));
    allocation.participants = participants.list.empty() ? nullptr : participants.list.data();
    allocation.participant_count = participants.list.size();
    const ImageHandle image = TRY(allocate(global, client.get(), allocation));
    return hand_over(global, client.get(), image.get(), options.placement, Right::read | Right::write);
}

// --- put -----------------------------------------------------------------------------------

namespace {

/// System memory: every process can map it and the GPUs that can import it do. Others by name.
BackendSet system_memory()
{
    BackendSet set;
    for (const Backend b : {Backend::memfd, Backend::udmabuf, Backend::dma_heap}) set.add(b);
    return set;
}

bool is_gpu_only(const BackendSet& backends) { return !backends.empty() && (backends.bits & system_memory().bits) == 0; }

/// Where the rows of the image go.
struct Target {
    const PackedRgb& format;
    std::byte* data = nullptr;
    std::size_t stride = 0;
    std::byte* row(std::uint32_t y) const { return data + stride * y; }
};

/// RGBA rows of the file are already rows of the image.
bool same_layout(const PackedRgb& format, unsigned bits)
{
    return format.format == (bits == 16 ? fourcc("AB48") : fourcc("AB24"));
}

Result<> read_directly(PngReader& png, const Target& target)
{
    // libpng merges the later passes of an interlaced file into rows that it finds in place.
    for (int pass = 0; pass < png.passes(); ++pass)
        for (std::uint32_t y = 0; y < png.size().height; ++y) TRY(png.read_row(target.row(y)));
    return png.finish();
}

void widen(std::span<const std::byte> row, unsigned bits, RgbaRow rgba)
{
    if (bits == 16) std::copy_n(row.data(), row.size(), std::as_writable_bytes(rgba).data());
    else
        for (std::size_t i = 0; i < rgba.size(); ++i) rgba[i] = std::to_integer<std::uint16_t>(row[i]);
}

Result<> read_converted(PngReader& png, const Target& target)
{
    const std::uint32_t height = png.size().height;
    const std::uint32_t maximum = png.bits() == 16 ? 65535 : 255;
    const bool interlaced = png.passes() > 1;
    std::vector<std::byte> rows(png.row_bytes() * (interlaced ? height : 1));
    std::vector<std::uint16_t> rgba(std::size_t{png.size().width} * 4);
    const auto row = [&](std::uint32_t y) {
        return std::span(rows).subspan(interlaced ? y * png.row_bytes() : 0, png.row_bytes());
    };
    for (int pass = 1; pass < png.passes(); ++pass)
        for (std::uint32_t y = 0; y < height; ++y) TRY(png.read_row(row(y).data()));
    for (std::uint32_t y = 0; y < height; ++y) {
        TRY(png.read_row(row(y).data()));
        widen(row(y), png.bits(), rgba);
        encode_row(target.format, rgba, maximum, target.row(y));
    }
    return png.finish();
}

Result<> read_pixels(PngReader& png, const Target& target)
{
    return same_layout(target.format, png.bits()) ? read_directly(png, target) : read_converted(png, target);
}

/// What an image is made of.
struct Contents {
    Extent size;
    FourCC format;
    std::size_t row_bytes;
    std::function<Result<>(std::byte* data, std::size_t stride)> read; ///< all of it, once
};

Result<ImageHandle> put_by_worker(const Global& global, dmabroker_client* client, const Contents& contents,
                                  dmabroker_allocation allocation)
{
    std::vector<std::byte> bytes(contents.row_bytes * contents.size.height);
    TRY(contents.read(bytes.data(), contents.row_bytes));
    const dmabroker_pixels pixels{{bytes.data()}, {contents.row_bytes}, {}};
    allocation.contents = &pixels;
    return allocate(global, client, allocation);
}

Result<ImageHandle> put_by_mapping(const Global& global, dmabroker_client* client, const Contents& contents,
                                   dmabroker_allocation allocation)
{
    if (allocation.backends == 0) allocation.backends = system_memory().bits;
    ImageHandle image = TRY(allocate(global, client, allocation));
    const MappingHandle mapping = TRY(map(image.get(), DMABROKER_DIRECTION_READ | DMABROKER_DIRECTION_WRITE));
    auto* data = static_cast<std::byte*>(dmabroker_cpu_data(mapping.get(), 0));
    TRY(contents.read(data, dmabroker_image_get_info(image.get())->planes[0].stride));
    TRY(end_mapping(mapping.get(), DMABROKER_DIRECTION_READ | DMABROKER_DIRECTION_WRITE));
    return image;
}

Result<> put_contents(const Global& global, const Placement& placement, const Contents& contents)
{
    const ClientHandle client = TRY(connect(global));
    const bool worker = is_gpu_only(placement.backends);
    const Usage usage = worker ? Usage(UsageFlag::sample) : usage_cpu | UsageFlag::sample;
    const dmabroker_allocation allocation = allocation_of(placement, contents.size, contents.format, usage);
    const ImageHandle image = TRY((worker ? put_by_worker : put_by_mapping)(global, client.get(), contents, allocation));
    return hand_over(global, client.get(), image.get(), placement, Right::read);
}

Result<const PackedRgb*> format_for(const PutOptions& options, unsigned bits)
{
    const FourCC wanted = options.format.value_or(bits == 16 ? fourcc("AB48") : fourcc("AB24"));
    if (const PackedRgb* format = find_packed_rgb(wanted)) return format;
    return fail(Errc::unknown_format, "put cannot write {}: choose one of the RGB formats, such as AB24, XR24, AB48 or R8",
                to_string(wanted));
}

/// The options' word, else the file's. An ICC profile leaves its name as the label.
Result<Placement> placement_for(const Placement& stated, const PngMeaning& file)
{
    if (file.limited_range && stated.colour.range == 0)
        return fail(Errc::unsupported,
                    "its numbers are of limited range, and RGB images are full range everywhere: convert it, "
                    "or say --range full to take the numbers as they are");
    for (const std::string& note : file.notes) fmt::print(stderr, "dmabrokerctl: note: {}\n", note);
    Placement out = stated;
    out.colour = combine(stated.colour, to_c(file.colour));
    if (out.label.empty() && !file.profile.empty()) out.label = ("ICC " + file.profile).substr(0, 64);
    return out;
}

Result<> put_pixels(const Global& global, const PutOptions& options)
{
    PngReader png = TRY(PngReader::open(options.file));
    const Placement placement = TRY(placement_for(options.placement, meaning_of(png.colour_chunks())));
    const PackedRgb& format = *TRY(format_for(options, png.bits()));
    const auto read = [&](std::byte* data, std::size_t stride) { return read_pixels(png, {format, data, stride}); };
    const std::size_t row_bytes = std::size_t{png.size().width} * format.bytes;
    return put_contents(global, placement, {png.size(), format.format, row_bytes, read});
}

Result<> put_bytes(const Global& global, const PutOptions& options)
{
    const InputFile file = TRY(InputFile::open(options.file));
    const auto read = [&](std::byte* data, std::size_t) { return file.read(data); };
    return put_contents(global, options.placement, {{file.size(), 1}, buffer_format, file.size(), read});
}

} // namespace

Result<> put(const Global& global, const PutOptions& options)
{
    return options.bytes ? put_bytes(global, options) : put_pixels(global, options);
}

} // namespace dmb::ctl
