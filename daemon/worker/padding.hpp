// SPDX-License-Identifier: MIT
// Rows that satisfy a participant's LayoutRules although the driver would make shorter ones.
#pragma once
#include "proto/image/capabilities.hpp"

namespace dmb::worker {

/// The smallest stride for a row that is a multiple of the alignment and of whole blocks. Only formats of one plane:
/// drivers take one width for all of them. 0: there is none for this image.
std::uint32_t padded_stride(const LayoutRules&, FourCC, Extent);
/// Pixels in such a row.
std::uint32_t padded_width(FourCC, std::uint32_t stride);

} // namespace dmb::worker
