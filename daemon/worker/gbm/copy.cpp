// SPDX-License-Identifier: MIT
// The CPU's view of a GPU's buffer may be stale or tiled; then GL reads it as floats, which hold every format's bits
// exactly, and padding bits come out as 0. Writing goes through gbm_bo_map, which takes raw bits and
// formats that GL cannot draw into; planes beyond the first are drawn.
#include "daemon/worker/gbm/copy.hpp"

#include "daemon/worker/gbm/import.hpp"
#include "daemon/worker/hold.hpp"
#include "daemon/worker/mapping.hpp"
#include "proto/image/capabilities.hpp"
#include "proto/image/proof_pattern.hpp"

#include <cstring>

namespace dmb::worker {
namespace {

/// All planes of an image with rows, mapped. The image must outlive it.
class MappedImage {
public:
    static Result<MappedImage> map(const Image& image)
    {
        MappedImage out(image.desc());
        for (std::size_t i = 0; i < image.desc().memories.size(); ++i)
            out.memories_.push_back(TRY(Mapping::map(image.fd(i), image.desc().memories[i].size)));
        return out;
    }
    MappedPlane plane(std::size_t i) const
    {
        const Plane& p = desc_.planes[i];
        return {memories_[p.memory].data() + p.offset, p.stride};
    }
    const FormatInfo& format() const { return *find_format(desc_.format); }
    /// Calls visit(plane, row) for every row.
    template <class Visit> void each_row(Visit visit) const
    {
        for (std::size_t p = 0; p < format().plane_count; ++p)
            for (std::uint32_t y = 0; y < plane_extent(format(), p, desc_.size).height; ++y) visit(p, y);
    }
    std::byte* row(std::size_t p, std::uint32_t y) const { return plane(p).data + plane(p).stride * y; }
    std::uint64_t row_size(std::size_t p) const { return row_bytes(format(), p, desc_.size.width); }

private:
    explicit MappedImage(const ImageDesc& desc) : desc_(desc) { memories_.reserve(desc.memories.size()); }
    ImageDesc desc_;
    std::vector<Mapping> memories_;
};

Result<> read_rows(const Image& image, std::span<std::byte> to)
{
    const MappedImage mapped = TRY(MappedImage::map(image));
    std::uint64_t at = 0;
    mapped.each_row([&](std::size_t p, std::uint32_t y) {
        std::memcpy(to.subspan(at, mapped.row_size(p)).data(), mapped.row(p, y), mapped.row_size(p));
        at += mapped.row_size(p);
    });
    return {};
}

Result<> write_rows(const Image& image, const Contents& contents)
{
    const MappedImage mapped = TRY(MappedImage::map(image));
    for (std::size_t p = 0; p < mapped.format().plane_count; ++p)
        TRY(write_plane(mapped.format(), image.desc().size, p, &contents, mapped.plane(p)));
    return {};
}

Result<> copy_rows(const Image& from, const Image& to)
{
    const MappedImage source = TRY(MappedImage::map(from)), target = TRY(MappedImage::map(to));
    source.each_row(
        [&](std::size_t p, std::uint32_t y) { std::memcpy(target.row(p, y), source.row(p, y), source.row_size(p)); });
    return {};
}

} // namespace

bool GbmCopy::cpu_sees(const ImageDesc& desc) const
{
    if (desc.kind == MemoryKind::memfd) return true;
    const bool own = desc.backend == Backend::gbm && is_same(desc.device, id_);
    if (own && device_.software()) return desc.modifier == modifier_linear || desc.modifier == modifier_invalid;
    if (desc.kind == MemoryKind::opaque || desc.modifier != modifier_linear) return false;
    return own ? cpu_access_ : desc.backend != Backend::gbm || desc.usage.has_any(usage_cpu);
}

Result<> GbmCopy::read(Image image, std::span<std::byte> to)
{
    return cpu_sees(image.desc()) ? read_rows(image, to) : read_by_gl(std::move(image), to);
}

Result<> GbmCopy::write(Image image, const Contents& contents)
{
    if (cpu_sees(image.desc())) return write_rows(image, contents);
    const FormatInfo& format = *find_format(image.desc().format);
    if (format.plane_count > 1) return write_by_gl(std::move(image), contents);
    const Extent size = image.desc().size;
    const dmabroker::Image held = TRY(hold(std::move(image)));
    const Bo bo = TRY(import_bo(device_.get(), held, GBM_BO_USE_RENDERING));
    return write_bo(bo.get(), format, size, &contents);
}

Result<> GbmCopy::blit(Image from, Image to)
{
    if (cpu_sees(from.desc()) && cpu_sees(to.desc())) return copy_rows(from, to);
    return blit_by_gl(std::move(from), std::move(to));
}

#if DMB_HAVE_EGL

namespace {

/// As one image per plane where there are several: GL shows no raw samples otherwise.
std::uint32_t import_flags(const FormatInfo& format)
{
    return format.plane_count > 1 ? std::uint32_t{DMABROKER_IMPORT_PER_PLANE} : 0;
}

/// GL shows packed 4:2:2 converted to RGB only.
Result<> check_raw(const FormatInfo& format)
{
    if (format.planes[0].block_width == 1) return {};
    return fail(Errc::unsupported, "GL does not show the bits of {}", format.name);
}

} // namespace

Result<GlDevice*> GbmCopy::gl()
{
    if (!gl_) gl_ = TRY(GlDevice::open_gbm(device_.get(), id_.render_node));
    return gl_.get();
}

Result<> GbmCopy::read_by_gl(Image image, std::span<std::byte> to)
{
    const FormatInfo& format = *find_format(image.desc().format);
    TRY(check_raw(format));
    const dmabroker::Image held = TRY(hold(std::move(image)));
    GlDevice* device = TRY(gl());
    return caught([&] {
        const GlImport imported(*device, held, import_flags(format));
        std::uint64_t at = 0;
        for (std::uint32_t i = 0; i < imported.count(); ++i) {
            const BlockCodec codec(format, i);
            const std::size_t unit = format.planes[i].bytes_per_block;
            for (const Sampled& texel : imported.read(i)) codec.encode(texel, to.subspan(at, unit)), at += unit;
        }
    });
}

Result<> GbmCopy::write_by_gl(Image image, const Contents& contents)
{
    const FormatInfo& format = *find_format(image.desc().format);
    const Extent size = image.desc().size;
    std::vector<Texels> planes;
    for (std::size_t i = 0; i < format.plane_count; ++i) {
        const std::uint32_t rows = plane_extent(format, i, size).height;
        std::vector<std::byte> bytes(row_bytes(format, i, size.width) * rows);
        TRY(contents.read(i, 0, rows, bytes));
        const BlockCodec codec(format, i);
        const std::size_t unit = format.planes[i].bytes_per_block;
        Texels& texels = planes.emplace_back();
        for (std::size_t at = 0; at < bytes.size(); at += unit)
            texels.push_back(codec.decode(std::span(bytes).subspan(at, unit)));
    }
    const dmabroker::Image held = TRY(hold(std::move(image)));
    GlDevice* device = TRY(gl());
    return caught([&] {
        const GlImport imported(*device, held, import_flags(format) | DMABROKER_IMPORT_WRITE);
        for (std::uint32_t i = 0; i < imported.count(); ++i) imported.draw(i, planes[i]);
    });
}

Result<> GbmCopy::blit_by_gl(Image from, Image to)
{
    const FormatInfo& format = *find_format(from.desc().format);
    TRY(check_raw(format));
    const dmabroker::Image source = TRY(hold(std::move(from)));
    const dmabroker::Image target = TRY(hold(std::move(to)));
    GlDevice* device = TRY(gl());
    return caught([&] {
        const GlImport reading(*device, source, import_flags(format));
        reading.copy_to(GlImport(*device, target, import_flags(format) | DMABROKER_IMPORT_WRITE));
    });
}

Result<std::vector<Capability>> GbmCopy::importable(FourCC format)
{
    GlDevice* device = TRY(gl());
    return device->importable(format);
}

#else

namespace {

std::unexpected<Error> no_gl()
{
    return fail(Errc::unsupported, "the CPU does not see this memory as it is, and this build has no EGL");
}

} // namespace

Result<> GbmCopy::read_by_gl(Image, std::span<std::byte>) { return no_gl(); }
Result<> GbmCopy::write_by_gl(Image, const Contents&) { return no_gl(); }
Result<> GbmCopy::blit_by_gl(Image, Image) { return no_gl(); }
Result<std::vector<Capability>> GbmCopy::importable(FourCC) { return std::vector<Capability>(); }

#endif

} // namespace dmb::worker
