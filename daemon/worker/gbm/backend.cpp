// SPDX-License-Identifier: MIT
// GBM has no list of modifiers to ask for: the device's own EGL has one, of what it imports. For each format these are
// proven, in that order, then the driver's own choice, which may be a layout that only it knows, and LINEAR. Support is
// what a 64x64 buffer could be allocated and exported for, never what gbm_device_is_format_supported says.
//
// CPU usage is claimed where the exported dma-buf can be mapped and shows what the GPU drew:
// software drivers draw into that very memory, and the kernel keeps real GPUs coherent between
// DMA_BUF_IOCTL_SYNC brackets. virtio-gpu with a 3D context (virgl) does not: the texture lives
// in the host, a mapping shows the guest's copy of it, which is stale as soon as anybody draws (and no
// local trial notices, because a fresh buffer's copy is up to date).
#include "daemon/worker/gbm/backend.hpp"

#include "daemon/worker/gbm/import.hpp"
#include "daemon/worker/mapping.hpp"
#include "daemon/worker/padding.hpp"
#include "proto/base/log.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace dmb::worker {
namespace {

constexpr Extent trial{64, 64};

std::uint32_t gbm_flags(Usage usage)
{
    std::uint32_t flags = 0;
    if (usage.has_any(UsageFlag::sample | UsageFlag::render)) flags |= GBM_BO_USE_RENDERING;
    if (usage.has(UsageFlag::scanout)) flags |= GBM_BO_USE_SCANOUT;
    if (usage.has_any(usage_cpu)) flags |= GBM_BO_USE_LINEAR;
    return flags != 0 ? flags : std::uint32_t{GBM_BO_USE_RENDERING};
}

Rung rung_of(const GbmDevice& device, Modifier modifier, Usage usage)
{
    const bool linear = modifier == modifier_linear || device.software() || usage.has_any(usage_cpu);
    return linear ? Rung::linear : Rung::tiled;
}

void describe(Exported& image, FourCC format, Extent size)
{
    image.desc.format = format;
    image.desc.size = size;
}

Result<> fill_through_mapping(const Exported& image, const FormatInfo& format, const Contents* contents)
{
    for (std::size_t i = 0; i < format.plane_count; ++i) {
        const Plane& plane = image.desc.planes[i];
        const Mapping mapping = TRY(Mapping::map(image.fds[plane.memory].get(), image.desc.memories[plane.memory].size));
        TRY(write_plane(format, image.desc.size, i, contents, {mapping.data() + plane.offset, plane.stride}));
    }
    return {};
}

/// Mesa prints a line for every dumb buffer that the kernel refuses; while trying, refusals are the rule.
class QuietStderr {
public:
    QuietStderr() : saved_(UniqueFd::adopt(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)))
    {
        const UniqueFd nowhere = UniqueFd::adopt(::open("/dev/null", O_WRONLY | O_CLOEXEC));
        if (saved_ && nowhere) ::dup2(nowhere.get(), STDERR_FILENO);
    }
    QuietStderr(const QuietStderr&) = delete;
    QuietStderr& operator=(const QuietStderr&) = delete;
    ~QuietStderr()
    {
        if (saved_) ::dup2(saved_.get(), STDERR_FILENO);
    }

private:
    UniqueFd saved_;
};

} // namespace

GbmBackend::GbmBackend(const std::string& node)
{
    Result<> listed;
    {
        const QuietStderr quiet;
        Exporter& exporter = exports_.exporter;
        if (auto opened = GbmDevice::open(node, exporter)) device_.emplace(std::move(*opened));
        else exporter.problem = opened.error().reason.view();
        if (!device_) return;
        prove_cpu_access();
        listed = prove_formats();
    }
    if (!listed)
        log::warning("{}: EGL lists no modifiers, so GBM offers the driver's choice and LINEAR only: {}", node,
                     listed.error().reason.view());
}

void GbmBackend::prove_cpu_access()
{
    const bool stale = exports_.exporter.driver.view() == "virtio_gpu" && !device_->software();
    if (stale) return;
    const auto bo = device_->create(trial, fourcc("XR24"), {}, gbm_flags(usage_cpu));
    if (!bo) return;
    const auto image = device_->export_bo(bo->get());
    cpu_access_ = image && Mapping::map(image->fds[0].get(), image->desc.memories[0].size);
}

/// The error is that of the list; what can be proven without it is.
Result<> GbmBackend::prove_formats()
{
    Result<> listed;
    for (const FormatInfo& format : all_formats()) {
        std::vector<Capability> rows;
        if (listed && lists_modifiers()) {
            if (auto found = (*copier())->importable(format.fourcc)) rows = std::move(*found);
            else listed = std::unexpected(found.error());
        }
        prove(format, rows);
    }
    return listed;
}

/// A software driver lists LINEAR and nothing else, and its EGL takes seconds to open.
bool GbmBackend::lists_modifiers() const { return device_->knows_modifiers() && !device_->software(); }

/// `listed`: what the device's EGL imports.
void GbmBackend::prove(const FormatInfo& format, std::span<const Capability> listed)
{
    const Usage gpu = UsageFlag::sample | UsageFlag::render;
    Usage linear = gpu;
    for (const Capability& row : listed) {
        if (row.modifier == modifier_linear) linear = row.usage;
        else if (row.modifier != modifier_invalid) prove_layout(format, {&row.modifier, 1}, row.usage);
    }
    prove_layout(format, {}, gpu);
    prove_layout(format, {&modifier_linear, 1}, cpu_access_ ? linear | usage_cpu : linear);
}

/// Adds one usage after the other as long as the driver still allocates. `gpu_and_cpu`: those to try, beside scanout.
void GbmBackend::prove_layout(const FormatInfo& format, std::span<const Modifier> acceptable, Usage gpu_and_cpu)
{
    Usage possible = gpu_and_cpu;
    if (device_->has_display()) possible = possible | UsageFlag::scanout;
    Usage usage;
    for (const Usage step : {UsageFlag::sample | UsageFlag::render, Usage(UsageFlag::scanout), usage_cpu}) {
        const Usage more = step & possible;
        if (more.empty()) continue;
        const auto bo = device_->create(trial, format.fourcc, acceptable, gbm_flags(usage | more));
        if (!bo) continue;
        auto image = device_->export_bo(bo->get());
        if (!image) continue;
        describe(*image, format.fourcc, trial);
        if (!check_layout(image->desc) || !fill(bo->get(), *image, nullptr)) continue;
        usage = usage | more;
        record(format.fourcc, *image, usage);
    }
}

void GbmBackend::record(FourCC format, const Exported& image, Usage usage)
{
    const Capability found{.format = format,
                           .modifier = image.desc.modifier,
                           .plane_count = static_cast<std::uint8_t>(image.desc.planes.size()),
                           .usage = usage};
    const auto same = std::ranges::find_if(exports_.rows, [&](const Capability& known) {
        return known.format == found.format && known.modifier == found.modifier && known.plane_count == found.plane_count;
    });
    if (same == exports_.rows.end()) exports_.rows.push_back(found);
    else same->usage = same->usage | usage;
}

Result<> GbmBackend::check_usage(FourCC format, Usage wanted) const
{
    Usage possible;
    for (const Capability& known : exports_.rows) {
        if (known.format != format) continue;
        possible = possible | known.usage;
        if (known.usage.has(wanted)) return {};
    }
    if (possible.empty())
        return fail(Errc::backend_failed, "GBM on {} allocated no {} when tried", exports_.exporter.node.view(),
                    to_string(format));
    return fail(Errc::backend_failed, "GBM on {} can {} for {}, not all of {}", exports_.exporter.node.view(),
                to_string(possible), to_string(format), to_string(wanted));
}

Result<Exported> GbmBackend::allocate(std::uint8_t, const AllocateSpec& spec, const LayoutRules& rules,
                                      const Contents* contents)
{
    if (rules.contiguous) return fail(Errc::backend_failed, "GBM does not tell whether memory is physically contiguous");
    if (!device_) return fail(Errc::backend_failed, "{}", exports_.exporter.problem.view());
    TRY(check_usage(spec.format, spec.usage));
    if (!spec.usage.has_any(usage_cpu))
        return try_allocate(spec, rules, {spec.modifiers.data(), spec.modifiers.size()}, contents);
    // Only linear rows make sense to a CPU; software drivers call theirs INVALID.
    BoundedVector<Modifier, 2> linear;
    for (const Modifier m : spec.modifiers)
        if ((m == modifier_linear || m == modifier_invalid) && !linear.full()) linear.push_back(m);
    if (linear.empty() && !spec.modifiers.empty())
        return fail(Errc::backend_failed, "none of the modifiers asked for has rows that a CPU can read");
    return try_allocate(spec, rules, {linear.data(), linear.size()}, contents);
}

/// With rows as the driver makes them; if a rule wants them longer, a wider buffer. Only where a buffer is its bytes: to
/// virgl it is a texture of the host, whose importers must state its own width.
Result<GbmBackend::Made> GbmBackend::make(const AllocateSpec& spec, const LayoutRules& rules,
                                          std::span<const Modifier> acceptable) const
{
    Bo bo = TRY(device_->create(spec.size, spec.format, acceptable, gbm_flags(spec.usage)));
    Exported image = TRY(device_->export_bo(bo.get()));
    const std::uint32_t stride = padded_stride(rules, spec.format, spec.size);
    const bool rows = device_->software() || (cpu_access_ && image.desc.modifier == modifier_linear);
    if (!rows || stride == 0 || broken_rule(rules, image.desc).empty()) return Made{std::move(bo), std::move(image)};
    const Extent wide{padded_width(spec.format, stride), spec.size.height};
    bo = TRY(device_->create(wide, spec.format, acceptable, gbm_flags(spec.usage)));
    image = TRY(device_->export_bo(bo.get()));
    return Made{std::move(bo), std::move(image)};
}

Result<Exported> GbmBackend::try_allocate(const AllocateSpec& spec, const LayoutRules& rules,
                                          std::span<const Modifier> acceptable, const Contents* contents)
{
    Made made = TRY(make(spec, rules, acceptable));
    Exported& image = made.image;
    if (!acceptable.empty() && std::ranges::find(acceptable, image.desc.modifier) == acceptable.end())
        return fail(Errc::backend_failed, "GBM on {} allocated with modifier {}, which was not asked for",
                    exports_.exporter.node.view(), to_string(image.desc.modifier));
    describe(image, spec.format, spec.size);
    image.desc.usage = spec.usage;
    image.desc.device = exports_.exporter.id;
    image.desc.rung = rung_of(*device_, image.desc.modifier, spec.usage);
    if (image.desc.rung < spec.minimum_rung)
        return fail(Errc::backend_failed, "GBM on {} allocates {} {}, below the rung asked for", exports_.exporter.node.view(),
                    name(image.desc.rung), to_string(spec.format));
    TRY(check_layout(image.desc));
    TRY(fill(made.bo.get(), image, contents));
    image.contents_written = contents != nullptr;
    return std::move(image);
}

/// The kernel zeroes the pages of dumb buffers. A GPU's memory may still show what was there before.
Result<> GbmBackend::fill(gbm_bo* bo, const Exported& image, const Contents* contents)
{
    if (!contents && device_->software()) return {};
    const FormatInfo& format = *find_format(image.desc.format);
    if (device_->software()) return fill_through_mapping(image, format, contents);
    if (format.plane_count == 1) return write_bo(bo, format, image.desc.size, contents);
    // gbm_bo_map shows the first plane only.
    if (image.desc.modifier == modifier_linear && cpu_access_) return fill_through_mapping(image, format, contents);
    return fail(Errc::backend_failed, "{} with modifier {} can be neither cleared nor written through GBM; ask for LINEAR",
                format.name, to_string(image.desc.modifier));
}

Result<GbmCopy*> GbmBackend::copier()
{
    if (!device_) return fail(Errc::backend_failed, "{}", exports_.exporter.problem.view());
    if (!copier_) copier_.emplace(*device_, exports_.exporter.id, cpu_access_);
    return &*copier_;
}

Result<> GbmBackend::read(Image image, std::span<std::byte> to)
{
    GbmCopy* copy = TRY(copier());
    return copy->read(std::move(image), to);
}

Result<> GbmBackend::write(Image image, const Contents& contents)
{
    GbmCopy* copy = TRY(copier());
    return copy->write(std::move(image), contents);
}

Result<> GbmBackend::blit(Image from, Image to)
{
    GbmCopy* copy = TRY(copier());
    return copy->blit(std::move(from), std::move(to));
}

} // namespace dmb::worker
