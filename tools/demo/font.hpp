// SPDX-License-Identifier: MIT
// Text for the picture: capital letters, digits and a few signs, five by seven dots.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace dmb::demo {

inline constexpr unsigned glyph_width = 6, glyph_height = 8; ///< with the gap to the next one

struct TextPixels {
    unsigned width = 0, height = glyph_height;
    std::vector<std::uint8_t> rgba; ///< white, alpha 0 or 255
};
/// Lower case is written in capitals; unknown characters as blanks.
TextPixels draw_text(std::string_view text);

} // namespace dmb::demo
