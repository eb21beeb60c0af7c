// SPDX-License-Identifier: MIT
// What the tests of the worker ask for, and the memory they hand in.
#include "tests/drm/worker_images.hpp"

#include "daemon/device/vulkan_drivers.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <random>
#include <sys/mman.h>
#include <unistd.h>

namespace dmb::test {

namespace {
constexpr const char* lavapipe = "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json";
}

void prefer_lavapipe()
{
    if (std::getenv("VK_ICD_FILENAMES") || std::getenv("VK_DRIVER_FILES")) return;
    if (::access(lavapipe, R_OK) == 0) ::setenv("VK_ICD_FILENAMES", lavapipe, 1);
}

std::vector<std::vector<std::string>> all_workers()
{
    std::vector<std::vector<std::string>> list;
    for (const std::string& manifest : find_vulkan_drivers()) list.push_back({"vulkan", manifest});
    for (int i = 0; i < 16; ++i) {
        const std::string node = fmt::format("/dev/dri/card{}", i);
        if (::access(node.c_str(), F_OK) == 0) list.push_back({"gbm", node});
    }
    return list;
}

Bytes random_bytes(std::size_t size)
{
    static std::mt19937_64 generator(std::random_device{}());
    Bytes out(size);
    for (std::size_t i = 0; i < size; i += 8) {
        const std::uint64_t word = generator();
        std::memcpy(out.data() + i, &word, std::min<std::size_t>(8, size - i));
    }
    return out;
}

UniqueFd memfd_with(std::span<const std::byte> bytes, unsigned seals)
{
    UniqueFd fd = UniqueFd::adopt(::memfd_create("contents", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(::write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    return fd;
}

Extent shaped(FourCC format, Extent size) { return format == buffer_format ? Extent{size.width * size.height, 1} : size; }

AllocateSpec spec_for(const Capability& support, Extent size, Usage usage)
{
    AllocateSpec spec;
    spec.size = size;
    spec.format = support.format;
    spec.modifiers = {support.modifier};
    spec.usage = usage;
    return spec;
}

bool may_refuse(const FormatInfo& format, Extent size)
{
    bool subsampled = false;
    for (const PlaneFormat& plane : format.planes)
        subsampled |= plane.horizontal > 1 || plane.vertical > 1 || plane.block_width > 1;
    return subsampled && (size.width % 2 != 0 || size.height % 2 != 0);
}

Bytes without_padding(const FormatInfo& format, Extent size, Bytes bytes)
{
    std::size_t at = 0;
    for (std::size_t p = 0; p < format.plane_count; ++p) {
        std::uint64_t used = 0;
        for (const ChannelBits& bits : channels_of(format, p)) used |= ((std::uint64_t{1} << bits.count) - 1) << bits.first;
        const std::size_t unit = format.planes[p].bytes_per_block;
        const std::size_t end = at + row_bytes(format, p, size.width) * plane_extent(format, p, size).height;
        for (std::size_t i = 0; at < end; ++at, ++i) bytes[at] &= static_cast<std::byte>(used >> (8 * (i % unit)));
    }
    return bytes;
}

} // namespace dmb::test
