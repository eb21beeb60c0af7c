// SPDX-License-Identifier: MIT
// What negotiate() found, in sentences.
#pragma once
#include "daemon/core/deciding/layouts.hpp"

namespace dmb {

using Reason = BoundedText<160>;

/// The participant's name, "participant 2" without one; for the request itself empty.
BoundedText<64> who_is(const Question&, Who);
/// Of a device that the request rules out.
Reason unwanted_reason(const AllocateSpec&, Demand);
/// Why this demand of `who` removes the layout.
Reason reason_for(const Question&, const Layout&, Who, Demand);
Removal removal(const Question&, const Layouts&, std::size_t layout, Who);
/// "drop the encoder's modifiers -> XR24 LINEAR from gbm on /dev/dri/renderD128, rung linear"
BoundedText<240> nearest_change(const Question&, const Layouts&, std::size_t layout);
/// "XR24 LINEAR from gbm on /dev/dri/renderD128"
std::string describe(const Exporter&, FourCC, Modifier);
/// What a participant wants beyond its table: "render, stride a multiple of 64, rung tiled or better".
Reason wants(const Party&);
PartyView view(const Party&, std::span<const FourCC> formats);

} // namespace dmb
