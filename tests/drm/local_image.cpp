// SPDX-License-Identifier: MIT
// The mapping is made before the seals, so that F_SEAL_FUTURE_WRITE can be tested.
#include "tests/drm/local_image.hpp"

#include "proto/image/format_colour.hpp"
#include "proto/image/format_table.hpp"
#include "proto/wire/json.hpp"

#include <cstring>
#include <dmabroker/dmabroker.hpp>
#include <fcntl.h>
#include <fmt/core.h>
#include <stdexcept>
#include <sys/mman.h>
#include <unistd.h>

namespace dmb::test {
namespace {

ImageDesc describe(FourCC format, Extent size, const LocalOptions& options)
{
    ImageDesc desc = linear_layout(size, format).value();
    desc.colour = options.colour.value_or(default_colour(format));
    for (Plane& plane : desc.planes) {
        plane.offset += options.offset;
        if (options.stride) plane.stride = options.stride;
    }
    desc.memories[0].size += options.offset;
    if (options.gbm_node) desc.backend = Backend::gbm;
    desc.device.render_node = options.gbm_node;
    const std::size_t last_index = desc.planes.size() - 1;
    const Plane& last = desc.planes[last_index];
    const std::uint64_t end =
        last.offset + std::uint64_t{last.stride} * plane_extent(*find_format(format), last_index, size).height;
    if (options.exact || end > desc.memories[0].size) desc.memories[0].size = end;
    return desc;
}

void fill_info(dmabroker_image& image, const ImageDesc& desc)
{
    image.info.struct_size = sizeof image.info;
    image.info.format = desc.format.value;
    image.info.width = desc.size.width;
    image.info.height = desc.size.height;
    image.info.colour = dmabroker::info_from_json(wire::to_json(desc)).colour;
}

} // namespace

LocalImage::LocalImage(FourCC format, Extent size, LocalOptions options) : desc_(describe(format, size, options))
{
    size_ = desc_.memories[0].size - options.cut;
    UniqueFd fd = UniqueFd::adopt(::memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(size_)) != 0) throw std::runtime_error("memfd");
    if (!(options.seals & F_SEAL_WRITE)) { // the kernel does not seal writing while somebody could
        void* mapped = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
        if (mapped == MAP_FAILED) throw std::runtime_error("mmap");
        mapping_ = static_cast<std::uint8_t*>(mapped);
    }
    ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | static_cast<int>(options.seals) | F_SEAL_SEAL);
    if (options.read_only)
        fd = UniqueFd::adopt(::open(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), O_RDONLY | O_CLOEXEC));
    ImageFds fds;
    fds.push_back(std::move(fd));
    image_.reset(new dmabroker_image{
        .image = Image::adopt(desc_, std::move(fds)).value(), .rights = options.rights, .protection = options.protection});
    fill_info(*image_, desc_);
}

LocalImage::~LocalImage()
{
    if (mapping_) ::munmap(mapping_, size_);
}

template <class Copy> void LocalImage::each_row(const Copy& copy) const
{
    const auto shapes = matrix::shapes(desc_.format, desc_.size);
    for (std::size_t p = 0; p < shapes.size(); ++p)
        for (std::uint32_t y = 0; y < shapes[p].texels.height; ++y)
            copy(p, std::size_t{y} * shapes[p].row(),
                 mapping_ + desc_.planes[p].offset + std::size_t{y} * desc_.planes[p].stride, shapes[p].row());
}

void LocalImage::write(const matrix::Pixels& pixels)
{
    each_row(
        [&](std::size_t p, std::size_t at, std::uint8_t* row, std::size_t n) { std::memcpy(row, &pixels.planes[p][at], n); });
}

matrix::Pixels LocalImage::read() const
{
    matrix::Pixels out{desc_.format, desc_.size, {}};
    for (const auto& shape : matrix::shapes(desc_.format, desc_.size))
        out.planes.emplace_back(std::size_t{shape.row()} * shape.texels.height);
    each_row([&](std::size_t p, std::size_t at, std::uint8_t* row, std::size_t n) { std::memcpy(&out.planes[p][at], row, n); });
    return out;
}

} // namespace dmb::test
