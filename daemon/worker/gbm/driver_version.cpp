// SPDX-License-Identifier: MIT
// The string that tells one build of a driver from the next, part of the key of every proof. Asking GL for its version
// would take a display and seconds. The dynamic linker knows which drivers gbm_create_device loaded, and a build id
// changes with every build, whatever the file is called. To be asked after gbm_create_device; before it names the
// kernel's driver only.
#include "daemon/worker/gbm/driver_version.hpp"

#include <cstring>
#include <elf.h>
#include <fmt/format.h>
#include <link.h>
#include <string_view>
#include <xf86drm.h>

namespace dmb::worker {
namespace {

std::string_view base_name(const char* path)
{
    const std::string_view whole = path ? path : "";
    return whole.substr(whole.rfind('/') + 1);
}

/// Mesa: libgallium-VERSION.so, before 24.2 NAME_dri.so. Others bring a GBM backend: nvidia-drm_gbm.so.
bool is_driver(std::string_view file)
{
    return file.starts_with("libgallium-") || file.ends_with("_dri.so") || (file.ends_with("_gbm.so") && file != "dri_gbm.so");
}

/// The first bytes of the GNU build id in one segment of notes, as hexadecimal digits.
std::string build_id(const char* notes, std::size_t size)
{
    constexpr auto padded = [](std::size_t bytes) { return (bytes + 3) / 4 * 4; };
    while (size >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        std::memcpy(&note, notes, sizeof note);
        const std::size_t whole = sizeof note + padded(note.n_namesz) + padded(note.n_descsz);
        if (whole > size) break;
        const auto* id = reinterpret_cast<const unsigned char*>(notes + sizeof note + padded(note.n_namesz));
        if (note.n_type == NT_GNU_BUILD_ID && note.n_descsz >= 4)
            return fmt::format("{:02x}{:02x}{:02x}{:02x}", id[0], id[1], id[2], id[3]);
        notes += whole;
        size -= whole;
    }
    return {};
}

int add_driver(dl_phdr_info* info, std::size_t, void* to)
{
    const std::string_view file = base_name(info->dlpi_name);
    if (!is_driver(file)) return 0;
    std::string id;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const ElfW(Phdr)& segment = info->dlpi_phdr[i];
        if (segment.p_type == PT_NOTE && id.empty())
            id = build_id(reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr), segment.p_memsz);
    }
    *static_cast<std::string*>(to) += fmt::format(", {}{}{}", file, id.empty() ? "" : " ", id);
    return 0;
}

} // namespace

std::string gbm_driver_version(int drm_fd)
{
    std::string out;
    if (drmVersionPtr kernel = drmGetVersion(drm_fd)) {
        const std::string_view name(kernel->name, static_cast<std::size_t>(kernel->name_len));
        out = fmt::format("{} {}.{}.{}", name, kernel->version_major, kernel->version_minor, kernel->version_patchlevel);
        drmFreeVersion(kernel);
    }
    ::dl_iterate_phdr(add_driver, &out);
    return out;
}

} // namespace dmb::worker
