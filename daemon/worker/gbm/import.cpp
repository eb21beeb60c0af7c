// SPDX-License-Identifier: MIT
// gbm_bo_import and gbm_bo_map with owners. Layouts with rows go the older way, which drivers without modifiers know
// too, unless there are several planes. gbm_bo_map shows the first plane only. The descriptors are borrowed for the
// call: a bo refers to the memory, so the image may end before it. Whether the driver may be handed an image was
// checked before: descriptors are identified in worker/server.cpp.
#include "daemon/worker/gbm/import.hpp"

#include <algorithm>
#include <cerrno>

namespace dmb::worker {
namespace {

gbm_bo* import_rows(gbm_device* device, const dmabroker::Image& image, std::uint32_t flags)
{
    const dmabroker_image_info& info = image.info();
    gbm_import_fd_data data{image.fd(), info.width, info.height, info.planes[0].stride, info.format};
    return gbm_bo_import(device, GBM_BO_IMPORT_FD, &data, flags);
}

gbm_bo* import_planes(gbm_device* device, const dmabroker::Image& image, std::uint32_t flags)
{
    const dmabroker_image_info& info = image.info();
    gbm_import_fd_modifier_data data{};
    data.width = info.width;
    data.height = info.height;
    data.format = info.format;
    data.num_fds = info.plane_count;
    data.modifier = info.modifier;
    for (std::uint32_t i = 0; i < info.plane_count; ++i) {
        data.fds[i] = image.fd(info.planes[i].memory);
        data.strides[i] = static_cast<int>(info.planes[i].stride);
        data.offsets[i] = static_cast<int>(info.planes[i].offset);
    }
    return gbm_bo_import(device, GBM_BO_IMPORT_FD_MODIFIER, &data, flags);
}

/// gbm_bo_map and its end.
class BoMap {
public:
    static Result<BoMap> create(gbm_bo* bo, Extent size, std::uint32_t transfer)
    {
        BoMap map(bo);
        errno = 0;
        map.data_ = gbm_bo_map(bo, 0, 0, size.width, size.height, transfer, &map.stride_, &map.cookie_);
        if (map.data_) return map;
        return fail(Errc::backend_failed, "gbm_bo_map: {}", describe_errno(errno));
    }
    BoMap(BoMap&& other) noexcept
        : bo_(other.bo_), data_(std::exchange(other.data_, nullptr)), cookie_(other.cookie_), stride_(other.stride_)
    {
    }
    BoMap& operator=(BoMap&&) = delete;
    ~BoMap()
    {
        if (data_) gbm_bo_unmap(bo_, cookie_);
    }
    MappedPlane plane() const { return {static_cast<std::byte*>(data_), stride_}; }

private:
    explicit BoMap(gbm_bo* bo) : bo_(bo) {}
    gbm_bo* bo_;
    void* data_ = nullptr;
    void* cookie_ = nullptr;
    std::uint32_t stride_ = 0;
};

} // namespace

Result<Bo> import_bo(gbm_device* device, const dmabroker::Image& image, std::uint32_t flags)
{
    const dmabroker_image_info& info = image.info();
    if (info.kind != DMABROKER_DMA_BUF) return fail(Errc::import_refused, "GBM imports dma-bufs only");
    const bool rows = info.modifier == DMABROKER_MODIFIER_LINEAR || info.modifier == DMABROKER_MODIFIER_INVALID;
    const bool simple = rows && info.plane_count == 1 && info.planes[0].offset == 0;
    errno = 0;
    Bo bo(simple ? import_rows(device, image, flags) : import_planes(device, image, flags));
    if (bo) return bo;
    return fail(Errc::import_failed, "gbm_bo_import of {} with flags {:#x}: {}", to_string(FourCC{info.format}), flags,
                describe_errno(errno));
}

Result<> read_bo(gbm_bo* bo, const FormatInfo& format, Extent size, std::span<std::byte> to)
{
    const BoMap map = TRY(BoMap::create(bo, size, GBM_BO_TRANSFER_READ));
    const std::uint64_t row = row_bytes(format, 0, size.width);
    for (std::uint32_t y = 0; y < size.height; ++y)
        std::copy_n(map.plane().data + map.plane().stride * y, row, to.data() + row * y);
    return {};
}

Result<> write_bo(gbm_bo* bo, const FormatInfo& format, Extent size, const Contents* contents)
{
    const BoMap map = TRY(BoMap::create(bo, size, GBM_BO_TRANSFER_WRITE));
    return write_plane(format, size, 0, contents, map.plane());
}

} // namespace dmb::worker
