// SPDX-License-Identifier: MIT
/** @file
 * cuda.h for C++: `auto array = dmabroker::cuda::import(image, find_in_libcuda);`
 */
#ifndef DMABROKER_CUDA_HPP
#define DMABROKER_CUDA_HPP

#include <dmabroker/cuda.h>
#include <dmabroker/import.hpp>

namespace dmabroker::cuda {

/** A CUDA array over an image's memory. The context it was made in must be current when it is destroyed. */
using Array = detail::Imported<dmabroker_get_proc, dmabroker_cuda_array, dmabroker_cuda_import, dmabroker_cuda_release>;

/** `flags`: 0 or DMABROKER_IMPORT_WRITE. */
inline Array import(const Image& image, dmabroker_get_proc get_proc, std::uint32_t flags = 0)
{
    return Array(image, get_proc, flags);
}

/** An address over a buffer's memory. The context it was made in must be current when it is destroyed. */
using Buffer =
    detail::Imported<dmabroker_get_proc, dmabroker_cuda_buffer, dmabroker_cuda_import_buffer, dmabroker_cuda_release_buffer>;

/** `flags`: 0 or DMABROKER_IMPORT_WRITE. */
inline Buffer import_buffer(const Image& image, dmabroker_get_proc get_proc, std::uint32_t flags = 0)
{
    return Buffer(image, get_proc, flags);
}

} // namespace dmabroker::cuda

#endif
