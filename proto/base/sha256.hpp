// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <span>

namespace dmb {

std::array<std::uint8_t, 32> sha256(std::span<const std::uint8_t> bytes);

} // namespace dmb
