// SPDX-License-Identifier: MIT
// Words, gamuts and usual values of colour; pure functions over constant tables. The words are H.273's or the nearest
// to them that need no explanation; scripts and golden files rely on these spellings. Code points without a word are
// kept and shown as numbers. Which colours a format can have is format_colour.cpp's, the matrices are yuv_to_rgb.cpp's.
#include "proto/image/colour.hpp"

#include <algorithm>
#include <charconv>
#include <span>

namespace dmb {
namespace {

template <class E> struct Word {
    E code;
    std::string_view word;
};

constexpr std::array primaries_words{
    Word{Primaries::bt709, "bt709"},     Word{Primaries::unspecified, "unspecified"}, Word{Primaries::bt470m, "bt470m"},
    Word{Primaries::bt470bg, "bt470bg"}, Word{Primaries::smpte170m, "smpte170m"},     Word{Primaries::smpte240m, "smpte240m"},
    Word{Primaries::film, "film"},       Word{Primaries::bt2020, "bt2020"},           Word{Primaries::xyz, "xyz"},
    Word{Primaries::dci_p3, "dci_p3"},   Word{Primaries::display_p3, "display_p3"},   Word{Primaries::ebu3213, "ebu3213"},
};
constexpr std::array transfer_words{
    Word{Transfer::bt709, "bt709"},
    Word{Transfer::unspecified, "unspecified"},
    Word{Transfer::gamma22, "gamma22"},
    Word{Transfer::gamma28, "gamma28"},
    Word{Transfer::smpte170m, "smpte170m"},
    Word{Transfer::smpte240m, "smpte240m"},
    Word{Transfer::linear, "linear"},
    Word{Transfer::log, "log"},
    Word{Transfer::log_sqrt, "log_sqrt"},
    Word{Transfer::xvycc, "xvycc"},
    Word{Transfer::bt1361, "bt1361"},
    Word{Transfer::srgb, "srgb"},
    Word{Transfer::bt2020_10, "bt2020_10"},
    Word{Transfer::bt2020_12, "bt2020_12"},
    Word{Transfer::pq, "pq"},
    Word{Transfer::smpte428, "smpte428"},
    Word{Transfer::hlg, "hlg"},
};
constexpr std::array matrix_words{
    Word{MatrixCoefficients::identity, "identity"},       Word{MatrixCoefficients::bt709, "bt709"},
    Word{MatrixCoefficients::unspecified, "unspecified"}, Word{MatrixCoefficients::fcc, "fcc"},
    Word{MatrixCoefficients::bt470bg, "bt470bg"},         Word{MatrixCoefficients::smpte170m, "smpte170m"},
    Word{MatrixCoefficients::smpte240m, "smpte240m"},     Word{MatrixCoefficients::ycgco, "ycgco"},
    Word{MatrixCoefficients::bt2020_ncl, "bt2020_ncl"},   Word{MatrixCoefficients::bt2020_cl, "bt2020_cl"},
    Word{MatrixCoefficients::smpte2085, "smpte2085"},     Word{MatrixCoefficients::chroma_ncl, "chroma_ncl"},
    Word{MatrixCoefficients::chroma_cl, "chroma_cl"},     Word{MatrixCoefficients::ictcp, "ictcp"},
};
constexpr std::array range_words{Word{ColourRange::limited, "limited"}, Word{ColourRange::full, "full"}};
constexpr std::array siting_words{
    Word{ChromaSiting::left, "left"}, Word{ChromaSiting::centre, "centre"},           Word{ChromaSiting::top_left, "top_left"},
    Word{ChromaSiting::top, "top"},   Word{ChromaSiting::bottom_left, "bottom_left"}, Word{ChromaSiting::bottom, "bottom"},
};
constexpr std::array alpha_words{Word{AlphaMode::straight, "straight"}, Word{AlphaMode::premultiplied, "premultiplied"}};

constexpr std::span<const Word<Primaries>> words(Primaries) { return primaries_words; }
constexpr std::span<const Word<Transfer>> words(Transfer) { return transfer_words; }
constexpr std::span<const Word<MatrixCoefficients>> words(MatrixCoefficients) { return matrix_words; }
constexpr std::span<const Word<ColourRange>> words(ColourRange) { return range_words; }
constexpr std::span<const Word<ChromaSiting>> words(ChromaSiting) { return siting_words; }
constexpr std::span<const Word<AlphaMode>> words(AlphaMode) { return alpha_words; }

template <class E> std::string word_of(E code)
{
    const auto found = std::ranges::find(words(code), code, &Word<E>::code);
    return found != words(code).end() ? std::string(found->word) : std::to_string(static_cast<unsigned>(code));
}

/// Of H.273's table, in units of 0.0001.
constexpr Gamut gamut(unsigned green_x, unsigned green_y, unsigned blue_x, unsigned blue_y, unsigned red_x, unsigned red_y,
                      unsigned white_x, unsigned white_y)
{
    const auto at = [](unsigned x, unsigned y) {
        return Chromaticity{static_cast<std::uint16_t>(5 * x), static_cast<std::uint16_t>(5 * y)};
    };
    return {at(red_x, red_y), at(green_x, green_y), at(blue_x, blue_y), at(white_x, white_y)};
}

} // namespace

std::string to_string(Primaries p) { return word_of(p); }
std::string to_string(Transfer t) { return word_of(t); }
std::string to_string(MatrixCoefficients m) { return word_of(m); }
std::string to_string(ColourRange r) { return word_of(r); }
std::string to_string(ChromaSiting s) { return word_of(s); }
std::string to_string(AlphaMode a) { return word_of(a); }

template <class E> bool has_word(E code) { return std::ranges::find(words(code), code, &Word<E>::code) != words(code).end(); }
template bool has_word(Primaries);
template bool has_word(Transfer);
template bool has_word(MatrixCoefficients);
template bool has_word(ColourRange);
template bool has_word(ChromaSiting);
template bool has_word(AlphaMode);

template <class E> std::optional<E> parse_code_point(std::string_view text)
{
    const auto found = std::ranges::find(words(E{}), text, &Word<E>::word);
    if (found != words(E{}).end()) return found->code;
    std::uint8_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return static_cast<E>(number);
}
template std::optional<Primaries> parse_code_point(std::string_view);
template std::optional<Transfer> parse_code_point(std::string_view);
template std::optional<MatrixCoefficients> parse_code_point(std::string_view);
template std::optional<ColourRange> parse_code_point(std::string_view);
template std::optional<ChromaSiting> parse_code_point(std::string_view);
template std::optional<AlphaMode> parse_code_point(std::string_view);

std::optional<Gamut> gamut_of(Primaries primaries)
{
    switch (primaries) {
    case Primaries::bt709: return gamut(3000, 6000, 1500, 600, 6400, 3300, 3127, 3290);
    case Primaries::bt470m: return gamut(2100, 7100, 1400, 800, 6700, 3300, 3100, 3160);
    case Primaries::bt470bg: return gamut(2900, 6000, 1500, 600, 6400, 3300, 3127, 3290);
    case Primaries::smpte170m:
    case Primaries::smpte240m: return gamut(3100, 5950, 1550, 700, 6300, 3400, 3127, 3290);
    case Primaries::film: return gamut(2430, 6920, 1450, 490, 6810, 3190, 3100, 3160);
    case Primaries::bt2020: return gamut(1700, 7970, 1310, 460, 7080, 2920, 3127, 3290);
    case Primaries::xyz: return Gamut{{50000, 0}, {0, 50000}, {0, 0}, {16667, 16667}};
    case Primaries::dci_p3: return gamut(2650, 6900, 1500, 600, 6800, 3200, 3140, 3510);
    case Primaries::display_p3: return gamut(2650, 6900, 1500, 600, 6800, 3200, 3127, 3290);
    case Primaries::ebu3213: return gamut(2950, 6050, 1550, 770, 6300, 3400, 3127, 3290);
    case Primaries::unspecified: break;
    }
    return std::nullopt;
}

MatrixCoefficients usual_matrix(Primaries primaries)
{
    switch (primaries) {
    case Primaries::bt470m:
    case Primaries::bt470bg:
    case Primaries::smpte170m: return MatrixCoefficients::smpte170m;
    case Primaries::smpte240m: return MatrixCoefficients::smpte240m;
    case Primaries::bt2020: return MatrixCoefficients::bt2020_ncl;
    default: return MatrixCoefficients::bt709;
    }
}

} // namespace dmb
