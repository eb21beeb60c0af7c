// SPDX-License-Identifier: MIT
// Imports into a device of this process, so that the pixels come through the kernel and the driver.
#include "tests/drm/gbm_reader.hpp"

#include <cerrno>
#include <fcntl.h>

namespace dmb::test {
namespace {

using Bo = std::unique_ptr<gbm_bo, decltype([](gbm_bo* bo) { gbm_bo_destroy(bo); })>;

Bo import(gbm_device* device, const ImageDesc& desc, int fd)
{
    if (desc.modifier == modifier_linear || desc.modifier == modifier_invalid) {
        gbm_import_fd_data data{fd, desc.size.width, desc.size.height, desc.planes[0].stride, desc.format.value};
        return Bo(gbm_bo_import(device, GBM_BO_IMPORT_FD, &data, GBM_BO_USE_RENDERING));
    }
    gbm_import_fd_modifier_data data{};
    data.width = desc.size.width;
    data.height = desc.size.height;
    data.format = desc.format.value;
    data.num_fds = static_cast<std::uint32_t>(desc.planes.size());
    for (std::size_t i = 0; i < desc.planes.size(); ++i) {
        data.fds[i] = fd;
        data.strides[i] = static_cast<int>(desc.planes[i].stride);
        data.offsets[i] = static_cast<int>(desc.planes[i].offset);
    }
    data.modifier = desc.modifier.value;
    return Bo(gbm_bo_import(device, GBM_BO_IMPORT_FD_MODIFIER, &data, GBM_BO_USE_RENDERING));
}

} // namespace

Result<gbm_device*> GbmReader::open(const std::string& node)
{
    if (const auto known = devices_.find(node); known != devices_.end()) return known->second.gbm.get();
    Device device{UniqueFd::adopt(::open(node.c_str(), O_RDWR | O_CLOEXEC)), nullptr};
    if (!device.file) return fail_errno(Errc::import_failed, node, errno);
    device.gbm.reset(gbm_create_device(device.file.get()));
    if (!device.gbm) return fail_errno(Errc::import_failed, "gbm_create_device", errno);
    return devices_.emplace(node, std::move(device)).first->second.gbm.get();
}

Result<std::vector<std::byte>> GbmReader::read(const std::string& node, const ImageDesc& desc, int fd)
{
    gbm_device* const device = TRY(open(node));
    const Bo bo = import(device, desc, fd);
    if (!bo) return fail_errno(Errc::import_failed, "gbm_bo_import", errno);
    std::uint32_t stride = 0;
    void* cookie = nullptr;
    const void* mapped = gbm_bo_map(bo.get(), 0, 0, desc.size.width, desc.size.height, GBM_BO_TRANSFER_READ, &stride, &cookie);
    if (!mapped) return fail_errno(Errc::import_failed, "gbm_bo_map", errno);
    const std::uint64_t row = row_bytes(*find_format(desc.format), 0, desc.size.width);
    std::vector<std::byte> out;
    for (std::uint32_t y = 0; y < desc.size.height; ++y) {
        const std::byte* from = static_cast<const std::byte*>(mapped) + std::uint64_t{stride} * y;
        out.insert(out.end(), from, from + row);
    }
    gbm_bo_unmap(bo.get(), cookie);
    return out;
}

} // namespace dmb::test
