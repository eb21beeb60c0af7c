// SPDX-License-Identifier: MIT
// An EGL display with its context, kept by GlDisplays or GbmCopy between requests, and one import into it, for the time
// of a look or a drawing. Parts are the whole image, or its planes where the driver takes only these. An external image
// can be sampled and not drawn to. Images are imported with libdmabroker, so that what works here works in
// applications; errors are exceptions, stopped by caught().
#include "daemon/worker/gl/device.hpp"

#include <stdexcept>

namespace dmb::worker {
namespace {

dmabroker::egl::Images import_into(const GlDevice& device, const dmabroker::Image& image, std::uint32_t flags)
{
    device.context().make_current();
    return dmabroker::egl::import(image, device.context().display(), flags);
}

} // namespace

Result<std::unique_ptr<GlDevice>> GlDevice::open(unsigned display)
{
    return caught([&] { return std::make_unique<GlDevice>(gpu::EglContext(display)); });
}

Result<std::unique_ptr<GlDevice>> GlDevice::open_gbm(void* gbm_device, std::uint64_t node)
{
    return caught([&] { return std::make_unique<GlDevice>(gpu::EglContext(gbm_device, node)); });
}

std::vector<Capability> GlDevice::importable(FourCC format) const
{
    if (!context_.lists_extension("EGL_EXT_image_dma_buf_import_modifiers")) return {};
    const dmabroker::egl::Display display = context_.display();
    const auto query = reinterpret_cast<PFNEGLQUERYDMABUFMODIFIERSEXTPROC>(display.get_proc("eglQueryDmaBufModifiersEXT"));
    const auto code = static_cast<EGLint>(format.value);
    EGLint count = 0;
    if (!query(display.display, code, 0, nullptr, nullptr, &count) || count <= 0) return {};
    std::vector<EGLuint64KHR> modifiers(static_cast<std::size_t>(count));
    std::vector<EGLBoolean> external(modifiers.size(), EGL_FALSE);
    if (!query(display.display, code, count, modifiers.data(), external.data(), &count)) return {};
    std::vector<Capability> out;
    for (std::size_t i = 0; i < modifiers.size() && i < static_cast<std::size_t>(count); ++i) {
        Capability& row = out.emplace_back();
        row.format = format;
        row.modifier = {modifiers[i]};
        row.external_only = external[i] == EGL_TRUE;
        row.usage = row.external_only ? Usage(UsageFlag::sample) : UsageFlag::sample | UsageFlag::render;
    }
    return out;
}

GlImport::GlImport(const GlDevice& device, const dmabroker::Image& image, std::uint32_t flags)
    : device_(device), images_(import_into(device, image, flags))
{
    if (external_only() && (flags & DMABROKER_IMPORT_WRITE))
        throw std::runtime_error("this driver samples such images as external textures and cannot draw into them");
}

Texels GlImport::read(std::uint32_t part) const { return device_.pixels().read(texture(part).get(), extent(part)); }

void GlImport::draw(std::uint32_t part, const Texels& texels) const
{
    device_.pixels().draw(texture(part).get().name, extent(part), texels);
}

void GlImport::copy_to(const GlImport& to) const
{
    if (count() != to.count()) throw std::runtime_error("this driver takes the two images apart differently");
    for (std::uint32_t i = 0; i < count(); ++i) device_.pixels().copy(texture(i).get(), to.texture(i).get().name, extent(i));
}

} // namespace dmb::worker
