// SPDX-License-Identifier: MIT
// An image that some API of the application just gave out as descriptors, on its way to the broker.
#pragma once
#include "libclient/client.hpp"

#include <dmabroker/export.h>
#include <memory>

namespace dmb::exporting {

class Exported {
public:
    static Result<Exported> begin(Extent, FourCC, Modifier, const dmabroker_export_options&);

    /// Another memory object, in the order in which planes name them. Judged: the broker takes only dma-bufs that
    /// can be written and sealed memfds. Memory that is there already keeps its first index, which is returned.
    Result<std::uint8_t> add_memory(UniqueFd);
    Result<> add_plane(std::uint8_t memory, std::uint64_t stride, std::uint64_t offset);
    /// Whatever the options do not say.
    Result<> set_colour(const Colour&);
    /// The device that made it.
    void set_device(const DeviceId& id) { desc_.device = id; }
    const ImageDesc& desc() const { return desc_; }

    Result<std::unique_ptr<dmabroker_image>> register_at(Client&) &&;

private:
    Exported() = default;
    ImageDesc desc_;
    ImageFds fds_;
    BoundedVector<std::uint64_t, max_planes> inodes_;
    Name label_;
    std::uint64_t lease_ns_ = 0;
    dmabroker_export_options options_{};
};

} // namespace dmb::exporting
