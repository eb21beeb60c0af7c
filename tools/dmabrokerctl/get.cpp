// SPDX-License-Identifier: MIT
// get: an image as a PNG file, row by row from the mapping. Formats of up to 8 bits per channel become
// 8-bit files, all others 16-bit ones; alpha is written straight, whatever the image has. YUV is
// converted with the image's own matrix. What the numbers mean stands in the file's chunks: nothing is tone-mapped. The
// bytes of a buffer are written as they are.
//
// What the CPU cannot map (opaque memory, tiled layouts) is read back through Vulkan, all at once: the
// driver that allocated it can do that, and no other.
#include "libclient/headless/read_back.hpp"
#include "tools/dmabrokerctl/colour.hpp"
#include "tools/dmabrokerctl/commands.hpp"
#include "tools/dmabrokerctl/file.hpp"
#include "tools/dmabrokerctl/pixels.hpp"
#include "tools/dmabrokerctl/png_colour.hpp"
#include "tools/dmabrokerctl/text.hpp"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace dmb::ctl {
namespace {

struct Source {
    dmabroker_image_info info{};
    const FormatInfo* format = nullptr;
    const PackedRgb* rgb = nullptr; ///< null for YUV and buffers
    YuvPlanes planes;
    YuvToRgb conversion;
    MappingHandle mapping;         ///< planes point into this,
    std::vector<std::byte> copy{}; ///< or into this

    bool is_buffer() const { return info.format == DMABROKER_FORMAT_BUFFER; }
    unsigned bits() const { return format->bits > 8 ? 16 : 8; }
    std::uint32_t maximum() const { return bits() == 16 ? 65535 : 255; }
    bool premultiplied() const { return rgb && rgb->has_alpha() && info.colour.alpha == DMABROKER_ALPHA_PREMULTIPLIED; }
    const std::byte* row(std::uint32_t y) const { return planes.data[0] + planes.stride[0] * y; }
};

PngColour colour_of(const Source& source)
{
    if (!source.rgb) return PngColour::rgb;
    if (source.rgb->is_grey()) return PngColour::grey;
    return source.rgb->has_alpha() ? PngColour::rgba : PngColour::rgb;
}

/// The mapping's bytes are the file's pixels.
bool same_layout(const Source& source)
{
    const FourCC code = source.format->fourcc;
    return !source.premultiplied() &&
           (code == fourcc("AB24") || code == fourcc("AB48") || code == fourcc("R8  ") || code == fourcc("R16 "));
}

void decode(const Source& source, std::uint32_t y, RgbaRow rgba)
{
    if (!source.rgb) return decode_yuv_row(source.planes, source.conversion, y, source.maximum(), rgba);
    decode_row(*source.rgb, source.row(y), source.maximum(), rgba);
    if (source.premultiplied()) unpremultiply(rgba, source.maximum());
}

/// Drops the channels that the file lacks.
void pack(std::span<const std::uint16_t> rgba, std::size_t channels, unsigned bits, std::byte* out)
{
    for (std::size_t i = 0; i < rgba.size(); i += 4)
        for (std::size_t k = 0; k < channels; ++k) {
            if (bits == 16) std::copy_n(reinterpret_cast<const std::byte*>(&rgba[i + k]), 2, out);
            else *out = static_cast<std::byte>(rgba[i + k]);
            out += bits / 8;
        }
}

constexpr std::size_t channels_of(PngColour colour) { return colour == PngColour::grey ? 1 : colour == PngColour::rgb ? 3 : 4; }

Result<> write_png(const std::string& path, const Source& source)
{
    PngWriter png = TRY(PngWriter::create(path, {source.info.width, source.info.height}, colour_of(source), source.bits(),
                                          chunks_of(from_c(source.info.colour))));
    const std::size_t channels = channels_of(colour_of(source));
    std::vector<std::uint16_t> rgba(std::size_t{source.info.width} * 4);
    std::vector<std::byte> packed(std::size_t{source.info.width} * channels * source.bits() / 8);
    for (std::uint32_t y = 0; y < source.info.height; ++y) {
        if (same_layout(source)) {
            TRY(png.write_row(source.row(y)));
            continue;
        }
        decode(source, y, rgba);
        pack(rgba, channels, source.bits(), packed.data());
        TRY(png.write_row(packed.data()));
    }
    return png.finish();
}

Result<> write_bytes(const std::string& path, const Source& source)
{
    OutputFile file = TRY(OutputFile::create(path));
    TRY(file.write({source.planes.data[0], source.info.width}));
    return file.finish();
}

Result<Source> describe(const dmabroker_image_info& info)
{
    Source source{.info = info, .format = find_format({info.format})};
    if (!source.format)
        return fail(Errc::unknown_format, "this dmabrokerctl does not know {}; install a newer one",
                    to_string(FourCC{info.format}));
    source.rgb = find_packed_rgb(source.format->fourcc);
    source.planes.format = source.format;
    if (source.rgb || source.is_buffer()) return source;
    const Colour colour = from_c(info.colour);
    const auto conversion = yuv_to_rgb(colour, source.format->bits);
    if (!conversion)
        return fail(Errc::unsupported, "no matrix makes RGB of {} with the coefficients {}", source.format->name,
                    to_string(colour.matrix));
    source.conversion = *conversion;
    return source;
}

Result<> read_mapped(dmabroker_image* image, Source& source)
{
    source.mapping = TRY(map(image, DMABROKER_DIRECTION_READ));
    for (std::uint32_t i = 0; i < source.info.plane_count; ++i) {
        source.planes.data[i] = static_cast<const std::byte*>(dmabroker_cpu_data(source.mapping.get(), i));
        source.planes.stride[i] = source.info.planes[i].stride;
    }
    return {};
}

/// `refusal`: why the CPU could not do it.
Result<> read_by_driver(const dmabroker::Image& image, Source& source, const Error& refusal)
{
#ifdef HAVE_GPU_SUPPORT
    if (source.rgb || source.is_buffer()) {
        try {
            source.copy = source.rgb ? gpu::read_back(image, source.rgb->bytes) : gpu::read_back_buffer(image);
        } catch (const std::exception& e) {
            return fail(refusal.code, "{}; nor could Vulkan: {}", refusal.reason.view(), e.what());
        }
        source.planes.data[0] = source.copy.data();
        source.planes.stride[0] = source.copy.size() / source.info.height;
        return {};
    }
#else
    static_cast<void>(image), static_cast<void>(source);
#endif
    return std::unexpected(refusal);
}

void report(const Global& global, const GetOptions& options, const Source& source)
{
    if (options.file == "-") return; // standard output is the file
    const auto& info = source.info;
    const FourCC format = source.format->fourcc;
    if (global.json) {
        Json json{{"file", options.file},
                  {"id", info.id},
                  {"width", info.width},
                  {"height", info.height},
                  {"format", to_string(format)}};
        if (!source.is_buffer()) json["bits"] = source.bits();
        return print_json(json);
    }
    fmt::print("image {}: {} {}, written to {}{}\n", info.id, to_string(format), human_size({info.width, info.height}, format),
               options.file, source.is_buffer() ? "" : fmt::format(" with {} bits per channel", source.bits()));
}

} // namespace

Result<> get(const Global& global, const GetOptions& options)
{
    const ClientHandle client = TRY(connect(global));
    ImageHandle handle = TRY(open_token(client.get(), options.token, Right::read, UsageFlag::cpu_read));
    Source source = TRY(describe(*dmabroker_image_get_info(handle.get())));
    const auto mapped = read_mapped(handle.get(), source);
    if (!mapped) TRY(read_by_driver(dmabroker::Image(handle.release()), source, mapped.error()));
    TRY((source.is_buffer() ? write_bytes : write_png)(options.file, source));
    if (source.mapping) TRY(end_mapping(source.mapping.get(), DMABROKER_DIRECTION_READ));
    report(global, options, source);
    return {};
}

} // namespace dmb::ctl
