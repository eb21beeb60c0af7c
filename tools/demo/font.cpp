// SPDX-License-Identifier: MIT
// The font of the demo, without any library: each glyph is seven rows of five dots, drawn as they look. draw_text()
// makes an RGBA picture of a line; Scene uploads and scales it. Only what the demo writes is there: capitals, digits
// and a few signs.
#include "tools/demo/font.hpp"

#include <algorithm>
#include <cctype>

namespace dmb::demo {
namespace {

struct Glyph {
    char character;
    const char* dots;
};

constexpr Glyph glyphs[] = {
    {'A', " ### #   ##   #######   ##   ##   #"},  {'B', "#### #   ##   ##### #   ##   ##### "},
    {'C', " ### #   ##    #    #    #   # ### "},  {'D', "#### #   ##   ##   ##   ##   ##### "},
    {'E', "######    #    #### #    #    #####"},  {'F', "######    #    #### #    #    #    "},
    {'G', " ### #   ##    # ####   ##   # ####"},  {'H', "#   ##   ##   #######   ##   ##   #"},
    {'I', " ###   #    #    #    #    #   ### "},  {'J', "  ###   #    #    #    # #  #  ##  "},
    {'K', "#   ##  # # #  ##   # #  #  # #   #"},  {'L', "#    #    #    #    #    #    #####"},
    {'M', "#   ### ### # ## # ##   ##   ##   #"},  {'N', "#   ###  ## # ##  ###   ##   ##   #"},
    {'O', " ### #   ##   ##   ##   ##   # ### "},  {'P', "#### #   ##   ##### #    #    #    "},
    {'Q', " ### #   ##   ##   ## # ##  #  ## #"},  {'R', "#### #   ##   ##### # #  #  # #   #"},
    {'S', " #####    #     ###     #    ##### "},  {'T', "#####  #    #    #    #    #    #  "},
    {'U', "#   ##   ##   ##   ##   ##   # ### "},  {'V', "#   ##   ##   ##   ##   # # #   #  "},
    {'W', "#   ##   ##   ## # ## # ### ###   #"},  {'X', "#   ##   # # #   #   # # #   ##   #"},
    {'Y', "#   ##   # # #   #    #    #    #  "},  {'Z', "#####    #   #   #   #   #    #####"},
    {'0', " ### #   ##  ### # ###  ##   # ### "},  {'1', "  #   ##    #    #    #    #   ### "},
    {'2', " ### #   #    #   #   #   #   #####"},  {'3', " ### #   #    #  ##     ##   # ### "},
    {'4', "   #   ##  # # #  # #####   #    # "},  {'5', "######    ####     #    ##   # ### "},
    {'6', " ### #    #    #### #   ##   # ### "},  {'7', "#####    #   #   #   #    #    #   "},
    {'8', " ### #   ##   # ### #   ##   # ### "},  {'9', " ### #   ##   # ####    #    # ### "},
    {'.', "                          ##   ##  "},  {',', "                          ##   #   "},
    {':', "      ##   ##        ##   ##       "},  {'-', "               #####               "},
    {'_', "                              #####"},  {'/', "    #    #   #   #   #   #    #    "},
    {'(', "   #   #   #    #    #     #     # "},  {')', " #     #     #    #    #   #   #   "},
    {'+', "       #    #  #####  #    #       "},  {'>', "#     #     #     #   #   #   #    "},
    {'#', " # #  # # ##### # # ##### # #  # # "},  {'=', "          #####     #####          "},
    {'\'', "  #    #    #                      "},
};

const Glyph* find(char character)
{
    const char upper = static_cast<char>(std::toupper(static_cast<unsigned char>(character)));
    const auto* found = std::ranges::find(glyphs, upper, &Glyph::character);
    return found == std::end(glyphs) ? nullptr : found;
}

} // namespace

TextPixels draw_text(std::string_view text)
{
    TextPixels out;
    out.width = glyph_width * static_cast<unsigned>(std::max<std::size_t>(text.size(), 1));
    out.rgba.assign(std::size_t{out.width} * out.height * 4, 255);
    for (std::size_t i = 3; i < out.rgba.size(); i += 4) out.rgba[i] = 0;
    for (unsigned n = 0; n < text.size(); ++n) {
        const Glyph* glyph = find(text[n]);
        for (unsigned dot = 0; glyph && dot < 35; ++dot)
            if (glyph->dots[dot] == '#') out.rgba[((dot / 5) * out.width + n * glyph_width + dot % 5) * 4 + 3] = 255;
    }
    return out;
}

} // namespace dmb::demo
