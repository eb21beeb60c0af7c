// SPDX-License-Identifier: MIT
// Loaded before one of Mesa's drm-shims (package mesa-drm-shim), it adds what those leave out of the kernel: modifiers
// (DRM_CAP_ADDFB2_MODIFIERS) and PRIME. So Mesa's drivers of GPUs that are not here lay out, export and import what
// they would on that GPU. Nothing draws: the memory behind an export is not the memory of the buffer.
//
// An export is a real dma-buf where there is /dev/udmabuf, else a memfd of the same size.
#include <amdgpu_drm.h>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <dlfcn.h>
#include <drm.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <map>
#include <mutex>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace {

using Ioctl = int (*)(int, unsigned long, ...);
using Handle = std::pair<int, std::uint32_t>; ///< of one DRM descriptor

std::mutex mutex;
std::map<Handle, std::uint64_t> sizes;                   ///< bytes of each buffer
std::map<std::pair<int, ino_t>, std::uint32_t> imported; ///< a dma-buf has one handle for each descriptor

Ioctl shim()
{
    static const auto found = reinterpret_cast<Ioctl>(::dlsym(RTLD_NEXT, "ioctl"));
    return found;
}

std::uint64_t size_of(int drm, std::uint32_t handle)
{
    const std::lock_guard lock(mutex);
    const auto found = sizes.find({drm, handle});
    if (found != sizes.end()) return found->second;
    // The handle of a duplicate of the descriptor.
    for (const auto& [known, size] : sizes)
        if (known.second == handle) return size;
    return 0;
}

int create(int drm, std::uint64_t size, drm_amdgpu_gem_create& request)
{
    const int result = shim()(drm, DRM_IOCTL_AMDGPU_GEM_CREATE, &request);
    const std::lock_guard lock(mutex);
    if (result == 0) sizes[{drm, request.out.handle}] = size;
    return result;
}

/// Of a sealed memfd, or the memfd itself.
int dma_buf(int memory, std::uint64_t size)
{
    const int device = ::open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
    if (device < 0) return ::fcntl(memory, F_DUPFD_CLOEXEC, 3);
    udmabuf_create request{static_cast<std::uint32_t>(memory), UDMABUF_FLAGS_CLOEXEC, 0, size};
    const int made = shim()(device, UDMABUF_CREATE, &request);
    ::close(device);
    return made;
}

int export_handle(int drm, drm_prime_handle& request)
{
    const std::uint64_t page = 4096, size = (size_of(drm, request.handle) + page - 1) / page * page;
    if (size == 0) return errno = EINVAL, -1;
    const int memory = ::memfd_create("buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0) return -1;
    const bool made = ::ftruncate(memory, static_cast<off_t>(size)) == 0 && ::fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) == 0;
    request.fd = made ? dma_buf(memory, size) : -1;
    ::close(memory);
    return request.fd < 0 ? -1 : 0;
}

int import_fd(int drm, drm_prime_handle& request)
{
    struct stat status{};
    const off_t size = ::lseek(request.fd, 0, SEEK_END);
    if (size <= 0 || ::fstat(request.fd, &status) < 0) return errno = EINVAL, -1;
    {
        const std::lock_guard lock(mutex);
        const auto found = imported.find({drm, status.st_ino});
        if (found != imported.end()) return request.handle = found->second, 0;
    }
    union drm_amdgpu_gem_create buffer = {};
    buffer.in.bo_size = static_cast<std::uint64_t>(size);
    buffer.in.domains = AMDGPU_GEM_DOMAIN_VRAM;
    if (const int result = create(drm, static_cast<std::uint64_t>(size), buffer); result != 0) return result;
    const std::lock_guard lock(mutex);
    imported[{drm, status.st_ino}] = request.handle = buffer.out.handle;
    return 0;
}

int close_handle(int drm, drm_gem_close& request)
{
    {
        const std::lock_guard lock(mutex);
        sizes.erase({drm, request.handle});
        std::erase_if(imported, [&](const auto& one) { return one.first.first == drm && one.second == request.handle; });
    }
    return shim()(drm, DRM_IOCTL_GEM_CLOSE, &request);
}

bool answer_capability(drm_get_cap& request)
{
    if (request.capability == DRM_CAP_ADDFB2_MODIFIERS) request.value = 1;
    else if (request.capability == DRM_CAP_PRIME) request.value = DRM_PRIME_CAP_IMPORT | DRM_PRIME_CAP_EXPORT;
    else return false;
    return true;
}

} // namespace

extern "C" {

__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...) noexcept
{
    va_list list;
    va_start(list, request);
    void* const argument = va_arg(list, void*);
    va_end(list);
    switch (request) {
    case DRM_IOCTL_GET_CAP:
        if (answer_capability(*static_cast<drm_get_cap*>(argument))) return 0;
        break;
    case DRM_IOCTL_AMDGPU_GEM_CREATE: {
        auto& buffer = *static_cast<drm_amdgpu_gem_create*>(argument);
        return create(fd, buffer.in.bo_size, buffer);
    }
    case DRM_IOCTL_PRIME_HANDLE_TO_FD: return export_handle(fd, *static_cast<drm_prime_handle*>(argument));
    case DRM_IOCTL_PRIME_FD_TO_HANDLE: return import_fd(fd, *static_cast<drm_prime_handle*>(argument));
    case DRM_IOCTL_GEM_CLOSE: return close_handle(fd, *static_cast<drm_gem_close*>(argument));
    }
    errno = EINVAL; // the shim leaves it as it was, and libdrm goes on for ever at EINTR and EAGAIN
    return shim()(fd, request, argument);
}

/// The shim knows opendir only; libstdc++ opens first.
__attribute__((visibility("default"))) DIR* fdopendir(int fd)
{
    static const auto next = reinterpret_cast<DIR* (*)(int)>(::dlsym(RTLD_NEXT, "fdopendir"));
    char path[64], link[64];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t size = ::readlink(link, path, sizeof path);
    if (size != 8 || std::string_view(path, 8) != "/dev/dri") return next(fd);
    DIR* const found = ::opendir("/dev/dri");
    if (found) ::close(fd);
    return found;
}

/// The shim's crashes where it is to allocate the result.
__attribute__((visibility("default"))) char* realpath(const char* path, char* resolved) noexcept
{
    static const auto next = reinterpret_cast<char* (*)(const char*, char*)>(::dlsym(RTLD_NEXT, "realpath"));
    if (resolved) return next(path, resolved);
    char* const made = static_cast<char*>(std::malloc(PATH_MAX));
    char* const found = made ? next(path, made) : nullptr;
    if (!found) std::free(made);
    return found;
}
}
