// SPDX-License-Identifier: MIT
// What the chunks of a PNG file say about its colours (PNG specification, third edition, "Colour space information"),
// both ways.
#pragma once
#include "proto/image/colour.hpp"
#include "tools/dmabrokerctl/png_file.hpp"

#include <span>

namespace dmb::ctl {

struct PngMeaning {
    Colour colour;                  ///< sRGB where the file says nothing
    bool limited_range = false;     ///< the numbers are of limited range, which no RGB image here has
    std::string profile;            ///< name of its ICC profile, which an image cannot carry
    std::vector<std::string> notes; ///< sentences about what is not in `colour`
};

/// cICP before iCCP before sRGB before gAMA and cHRM, as the specification ranks them.
PngMeaning meaning_of(std::span<const PngChunk>);

/// sRGB or cICP, mDCV, cLLI, so that it means the same when it is read again; gAMA and cHRM too for readers that know neither,
/// where these can say it.
std::vector<PngChunk> chunks_of(const Colour&);

} // namespace dmb::ctl
