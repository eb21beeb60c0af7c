// SPDX-License-Identifier: MIT
// Structures and numbers below are written from the CUDA driver API's documentation ("External Resource
// Interoperability", "Memory Management"), with its names in comments; only fields used here have a name of their own.
// All work is queued on the default stream, which waits in order.
#include "tests/drm/opaque_paths/cuda.hpp"

#include "tests/drm/opaque_paths/link.hpp"

#include <array>
#include <dlfcn.h>

namespace dmb::paths {
namespace {

constexpr int cuda_success = 0;               // CUDA_SUCCESS
constexpr int cuda_not_ready = 600;           // CUDA_ERROR_NOT_READY
constexpr int cuda_not_supported = 801;       // CUDA_ERROR_NOT_SUPPORTED
constexpr unsigned opaque_fd = 1;             // CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD, and of semaphores
constexpr unsigned on_host = 1, in_array = 3; // CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_ARRAY
constexpr unsigned dma_buf_fd = 1;            // CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD

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

/// Never closed, as other drivers.
void* libcuda()
{
    static void* const library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    return library;
}

std::shared_ptr<const CudaFunctions> load()
{
    void* library = libcuda();
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

Uuid Cuda::uuid(int device) const
{
    Uuid out{};
    check(api_->device_uuid(out.data(), device), "cuDeviceGetUuid");
    return out;
}

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
        const Uuid uuid = cuda.uuid(i);
        seen.append(1, ' ').append(to_string(uuid));
        if (uuid != wanted) continue;
        cuda.make_current(i);
        return cuda;
    }
    throw Skip("the image is on device " + to_string(wanted) + ", CUDA has" + (seen.empty() ? " none" : seen));
}

// --- memory of Vulkan ------------------------------------------------------------------------

dmabroker_proc find_in_libcuda(const char* name) { return reinterpret_cast<dmabroker_proc>(::dlsym(libcuda(), name)); }

std::vector<std::uint8_t> CudaMappedBuffer::read() const
{
    std::vector<std::uint8_t> out(buffer_->size);
    cuda_.check(cuda_.api().copy_to_host(out.data(), buffer_->address, out.size()), "cuMemcpyDtoH");
    return out;
}

void CudaMappedBuffer::write(const std::vector<std::uint8_t>& bytes) const
{
    cuda_.check(cuda_.api().copy_to_device(buffer_->address, bytes.data(), bytes.size()), "cuMemcpyHtoD");
    cuda_.synchronize();
}

// --- an image --------------------------------------------------------------------------------

std::vector<std::uint8_t> CudaImage::read() const
{
    const std::size_t pitch = std::size_t{size_.width} * 4;
    std::vector<std::uint8_t> out(pitch * size_.height);
    const Copy copy{array_end(array_->array), host_end(out.data(), pitch), pitch, size_.height};
    cuda_.check(cuda_.api().copy(&copy), "cuMemcpy2D");
    return out;
}

void CudaImage::write(const std::vector<std::uint8_t>& pixels) const
{
    const std::size_t pitch = std::size_t{size_.width} * 4;
    const Copy copy{host_end(pixels.data(), pitch), array_end(array_->array), pitch, size_.height};
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
