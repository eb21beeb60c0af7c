// SPDX-License-Identifier: MIT
// What doctor tries without any driver: each check does what the broker would do, makes the memfd, makes the udmabuf,
// allocates from the heap, opens the node. What is missing is a warning where something else can do its work, and comes
// with its remedy. Nothing remains open or changed.
#include "tools/doctor/system_checks.hpp"

#include "proto/base/unique_fd.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <drm.h>
#include <fcntl.h>
#include <filesystem>
#include <fmt/core.h>
#include <grp.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace dmb::doctor {
namespace {

Finding ok(std::string area, std::string text) { return {.level = "ok", .area = std::move(area), .text = std::move(text)}; }
Finding warn(std::string area, std::string text, std::string remedy)
{
    return {.level = "warn", .area = std::move(area), .text = std::move(text), .remedy = std::move(remedy)};
}
Finding bad(std::string area, std::string text, std::string remedy)
{
    Finding finding = warn(std::move(area), std::move(text), std::move(remedy));
    finding.level = "fail";
    return finding;
}

/// How somebody gets to open a node: through the group that owns it.
std::string permission_remedy(const std::string& node)
{
    struct stat status{};
    const group* owner =
        ::stat(node.c_str(), &status) == 0 && (status.st_mode & 0060) == 0060 ? ::getgrgid(status.st_gid) : nullptr;
    if (!owner || status.st_gid == 0)
        return fmt::format("give a group access to {} with a udev rule, or let systemd start the broker as a user who has it",
                           node);
    return fmt::format("add yourself to the group \"{0}\" (sudo usermod -aG {0} $USER), then log in again", owner->gr_name);
}

Finding cannot_open(const std::string& area, const std::string& node, int error, const std::string& missing_remedy)
{
    if (error == EACCES || error == EPERM) return bad(area, node + ": permission denied", permission_remedy(node));
    return warn(area, fmt::format("{}: {}", node, std::strerror(error)), missing_remedy);
}

Finding check_kernel()
{
    utsname name{};
    ::uname(&name);
    int major = 0, minor = 0;
    std::sscanf(name.release, "%d.%d", &major, &minor);
    const std::string text = fmt::format("kernel {}", name.release);
    if (major < 6) return warn("kernel", text + ": too old to attach fences to dma-bufs", "install kernel 6.0 or newer");
    return ok("kernel", text);
}

UniqueFd sealed_memfd(std::size_t size)
{
    UniqueFd fd = UniqueFd::adopt(::memfd_create("dmabroker-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    const bool good = fd && ::ftruncate(fd.get(), static_cast<off_t>(size)) == 0 &&
                      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
    return good ? std::move(fd) : UniqueFd();
}

/// Written through one mapping, read through another.
bool remembers(int writer, int reader, std::size_t size)
{
    void* a = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, writer, 0);
    void* b = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, reader, 0);
    const bool mapped = a != MAP_FAILED && b != MAP_FAILED;
    if (mapped) std::strcpy(static_cast<char*>(a), "dmabroker");
    const bool same = mapped && std::strcmp(static_cast<char*>(b), "dmabroker") == 0;
    if (a != MAP_FAILED) ::munmap(a, size);
    if (b != MAP_FAILED) ::munmap(b, size);
    return same;
}

Finding check_memfd()
{
    const auto page = static_cast<std::size_t>(::getpagesize());
    const UniqueFd fd = sealed_memfd(page);
    if (!fd || !remembers(fd.get(), fd.get(), page))
        return bad("memfd", "sealed memfds do not work here",
                   "run on Linux 3.17 or newer, outside sandboxes that forbid memfd_create");
    Finding finding = ok("memfd", "sealed memfd: made, mapped and compared");
    finding.can_share = true;
    return finding;
}

Finding check_udmabuf()
{
    const char* node = "/dev/udmabuf";
    const auto page = static_cast<std::size_t>(::getpagesize());
    const UniqueFd device = UniqueFd::adopt(::open(node, O_RDWR | O_CLOEXEC));
    if (!device)
        return cannot_open("udmabuf", node, errno,
                           "load it (sudo modprobe udmabuf) on a kernel with CONFIG_UDMABUF; Debian's has it from 6.12 on");
    const UniqueFd memory = sealed_memfd(page);
    udmabuf_create request{};
    request.memfd = static_cast<std::uint32_t>(memory.get());
    request.flags = UDMABUF_FLAGS_CLOEXEC;
    request.size = page;
    const UniqueFd buffer = UniqueFd::adopt(::ioctl(device.get(), UDMABUF_CREATE, &request));
    if (!buffer)
        return warn("udmabuf", fmt::format("{}: a dma-buf could not be made: {}", node, std::strerror(errno)),
                    "look into the kernel's log (dmesg)");
    if (!remembers(memory.get(), buffer.get(), page))
        return warn("udmabuf", std::string(node) + ": its dma-buf shows other bytes than its memfd",
                    "report this to the kernel's maintainers");
    return ok("udmabuf", fmt::format("{}: dma-buf made, mapped and compared", node));
}

Finding check_heap()
{
    const char* node = "/dev/dma_heap/system";
    const auto page = static_cast<std::size_t>(::getpagesize());
    const UniqueFd device = UniqueFd::adopt(::open(node, O_RDONLY | O_CLOEXEC));
    if (!device)
        return cannot_open("dma_heap", node, errno,
                           "use a kernel with CONFIG_DMABUF_HEAPS_SYSTEM; Debian's has it from 6.12 on");
    dma_heap_allocation_data request{};
    request.len = page;
    request.fd_flags = O_RDWR | O_CLOEXEC;
    if (::ioctl(device.get(), DMA_HEAP_IOCTL_ALLOC, &request) != 0)
        return warn("dma_heap", fmt::format("{}: no allocation: {}", node, std::strerror(errno)),
                    "look into the kernel's log (dmesg)");
    const UniqueFd buffer = UniqueFd::adopt(static_cast<int>(request.fd));
    if (!remembers(buffer.get(), buffer.get(), page))
        return warn("dma_heap", std::string(node) + ": cannot be mapped", "use udmabuf instead");
    return ok("dma_heap", fmt::format("{}: dma-buf allocated, mapped and compared", node));
}

std::string driver_of(int fd)
{
    std::array<char, 64> name{};
    drm_version version{};
    version.name = name.data();
    version.name_len = name.size() - 1;
    return ::ioctl(fd, DRM_IOCTL_VERSION, &version) == 0 ? std::string(name.data()) : "unknown driver";
}

Finding check_node(const std::string& node)
{
    const UniqueFd fd = UniqueFd::adopt(::open(node.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd) {
        const int error = errno;
        // Card nodes are the display server's; images come from render nodes where there are any.
        Finding finding = cannot_open("drm", node, error, "look into the kernel's log (dmesg)");
        if (node.find("/card") != std::string::npos) finding.level = "warn";
        return finding;
    }
    return ok("drm", fmt::format("{}: opened, driver {}", node, driver_of(fd.get())));
}

void check_nodes(std::vector<Finding>& out)
{
    std::vector<std::string> nodes;
    std::error_code error;
    for (auto it = std::filesystem::directory_iterator("/dev/dri", error);
         !error && it != std::filesystem::directory_iterator(); it.increment(error))
        if (it->is_character_file()) nodes.push_back(it->path().string());
    std::ranges::sort(nodes);
    for (const std::string& node : nodes) out.push_back(check_node(node));
    if (!nodes.empty()) return;
    if (::access("/dev/nvidiactl", F_OK) == 0)
        out.push_back(warn("drm", "no /dev/dri, but an NVIDIA driver: images are shared as opaque memory",
                           "for dma-bufs load nvidia-drm (sudo modprobe nvidia-drm modeset=1)"));
    else
        out.push_back(warn("drm", "no /dev/dri: the kernel drives no GPU here; software drivers are used",
                           "install the GPU's driver, or go on without"));
}

Finding check_descriptors()
{
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const std::string text = fmt::format("descriptor limit {} (hard {})", limit.rlim_cur, limit.rlim_max);
    if (limit.rlim_max < 4096)
        return warn("limits", text,
                    "raise it (LimitNOFILE= in the unit, nofile in limits.conf): every image needs descriptors");
    return ok("limits", text);
}

Finding check_memlock()
{
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    return ok("limits", limit.rlim_cur == RLIM_INFINITY ? "locked memory unlimited"
                                                        : fmt::format("locked memory limit {} KiB", limit.rlim_cur / 1024));
}

} // namespace

std::vector<Finding> check_system()
{
    std::vector<Finding> out{check_kernel(), check_memfd(), check_udmabuf(), check_heap()};
    check_nodes(out);
    out.push_back(check_descriptors());
    out.push_back(check_memlock());
    return out;
}

} // namespace dmb::doctor
