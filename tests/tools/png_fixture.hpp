// SPDX-License-Identifier: MIT
// PNG files made and read with plain libpng, without the transformations that the tool relies on: what
// the tool wrote is judged by bytes that this computes by itself.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace dmb::test {

/// A file as it is stored: samples of 1 to 16 bits, not widened.
struct PngFile {
    std::uint32_t width = 0, height = 0;
    int bits = 8;
    int colour = 6; ///< PNG_COLOR_TYPE_*
    bool interlaced = false;
    bool transparent = false;           ///< with a tRNS chunk: palette entry 1, or the sample value 1 (grey), (1,1,1) (RGB)
    std::vector<std::uint16_t> samples; ///< row by row
    std::vector<std::uint16_t> rgba() const; ///< what a reader must make of it, at bits 8 or 16
};

/// Deterministic noise of the right range for colour and bits.
PngFile random_png(std::uint32_t width, std::uint32_t height, int colour, int bits, std::uint32_t seed);
void write_png(const std::string& path, const PngFile&);
PngFile read_png(const std::string& path);

} // namespace dmb::test
