// SPDX-License-Identifier: MIT
// An Image as a dmabroker::Image, which is what importers take. It has all rights and no client: this is a process of
// the broker. The library duplicates what it is given; the originals go with the Image. It identifies them once more,
// opaque memory excepted, which nothing but its driver can judge.
#include "daemon/worker/hold.hpp"

#include "libclient/convert.hpp"

namespace dmb::worker {

Result<dmabroker::Image> hold(Image image)
{
    const dmabroker_image_info info = to_info(image.desc());
    int fds[max_planes];
    for (std::size_t i = 0; i < image.desc().memories.size(); ++i) fds[i] = image.fd(i);
    return caught([&] { return dmabroker::adopt(info, fds); });
}

} // namespace dmb::worker
