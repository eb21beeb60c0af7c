// SPDX-License-Identifier: MIT
// Initial pixels of an allocation: packed into a sealed memfd for the broker's workers, or written
// through the CPU mapping where the memory is the CPU's anyway.
#pragma once
#include "libclient/handle.hpp"

namespace dmb {

/// Judges the pointers and strides for every plane; strides of 0 become the packed ones.
Result<dmabroker_pixels> check_contents(Extent, FourCC, const dmabroker_pixels&);
/// Tightly packed planes, one after the other, as wire::Allocate wants them. `pixels` were checked.
Result<UniqueFd> pack_contents(Extent, FourCC, const dmabroker_pixels&);
/// Into the image, bracketed. `pixels` were checked.
Result<> write_contents(const dmabroker_image&, const dmabroker_pixels&);
/// The same, from what pack_contents() made for this image's size and format.
Result<> write_packed(const dmabroker_image&, const UniqueFd& packed);

} // namespace dmb
