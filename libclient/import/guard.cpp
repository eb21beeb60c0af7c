// SPDX-License-Identifier: MIT
// Each rule is here because a driver was seen crashing or reading elsewhere without it (Mesa 25.0):
// software drivers map the descriptor and walk it in blocks of 4x4 pixels with 16-byte loads, without
// looking at its size or access mode, so they end in SIGBUS or SIGSEGV inside Mesa. A description from
// JSON may claim anything about descriptors that no broker checked, so they are identified here, again.
// What was identified stays so: its seals keep anybody from changing it while the driver uses it.
#include "libclient/import/guard.hpp"

#include "proto/base/checked.hpp"
#include "proto/image/fd_identity.hpp"
#include "proto/image/format_table.hpp"

#include <dmabroker/import.h>
#include <filesystem>
#include <limits>
#include <sys/sysmacros.h>

namespace dmb::import {
namespace {

constexpr std::uint32_t known_flags = DMABROKER_IMPORT_WHOLE | DMABROKER_IMPORT_PER_PLANE | DMABROKER_IMPORT_WRITE;
constexpr std::uint64_t largest_offset = std::numeric_limits<std::int32_t>::max();
constexpr std::uint32_t software_alignment = 16; ///< bytes of one vector load
constexpr std::uint32_t software_block = 4;      ///< pixels, both directions

Result<> check_descriptor(const dmabroker_image& image, std::size_t memory, const Driver& driver)
{
    const ImageDesc& desc = image.image.desc();
    if (image.protection == Protection::read_only_descriptor)
        return fail(Errc::import_refused,
                    "the descriptor is read-only and {} drivers crash on that; open the token with usage sample or render",
                    driver.api);
    const FdIdentity found = identify(image.image.fd(memory));
    if (found.type == FdType::other) return fail(Errc::import_refused, "memory {}: {}", memory, found.problem.view());
    if (!found.writable)
        return fail(Errc::import_refused, "memory {}: opened read-only, {} drivers crash on that; export it with O_RDWR",
                    memory, driver.api);
    if (found.type == FdType::sealed_memfd && !driver.software)
        return fail(Errc::import_refused,
                    "memory {} is a memfd and this {} driver is not a software one; map it with the CPU or ask for a dma_buf",
                    memory, driver.api);
    if (found.size < desc.memories[memory].size)
        return fail(Errc::import_refused, "memory {} has {} bytes, its description says {}; the driver would read past its end",
                    memory, found.size, desc.memories[memory].size);
    return {};
}

/// offset, stride: EGL takes both as EGLint.
Result<> check_range(const Plane& plane, std::size_t index)
{
    if (plane.offset > largest_offset || plane.stride > largest_offset)
        return fail(Errc::import_refused, "plane {}: offset {} or stride {} is above 2147483647, drivers take them as negative",
                    index, plane.offset, plane.stride);
    return {};
}

/// Where a software driver reaches. It draws whole blocks: rows beyond the last are read and written back.
Result<> check_software_plane(const ImageDesc& desc, const FormatInfo& format, std::size_t index, bool write)
{
    const Plane& plane = desc.planes[index];
    if (plane.stride % software_alignment != 0)
        return fail(Errc::import_refused,
                    "plane {}: stride {} is not a multiple of {} bytes, software drivers crash on that; use a multiple of 64",
                    index, plane.stride, software_alignment);
    if (plane.offset % software_alignment != 0)
        return fail(Errc::import_refused, "plane {}: offset {} is not a multiple of {} bytes, software drivers crash on that",
                    index, plane.offset, software_alignment);
    const std::uint32_t height = plane_extent(format, index, desc.size).height;
    const std::uint64_t rows = write ? align_up(height, software_block).value() : height;
    const std::uint64_t held = desc.memories[plane.memory].size;
    if ((Checked(plane.offset) + Checked(plane.stride) * rows).fits_in(held)) return {};
    return fail(Errc::import_refused,
                "plane {}: a software driver walks {} rows of {} bytes from {}, past the {} bytes of memory {}; pad the rows",
                index, rows, plane.stride, plane.offset, held, plane.memory);
}

/// Blocks at the right edge must not reach into the next row when they are drawn.
Result<> check_software_row(const ImageDesc& desc, const FormatInfo& format, std::size_t index)
{
    const std::uint64_t width = plane_extent(format, index, desc.size).width;
    const PlaneFormat& plane = format.planes[index];
    const std::uint64_t needed = align_up(width, software_block).value() / plane.block_width * plane.bytes_per_block;
    if (desc.planes[index].stride >= needed) return {};
    return fail(Errc::import_refused, "plane {}: a software driver draws rows of {} bytes, the stride is {}; pad the rows",
                index, needed, desc.planes[index].stride);
}

/// A software driver sees what the CPU sees: another device's memory may be tiled, or stale there.
Result<> check_cpu_view(const ImageDesc& desc)
{
    if (desc.modifier != modifier_linear && desc.modifier != modifier_invalid)
        return fail(Errc::import_refused, "modifier {} is a tiling of some GPU, a software driver reads it as rows",
                    to_string(desc.modifier));
    if (desc.backend == Backend::gbm && !desc.usage.has_any(usage_cpu))
        return fail(Errc::import_refused,
                    "allocated by gbm without cpu usage: a software driver may see stale pixels; allocate with "
                    "cpu_read or import it on its own device");
    if (desc.backend != Backend::gbm && desc.modifier == modifier_invalid)
        return fail(Errc::import_refused, "modifier INVALID: only the allocating driver knows this layout");
    return {};
}

/// A device has a primary and a render node: both lie below one device in sysfs.
bool is_same_drm_device(std::uint64_t one, std::uint64_t other)
{
    if (one == 0 || other == 0 || one == other) return one == other && one != 0;
    const auto device = [](std::uint64_t node) {
        std::error_code error;
        return std::filesystem::canonical(fmt::format("/sys/dev/char/{}:{}/device", major(node), minor(node)), error);
    };
    const auto path = device(one);
    return !path.empty() && path == device(other);
}

/// The kernel maps no buffer that a device imported (drm_gem_dumb_map_offset). Mesa's kms_swrast takes it
/// all the same where the device does, as vgem, and then draws at address 0.
Result<> check_mapping_device(const ImageDesc& desc, const Driver& driver)
{
    if (!driver.mapping_device) return {};
    if (*driver.mapping_device == 0)
        return fail(Errc::import_refused,
                    "this {} display draws in software on a device that it does not name; state its DRM node, "
                    "because it crashes on the memory of others",
                    driver.api);
    if (desc.backend == Backend::gbm && is_same_drm_device(desc.device.render_node, *driver.mapping_device)) return {};
    return fail(Errc::import_refused,
                "this {} driver draws in software and crashes on memory that its own device did not allocate; "
                "use the EGL device that lists EGL_MESA_device_software",
                driver.api);
}

Result<> check_software_layout(const ImageDesc& desc, bool write)
{
    const FormatInfo& format = *find_format(desc.format);
    for (std::size_t i = 0; i < desc.planes.size(); ++i) {
        TRY(check_software_plane(desc, format, i, write));
        if (write) TRY(check_software_row(desc, format, i));
    }
    return {};
}

/// Mesa halves the width of packed 4:2:2 and rounds down: the last pixel loses its chroma, and all
/// others are sampled beside theirs.
Result<> check_packed_chroma(const ImageDesc& desc)
{
    const FormatInfo& format = *find_format(desc.format);
    if (desc.size.width % format.planes[0].block_width == 0) return {};
    return fail(Errc::import_refused, "{} holds its pixels in pairs and drivers drop the odd one of {}; use an even width",
                format.name, desc.size.width);
}

Result<> check_write(const dmabroker_image& image, std::uint32_t flags)
{
    if ((flags & DMABROKER_IMPORT_WRITE) && !image.rights.has(Right::write))
        return fail(Errc::denied, "the image was opened without the write right; open it with a token that has it");
    return {};
}

} // namespace

Result<> check_picture(const dmabroker_image& image, std::uint32_t flags)
{
    if (image.image.desc().is_buffer())
        return fail(Errc::import_refused, "this is a buffer, not a picture; import it with dmabroker_vulkan_import_buffer, "
                                          "dmabroker_gl_import_buffer, dmabroker_cuda_import_buffer or dmabroker_cpu_map");
    constexpr std::uint32_t both = DMABROKER_IMPORT_WHOLE | DMABROKER_IMPORT_PER_PLANE;
    if (flags & ~known_flags) return fail(Errc::invalid_argument, "import flags {:#x} are unknown", flags & ~known_flags);
    if ((flags & both) == both)
        return fail(Errc::invalid_argument, "WHOLE and PER_PLANE exclude each other; pass neither to get what works");
    return check_write(image, flags);
}

Result<> check_whole_picture(const dmabroker_image& image, std::uint32_t flags)
{
    TRY(check_picture(image, flags));
    if (flags & ~std::uint32_t{DMABROKER_IMPORT_WRITE})
        return fail(Errc::invalid_argument, "opaque memory is imported with no flags but IMPORT_WRITE");
    return {};
}

Result<> check_buffer(const dmabroker_image& image, std::uint32_t flags)
{
    if (!image.image.desc().is_buffer())
        return fail(Errc::import_refused, "{} is a picture, not a buffer; import it as an image",
                    to_string(image.image.desc().format));
    if (flags & ~std::uint32_t{DMABROKER_IMPORT_WRITE})
        return fail(Errc::invalid_argument, "buffers are imported with no flags but IMPORT_WRITE");
    return check_write(image, flags);
}

Result<> check_for_driver(const dmabroker_image& image, const Driver& driver, bool write)
{
    const ImageDesc& desc = image.image.desc();
    TRY(check_mapping_device(desc, driver));
    for (std::size_t i = 0; i < desc.memories.size(); ++i) TRY(check_descriptor(image, i, driver));
    for (std::size_t i = 0; i < desc.planes.size(); ++i) TRY(check_range(desc.planes[i], i));
    if (driver.software && !driver.mapping_device) TRY(check_cpu_view(desc));
    if (desc.is_buffer()) return {}; // the rest is about rows of pixels
    TRY(check_packed_chroma(desc));
    if (driver.software) TRY(check_software_layout(desc, write));
    return {};
}

Result<> check_same_device(const dmabroker_image& image, std::string_view api, const Uuid& device, const Uuid& driver)
{
    const DeviceId& owner = image.image.desc().device;
    if (owner.driver_uuid != driver)
        return fail(Errc::import_refused, "allocated by driver {}, this {} driver is {}; opaque memory needs the same driver",
                    to_string(owner.driver_uuid), api, to_string(driver));
    if (owner.device_uuid != device)
        return fail(Errc::import_refused,
                    "allocated on device {}, this {} device is {}; opaque memory must come from this one: allocate with its "
                    "UUID as device",
                    to_string(owner.device_uuid), api, to_string(device));
    return {};
}

} // namespace dmb::import
