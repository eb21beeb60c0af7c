// SPDX-License-Identifier: MIT
// Modifiers as people know them, for logs, tables and reasons. The vendor's half of a modifier is decoded by libdrm,
// which knows more of them with every release; so these names are for reading only, and what is compared or stored is
// the number (to_string in types.hpp).
#include "proto/image/modifier_name.hpp"

#include <cstdlib>
#include <memory>
#include <xf86drm.h>

namespace dmb {
namespace {

using Text = std::unique_ptr<char, decltype(&std::free)>;

} // namespace

std::string describe(Modifier modifier)
{
    if (modifier == modifier_linear || modifier == modifier_invalid) return to_string(modifier);
    const Text vendor(::drmGetFormatModifierVendor(modifier.value), &std::free);
    const Text name(::drmGetFormatModifierName(modifier.value), &std::free);
    if (!vendor) return to_string(modifier);
    return std::string(vendor.get()) + " " + (name ? std::string(name.get()) : to_string(modifier));
}

} // namespace dmb
