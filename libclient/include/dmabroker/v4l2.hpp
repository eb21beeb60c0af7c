// SPDX-License-Identifier: MIT
/** @file
 * v4l2.h for C++: `auto image = dmabroker::v4l2::export_image(client, {camera, V4L2_BUF_TYPE_VIDEO_CAPTURE, 0});`
 */
#ifndef DMABROKER_V4L2_HPP
#define DMABROKER_V4L2_HPP

#include <dmabroker/export.hpp>
#include <dmabroker/v4l2.h>

namespace dmabroker::v4l2 {

struct Source {
    int device = -1;         /**< open V4L2 device */
    std::uint32_t type = 0;  /**< enum v4l2_buf_type */
    std::uint32_t index = 0; /**< of the buffer */
};

/** See dmabroker_v4l2_export. */
inline Image export_image(Client& client, Source source, const ExportOptions& options = {})
{
    const dmabroker_v4l2_source from{sizeof from, source.device, source.type, source.index, 0};
    return detail::exported(dmabroker_v4l2_export, options, client, &from);
}

/** What to tell a device that is to take the image about its colour. */
inline dmabroker_v4l2_colour describe(const dmabroker_image_info& info)
{
    return detail::result_of<dmabroker_v4l2_colour>(dmabroker_v4l2_describe, &info);
}

} // namespace dmabroker::v4l2

#endif
