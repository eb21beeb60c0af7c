// SPDX-License-Identifier: MIT
// PNG files made and read with plain libpng, without the transformations that the tool relies on: what
// the tool wrote is judged by bytes that this computes by itself.
#pragma once
#include <cstdint>
#include <png.h>
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
/// `more`: sets further chunks.
void write_png(const std::string& path, const PngFile&, void (*more)(png_structp, png_infop) = nullptr);
PngFile read_png(const std::string& path);

/// As it lies in a file between its length and its checksum.
struct RawChunk {
    std::string name, data;
    friend bool operator==(const RawChunk&, const RawChunk&) = default;
};
/// The bytes of a PNG file with more chunks, which come right after its header.
std::string with_chunks(const std::string& png, const std::vector<RawChunk>&);
/// All of a file; throws where a checksum is wrong.
std::vector<RawChunk> chunks_in(const std::string& png);

} // namespace dmb::test
