// SPDX-License-Identifier: MIT
// Structures and numbers below are written from the CUDA driver API's documentation ("External Resource
// Interoperability", "Memory Management"), with its names in comments; only fields used here have a name of their own.
// Importing takes over the descriptor on success. All work is queued on the default stream, which waits in order.
#include "tests/drm/opaque_paths/cuda.hpp"

#include "tests/drm/opaque_paths/link.hpp"

#include <array>
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>
#include <vulkan/vulkan_core.h>

namespace dmb::paths {
namespace {

constexpr int cuda_success = 0;               // CUDA_SUCCESS
constexpr int cuda_not_ready = 600;           // CUDA_ERROR_NOT_READY
constexpr int cuda_not_supported = 801;       // CUDA_ERROR_NOT_SUPPORTED
constexpr unsigned opaque_fd = 1;             // CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD, and of semaphores
constexpr unsigned dedicated = 1;             // CUDA_EXTERNAL_MEMORY_DEDICATED
constexpr unsigned format_u8 = 1;             // CU_AD_FORMAT_UNSIGNED_INT8
constexpr unsigned color_target = 32;         // CUDA_ARRAY3D_COLOR_ATTACHMENT
constexpr unsigned storable = 2;              // CUDA_ARRAY3D_SURFACE_LDST
constexpr unsigned on_host = 1, in_array = 3; // CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_ARRAY
constexpr unsigned dma_buf_fd = 1;            // CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD

/// CUDA_EXTERNAL_MEMORY_HANDLE_DESC.
struct MemoryHandle {
    unsigned type;
    union {
        int fd;
        void* win32[2];
    } handle;
    unsigned long long size;
    unsigned flags;
    unsigned reserved[16];
};

/// CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC.
struct SemaphoreHandle {
    unsigned type;
    union {
        int fd;
        void* win32[2];
    } handle;
    unsigned flags;
    unsigned reserved[16];
};

/// CUDA_EXTERNAL_SEMAPHORE_WAIT_PARAMS and _SIGNAL_PARAMS: nothing in them is for a binary semaphore, so zeros of
/// their size or more are right for both.
struct NoParameters {
    unsigned long long zeros[32];
};

/// CUDA_ARRAY3D_DESCRIPTOR.
struct ArrayShape {
    std::size_t width, height, depth;
    unsigned format, channels, flags;
};

/// CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC.
struct ArrayInMemory {
    unsigned long long offset;
    ArrayShape shape;
    unsigned levels;
    unsigned reserved[16];
};

/// CUDA_EXTERNAL_MEMORY_BUFFER_DESC.
struct BufferInMemory {
    unsigned long long offset, size;
    unsigned flags;
    unsigned reserved[16];
};

/// One half of CUDA_MEMCPY2D.
struct CopyEnd {
    std::size_t x, y;
    unsigned type;
    void* host;
    unsigned long long device;
    void* array;
    std::size_t pitch;
};

/// CUDA_MEMCPY2D.
struct Copy {
    CopyEnd from, to;
    std::size_t row_bytes, rows;
};

} // namespace

struct CudaFunctions {
    int (*init)(unsigned);
    int (*error_name)(int, const char**);
    int (*device_count)(int*);
    int (*device_uuid)(std::uint8_t*, int);
    int (*retain_context)(void**, int);
    int (*set_current)(void*);
    int (*synchronize)();
    int (*stream_query)(void*);
    int (*import_memory)(void**, const MemoryHandle*);
    int (*destroy_memory)(void*);
    int (*map_array)(void**, void*, const ArrayInMemory*);
    int (*map_buffer)(unsigned long long*, void*, const BufferInMemory*);
    int (*destroy_mipmaps)(void*);
    int (*get_level)(void**, void*, unsigned);
    int (*copy)(const Copy*);
    int (*import_semaphore)(void**, const SemaphoreHandle*);
    int (*destroy_semaphore)(void*);
    int (*wait_semaphores)(void* const*, const NoParameters*, unsigned, void*);
    int (*signal_semaphores)(void* const*, const NoParameters*, unsigned, void*);
    int (*allocate)(unsigned long long*, std::size_t);
    int (*free)(unsigned long long);
    int (*copy_to_device)(unsigned long long, const void*, std::size_t);
    int (*copy_to_host)(void*, unsigned long long, std::size_t);
    int (*export_range)(void*, unsigned long long, std::size_t, unsigned, unsigned long long);
};

namespace {

template <class F> void find(void* library, const char* name, F& function)
{
    function = reinterpret_cast<F>(::dlsym(library, name));
    if (!function) throw Skip(std::string("libcuda.so.1 lacks ") + name);
}

/// libcuda is never closed, as other drivers.
std::shared_ptr<const CudaFunctions> load()
{
    void* library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) throw Skip("there is no libcuda.so.1");
    CudaFunctions f{};
    find(library, "cuInit", f.init);
    find(library, "cuGetErrorName", f.error_name);
    find(library, "cuDeviceGetCount", f.device_count);
    find(library, "cuDeviceGetUuid", f.device_uuid);
    find(library, "cuDevicePrimaryCtxRetain", f.retain_context);
    find(library, "cuCtxSetCurrent", f.set_current);
    find(library, "cuCtxSynchronize", f.synchronize);
    find(library, "cuStreamQuery", f.stream_query);
    find(library, "cuImportExternalMemory", f.import_memory);
    find(library, "cuDestroyExternalMemory", f.destroy_memory);
    find(library, "cuExternalMemoryGetMappedMipmappedArray", f.map_array);
    find(library, "cuExternalMemoryGetMappedBuffer", f.map_buffer);
    find(library, "cuMipmappedArrayDestroy", f.destroy_mipmaps);
    find(library, "cuMipmappedArrayGetLevel", f.get_level);
    find(library, "cuMemcpy2D_v2", f.copy);
    find(library, "cuImportExternalSemaphore", f.import_semaphore);
    find(library, "cuDestroyExternalSemaphore", f.destroy_semaphore);
    find(library, "cuWaitExternalSemaphoresAsync", f.wait_semaphores);
    find(library, "cuSignalExternalSemaphoresAsync", f.signal_semaphores);
    find(library, "cuMemAlloc_v2", f.allocate);
    find(library, "cuMemFree_v2", f.free);
    find(library, "cuMemcpyHtoD_v2", f.copy_to_device);
    find(library, "cuMemcpyDtoH_v2", f.copy_to_host);
    find(library, "cuMemGetHandleForAddressRange", f.export_range);
    return std::make_shared<CudaFunctions>(f);
}

Uuid uuid_of(const Cuda& cuda, int device)
{
    Uuid out{};
    cuda.check(cuda.api().device_uuid(out.data(), device), "cuDeviceGetUuid");
    return out;
}

/// What Vulkan may do with the image decides how the driver lays it out.
unsigned array_flags(std::uint32_t vk_usage)
{
    return (vk_usage & VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT ? color_target : 0) |
           (vk_usage & VK_IMAGE_USAGE_STORAGE_BIT ? storable : 0);
}

CopyEnd host_end(const void* pixels, std::size_t pitch)
{
    return {.x = 0, .y = 0, .type = on_host, .host = const_cast<void*>(pixels), .device = 0, .array = nullptr, .pitch = pitch};
}

CopyEnd array_end(void* array)
{
    return {.x = 0, .y = 0, .type = in_array, .host = nullptr, .device = 0, .array = array, .pitch = 0};
}

} // namespace

// --- the device ------------------------------------------------------------------------------

void Cuda::check(int result, const char* call) const
{
    if (result == cuda_success) return;
    const char* name = nullptr;
    api_->error_name(result, &name);
    throw std::runtime_error(std::string(call) + ": " + (name ? name : "error " + std::to_string(result)));
}

void Cuda::synchronize() const { check(api_->synchronize(), "cuCtxSynchronize"); }

void Cuda::make_current(int device) const
{
    void* context = nullptr;
    check(api_->retain_context(&context, device), "cuDevicePrimaryCtxRetain");
    check(api_->set_current(context), "cuCtxSetCurrent");
}

/// Without a device, or with a driver for another kernel module, there is no CUDA here.
Cuda Cuda::open()
{
    Cuda cuda(load());
    try {
        cuda.check(cuda.api_->init(0), "cuInit");
    } catch (const std::exception& e) {
        throw Skip(e.what());
    }
    return cuda;
}

Cuda Cuda::first()
{
    Cuda cuda = open();
    cuda.make_current(0);
    return cuda;
}

Cuda Cuda::with_uuid(const Uuid& wanted)
{
    Cuda cuda = open();
    int count = 0;
    cuda.check(cuda.api_->device_count(&count), "cuDeviceGetCount");
    std::string seen;
    for (int i = 0; i < count; ++i) { // a CUdevice is its index
        const Uuid uuid = uuid_of(cuda, i);
        seen.append(1, ' ').append(to_string(uuid));
        if (uuid != wanted) continue;
        cuda.make_current(i);
        return cuda;
    }
    throw Skip("the image is on device " + to_string(wanted) + ", CUDA has" + (seen.empty() ? " none" : seen));
}

// --- memory of Vulkan ------------------------------------------------------------------------

CudaExternalMemory::CudaExternalMemory(const Cuda& cuda, const dmabroker_image_info& info, UniqueFd memory) : cuda_(cuda)
{
    MemoryHandle handle{};
    handle.type = opaque_fd;
    handle.handle.fd = memory.release();
    handle.size = info.memory_size[0];
    handle.flags = info.dedicated ? dedicated : 0;
    const int imported = cuda.api().import_memory(&memory_, &handle);
    // Meant to take it over on success only, but the driver also closes some that it refuses.
    if (imported != 0 && ::fcntl(handle.handle.fd, F_GETFD) >= 0) ::close(handle.handle.fd);
    cuda.check(imported, "cuImportExternalMemory");
}

CudaExternalMemory::~CudaExternalMemory() { cuda_.api().destroy_memory(memory_); }

CudaMappedBuffer::CudaMappedBuffer(const Cuda& cuda, const dmabroker_image_info& info, UniqueFd memory)
    : cuda_(cuda), size_(info.width), memory_(cuda, info, std::move(memory))
{
    BufferInMemory buffer{};
    buffer.size = size_;
    cuda.check(cuda.api().map_buffer(&address_, memory_.handle(), &buffer), "cuExternalMemoryGetMappedBuffer");
}

CudaMappedBuffer::~CudaMappedBuffer() { cuda_.api().free(address_); }

std::vector<std::uint8_t> CudaMappedBuffer::read() const
{
    std::vector<std::uint8_t> out(size_);
    cuda_.check(cuda_.api().copy_to_host(out.data(), address_, size_), "cuMemcpyDtoH");
    return out;
}

void CudaMappedBuffer::write(const std::vector<std::uint8_t>& bytes) const
{
    cuda_.check(cuda_.api().copy_to_device(address_, bytes.data(), bytes.size()), "cuMemcpyHtoD");
    cuda_.synchronize();
}

// --- an image --------------------------------------------------------------------------------

CudaImage::CudaImage(const Cuda& cuda, const dmabroker_image_info& info, UniqueFd memory)
    : cuda_(cuda), size_{info.width, info.height}, memory_(cuda, info, std::move(memory))
{
    if (!info.optimal_tiling) throw Skip("a linear opaque image has a stride that only Vulkan knows");
    map(info);
}

void CudaImage::map(const dmabroker_image_info& info)
{
    ArrayInMemory array{};
    array.shape = {info.width, info.height, 0, format_u8, 4, array_flags(info.vk_usage)};
    array.levels = 1;
    cuda_.check(cuda_.api().map_array(&mipmaps_, memory_.handle(), &array), "cuExternalMemoryGetMappedMipmappedArray");
    cuda_.check(cuda_.api().get_level(&array_, mipmaps_, 0), "cuMipmappedArrayGetLevel");
}

CudaImage::~CudaImage()
{
    if (mipmaps_) cuda_.api().destroy_mipmaps(mipmaps_);
}

std::vector<std::uint8_t> CudaImage::read() const
{
    const std::size_t pitch = std::size_t{size_.width} * 4;
    std::vector<std::uint8_t> out(pitch * size_.height);
    const Copy copy{array_end(array_), host_end(out.data(), pitch), pitch, size_.height};
    cuda_.check(cuda_.api().copy(&copy), "cuMemcpy2D");
    return out;
}

void CudaImage::write(const std::vector<std::uint8_t>& pixels) const
{
    const std::size_t pitch = std::size_t{size_.width} * 4;
    const Copy copy{host_end(pixels.data(), pitch), array_end(array_), pitch, size_.height};
    cuda_.check(cuda_.api().copy(&copy), "cuMemcpy2D");
}

// --- a semaphore -----------------------------------------------------------------------------

CudaSemaphore::CudaSemaphore(const Cuda& cuda, UniqueFd fd) : cuda_(cuda)
{
    SemaphoreHandle handle{};
    handle.type = opaque_fd;
    handle.handle.fd = fd.get();
    cuda.check(cuda.api().import_semaphore(&semaphore_, &handle), "cuImportExternalSemaphore");
    static_cast<void>(fd.release()); // CUDA's now
}

CudaSemaphore::~CudaSemaphore() { cuda_.api().destroy_semaphore(semaphore_); }

bool CudaSemaphore::wait() const
{
    const NoParameters none{};
    cuda_.check(cuda_.api().wait_semaphores(&semaphore_, &none, 1, nullptr), "cuWaitExternalSemaphoresAsync");
    return cuda_.api().stream_query(nullptr) == cuda_not_ready;
}

void CudaSemaphore::signal() const
{
    const NoParameters none{};
    cuda_.check(cuda_.api().signal_semaphores(&semaphore_, &none, 1, nullptr), "cuSignalExternalSemaphoresAsync");
}

// --- memory of CUDA --------------------------------------------------------------------------

CudaBuffer::CudaBuffer(const Cuda& cuda, std::size_t bytes) : cuda_(cuda), bytes_(bytes)
{
    cuda.check(cuda.api().allocate(&address_, bytes), "cuMemAlloc");
}

CudaBuffer::~CudaBuffer() { cuda_.api().free(address_); }

void CudaBuffer::write(const std::vector<std::uint8_t>& pixels) const
{
    cuda_.check(cuda_.api().copy_to_device(address_, pixels.data(), pixels.size()), "cuMemcpyHtoD");
    cuda_.synchronize();
}

UniqueFd CudaBuffer::export_dma_buf() const
{
    int fd = -1;
    const int result = cuda_.api().export_range(&fd, address_, bytes_, dma_buf_fd, 0);
    if (result == cuda_not_supported) throw Skip("CUDA exports no dma-bufs here (cuMemGetHandleForAddressRange)");
    cuda_.check(result, "cuMemGetHandleForAddressRange");
    return UniqueFd::adopt(fd);
}

} // namespace dmb::paths
