// SPDX-License-Identifier: MIT
/** @file
 * export.h for C++.
 */
#ifndef DMABROKER_EXPORT_HPP
#define DMABROKER_EXPORT_HPP

#include <dmabroker/dmabroker.hpp>
#include <dmabroker/export.h>

namespace dmabroker {

/** What an API that exports an image cannot tell about it. */
struct ExportOptions {
    Usage usage = Usage::none;
    dmabroker_colour colour{}; /**< 0: what the API says, else the default of the format */
    std::string label{};
    Duration lease{0}; /**< how long it outlives its last holder */
};

namespace detail {

/** Of a C function whose last parameters are the options, the image and the error. */
template <class Export, class... Arguments>
Image exported(Export export_image, const ExportOptions& options, Client& client, Arguments... arguments)
{
    dmabroker_export_options wanted = DMABROKER_EXPORT_OPTIONS_INIT;
    wanted.usage = bits(options.usage);
    wanted.colour = options.colour;
    wanted.label = text_or_null(options.label);
    wanted.lease_ns = nanoseconds(options.lease);
    return Image(result_of<dmabroker_image*>(export_image, client.native(), arguments..., &wanted));
}

} // namespace detail

} // namespace dmabroker

#endif
