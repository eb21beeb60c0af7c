// SPDX-License-Identifier: MIT
// Opaque Vulkan memory in CUDA's driver API: cuImportExternalMemory, then an array or an address over all of it. Structures
// and numbers are written from that API's documentation ("External Resource Interoperability"), with its names in comments,
// so that no CUDA is needed to build this; only members used here have a name of their own. Which device and context is
// meant is CUDA's own business: the current one.
#include "libclient/arguments.hpp"
#include "libclient/error.hpp"
#include "libclient/import/guard.hpp"
#include "libclient/import/proc.hpp"
#include "proto/image/format_table.hpp"

#include <dmabroker/cuda.h>
#include <type_traits>

namespace dmb::import {
namespace {

constexpr unsigned opaque_fd = 1;                              // CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD
constexpr unsigned dedicated = 1;                              // CUDA_EXTERNAL_MEMORY_DEDICATED
constexpr unsigned of_u8 = 1, of_u16 = 2, of_half = 16;        // CU_AD_FORMAT_UNSIGNED_INT8, _UNSIGNED_INT16, _HALF
constexpr unsigned colour_target = 32, storable = 2;           // CUDA_ARRAY3D_COLOR_ATTACHMENT, CUDA_ARRAY3D_SURFACE_LDST
constexpr unsigned vk_usage_storage = 8, vk_usage_colour = 16; // VK_IMAGE_USAGE_STORAGE_BIT, _COLOR_ATTACHMENT_BIT

/// CUDA_EXTERNAL_MEMORY_HANDLE_DESC.
struct MemoryHandle {
    unsigned type = opaque_fd;
    union {
        int fd;
        void* win32[2];
    } handle{};
    unsigned long long size = 0;
    unsigned flags = 0;
    unsigned reserved[16]{};
};

/// CUDA_ARRAY3D_DESCRIPTOR.
struct ArrayShape {
    std::size_t width, height, depth;
    unsigned format, channels, flags;
};

/// CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC.
struct ArrayInMemory {
    unsigned long long offset = 0;
    ArrayShape shape{};
    unsigned levels = 1;
    unsigned reserved[16]{};
};

/// CUDA_EXTERNAL_MEMORY_BUFFER_DESC.
struct BufferInMemory {
    unsigned long long offset = 0, size = 0;
    unsigned flags = 0;
    unsigned reserved[16]{};
};

struct Cuda {
    int (*current_device)(int*);
    int (*device_uuid)(std::uint8_t*, int);
    int (*error_name)(int, const char**);
    int (*import_memory)(void**, const MemoryHandle*);
    int (*destroy_memory)(void*);
    int (*map_array)(void**, void*, const ArrayInMemory*);
    int (*destroy_levels)(void*);
    int (*get_level)(void**, void*, unsigned);
    int (*map_buffer)(unsigned long long*, void*, const BufferInMemory*);
    int (*free)(unsigned long long);

    Result<> check(int result, std::string_view call) const
    {
        const char* name = nullptr;
        if (result == 0) return {};
        if (error_name(result, &name) != 0 || !name || !is_printable(name)) name = "an error of CUDA";
        return fail(Errc::import_failed, "{}: {}, {}", call, name, result);
    }
};

Result<Cuda> load_cuda(dmabroker_get_proc get)
{
    TRY(require(reinterpret_cast<const void*>(get), "get_proc"));
    Cuda c{};
    const bool found = load(get, "cuCtxGetDevice", c.current_device) && load(get, "cuDeviceGetUuid", c.device_uuid) &&
                       load(get, "cuGetErrorName", c.error_name) && load(get, "cuImportExternalMemory", c.import_memory) &&
                       load(get, "cuDestroyExternalMemory", c.destroy_memory) &&
                       load(get, "cuExternalMemoryGetMappedMipmappedArray", c.map_array) &&
                       load(get, "cuMipmappedArrayDestroy", c.destroy_levels) &&
                       load(get, "cuMipmappedArrayGetLevel", c.get_level) &&
                       load(get, "cuExternalMemoryGetMappedBuffer", c.map_buffer) && load(get, "cuMemFree_v2", c.free);
    if (!found) return fail(Errc::import_refused, "get_proc does not know the functions of CUDA 10's driver API; pass dlsym's");
    return c;
}

/// CUDA has no UUID for its driver; those of its devices are those of NVIDIA's Vulkan driver, and of no other.
Result<> check_device(const dmabroker_image& image, const Cuda& cuda)
{
    const DeviceId& owner = image.image.desc().device;
    int device = 0;
    Uuid own{};
    TRY(cuda.check(cuda.current_device(&device), "cuCtxGetDevice (is a context current?)"));
    TRY(cuda.check(cuda.device_uuid(own.data(), device), "cuDeviceGetUuid"));
    return check_same_device(image, "CUDA", own, owner.driver_uuid);
}

/// CUDA owns the duplicated descriptor once it succeeded. The driver also closes some that it refuses.
Result<> import_memory(const dmabroker_image& image, const Cuda& cuda, void*& memory)
{
    const ImageDesc& desc = image.image.desc();
    UniqueFd fd = TRY(duplicate(image.image.fd(0)));
    MemoryHandle handle;
    handle.handle.fd = fd.get();
    handle.size = desc.memories[0].size;
    handle.flags = desc.opaque.dedicated ? dedicated : 0;
    const int result = cuda.import_memory(&memory, &handle);
    if (result == 0 || ::fcntl(fd.get(), F_GETFD) < 0) [[maybe_unused]]
        const int not_ours = fd.release();
    return cuda.check(result, "cuImportExternalMemory");
}

/// How Vulkan may use the image decides how the driver lays it out.
unsigned array_flags(std::uint32_t vk_usage)
{
    return (vk_usage & vk_usage_colour ? colour_target : 0) | (vk_usage & vk_usage_storage ? storable : 0);
}

Result<ArrayShape> shape_of(const ImageDesc& desc)
{
    const FormatInfo& format = *find_format(desc.format);
    const unsigned bytes = format.bits / 8u, channels = bytes ? format.planes[0].bytes_per_block / bytes : 0;
    const bool fits =
        format.model == ColourModel::rgb && format.bits % 8 == 0 && (channels == 1 || channels == 2 || channels == 4);
    if (!fits) return fail(Errc::import_refused, "CUDA has no array with the bits of {}", format.name);
    if (!desc.opaque.optimal_tiling)
        return fail(Errc::import_refused,
                    "this image is linear with a stride that only Vulkan knows; allocate it without LINEAR");
    const unsigned each = bytes == 1 ? of_u8 : format.sample == SampleType::sfloat ? of_half : of_u16;
    return ArrayShape{desc.size.width, desc.size.height, 0, each, channels, array_flags(desc.opaque.vk_usage)};
}

Result<> check_kind(const dmabroker_image& image)
{
    const MemoryKind kind = image.image.desc().kind;
    if (kind == MemoryKind::opaque) return {};
    return fail(Errc::import_refused, "CUDA imports no {} memory; allocate with DMABROKER_BACKEND_VULKAN_OPAQUE", name(kind));
}

void destroy(const Cuda& cuda, dmabroker_cuda_array& array)
{
    if (array.levels) cuda.destroy_levels(array.levels);
    if (array.memory) cuda.destroy_memory(array.memory);
    array = {};
}

void destroy(const Cuda& cuda, dmabroker_cuda_buffer& buffer)
{
    if (buffer.address) cuda.free(buffer.address);
    if (buffer.memory) cuda.destroy_memory(buffer.memory);
    buffer = {};
}

Result<> fill(const dmabroker_image& image, const Cuda& cuda, dmabroker_cuda_array& out)
{
    ArrayInMemory array;
    array.shape = TRY(shape_of(image.image.desc()));
    TRY(import_memory(image, cuda, out.memory));
    TRY(cuda.check(cuda.map_array(&out.levels, out.memory, &array), "cuExternalMemoryGetMappedMipmappedArray"));
    return cuda.check(cuda.get_level(&out.array, out.levels, 0), "cuMipmappedArrayGetLevel");
}

Result<> fill(const dmabroker_image& image, const Cuda& cuda, dmabroker_cuda_buffer& out)
{
    BufferInMemory buffer;
    unsigned long long address = 0;
    buffer.size = out.size = image.image.desc().size.width;
    TRY(import_memory(image, cuda, out.memory));
    TRY(cuda.check(cuda.map_buffer(&address, out.memory, &buffer), "cuExternalMemoryGetMappedBuffer"));
    out.address = address;
    return {};
}

template <class Made> Result<> import_cuda(const dmabroker_image* image, dmabroker_get_proc get, std::uint32_t flags, Made* out)
{
    return fill_struct(out, [&](Made& made) -> Result<> {
        TRY(require(image, "image"));
        if constexpr (std::is_same_v<Made, dmabroker_cuda_buffer>) TRY(check_buffer(*image, flags));
        else TRY(check_whole_picture(*image, flags));
        TRY(check_kind(*image));
        const Cuda cuda = TRY(load_cuda(get));
        TRY(check_device(*image, cuda));
        const Result<> done = fill(*image, cuda, made);
        if (!done) destroy(cuda, made);
        return done;
    });
}

template <class Made> Result<> release_cuda(dmabroker_get_proc get, Made* given)
{
    Made made = TRY(read_struct(given));
    destroy(TRY(load_cuda(get)), made);
    return write_struct(made, given);
}

} // namespace
} // namespace dmb::import

extern "C" {

DMABROKER_API int dmabroker_cuda_import(const dmabroker_image* image, dmabroker_get_proc get_proc, uint32_t flags,
                                        dmabroker_cuda_array* array, dmabroker_error* error)
{
    return dmb::guard(error, [&] { return dmb::import::import_cuda(image, get_proc, flags, array); });
}

DMABROKER_API void dmabroker_cuda_release(dmabroker_get_proc get_proc, dmabroker_cuda_array* array)
{
    dmb::guard(nullptr, [&] { return dmb::import::release_cuda(get_proc, array); });
}

DMABROKER_API int dmabroker_cuda_import_buffer(const dmabroker_image* image, dmabroker_get_proc get_proc, uint32_t flags,
                                               dmabroker_cuda_buffer* buffer, dmabroker_error* error)
{
    return dmb::guard(error, [&] { return dmb::import::import_cuda(image, get_proc, flags, buffer); });
}

DMABROKER_API void dmabroker_cuda_release_buffer(dmabroker_get_proc get_proc, dmabroker_cuda_buffer* buffer)
{
    dmb::guard(nullptr, [&] { return dmb::import::release_cuda(get_proc, buffer); });
}
}
