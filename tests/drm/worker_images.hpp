// SPDX-License-Identifier: MIT
// Which workers there are here, what to ask of them, and pixels to hand in.
#pragma once
#include "proto/base/unique_fd.hpp"
#include "proto/image/proof_pattern.hpp"
#include "proto/wire/messages.hpp"

#include <fcntl.h>
#include <span>
#include <string>
#include <vector>

namespace dmb::test {

using Bytes = std::vector<std::byte>;

/// Drivers of GPUs that are not here can take seconds to say so.
void prefer_lavapipe();
/// Arguments of each worker that allocates: one per Vulkan driver, and one per DRM device.
std::vector<std::vector<std::string>> all_workers();

Bytes random_bytes(std::size_t size);
UniqueFd memfd_with(std::span<const std::byte> bytes, unsigned seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);

/// A size for that format: a buffer has as many bytes as a picture of that size has pixels.
Extent shaped(FourCC, Extent);
AllocateSpec spec_for(const Capability&, Extent, Usage);
/// A driver may refuse an odd size of a subsampled format; nothing else.
bool may_refuse(const FormatInfo&, Extent);

/// Tightly packed planes with all bits 0 that belong to no channel.
Bytes without_padding(const FormatInfo&, Extent, Bytes);

} // namespace dmb::test
