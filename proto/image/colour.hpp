// SPDX-License-Identifier: MIT
// What the numbers of a picture mean, in the words and code points of ITU-T H.273. A code point that has no
// name here (reserved, or newer than this) is kept, passed on and shown as its number.
#pragma once
#include "proto/base/result.hpp"
#include "proto/image/types.hpp"

namespace dmb {

/// H.273 ColourPrimaries.
enum class Primaries : std::uint8_t {
    bt709 = 1,
    unspecified = 2,
    bt470m = 4,
    bt470bg = 5,
    smpte170m = 6,
    smpte240m = 7,
    film = 8,
    bt2020 = 9,
    xyz = 10,        ///< SMPTE ST 428-1
    dci_p3 = 11,     ///< SMPTE RP 431-2
    display_p3 = 12, ///< SMPTE EG 432-1
    ebu3213 = 22,
};

/// H.273 TransferCharacteristics.
enum class Transfer : std::uint8_t {
    bt709 = 1,
    unspecified = 2,
    gamma22 = 4, ///< BT.470 M
    gamma28 = 5, ///< BT.470 B, G
    smpte170m = 6,
    smpte240m = 7,
    linear = 8,
    log = 9,
    log_sqrt = 10,
    xvycc = 11, ///< IEC 61966-2-4
    bt1361 = 12,
    srgb = 13, ///< IEC 61966-2-1
    bt2020_10 = 14,
    bt2020_12 = 15,
    pq = 16,       ///< SMPTE ST 2084
    smpte428 = 17, ///< gamma 2.6
    hlg = 18,      ///< ARIB STD-B67
};

/// H.273 MatrixCoefficients.
enum class MatrixCoefficients : std::uint8_t {
    identity = 0, ///< RGB; in YUV formats the planes are G, B, R
    bt709 = 1,
    unspecified = 2,
    fcc = 4,
    bt470bg = 5,   ///< BT.601
    smpte170m = 6, ///< BT.601
    smpte240m = 7,
    ycgco = 8,
    bt2020_ncl = 9,
    bt2020_cl = 10,
    smpte2085 = 11,
    chroma_ncl = 12, ///< derived from the primaries
    chroma_cl = 13,
    ictcp = 14,
};

/// H.273 VideoFullRangeFlag.
enum class ColourRange : std::uint8_t { limited = 0, full = 1 };

/// H.273 ChromaSampleLocType: where the first chroma sample lies among the first luma samples.
enum class ChromaSiting : std::uint8_t { left = 0, centre = 1, top_left = 2, top = 3, bottom_left = 4, bottom = 5 };

/// As alpha_channel_use_idc of H.265. Premultiplied is multiplied after the transfer function, as blending in
/// OpenGL and Wayland has it.
enum class AlphaMode : std::uint8_t { straight = 0, premultiplied = 1 };

/// Whatever a peer sends is kept; check_colour() says what may be asked for.
constexpr bool is_valid(Primaries) { return true; }
constexpr bool is_valid(Transfer) { return true; }
constexpr bool is_valid(MatrixCoefficients) { return true; }
constexpr bool is_valid(ColourRange) { return true; }
constexpr bool is_valid(ChromaSiting) { return true; }
constexpr bool is_valid(AlphaMode) { return true; }

/// Its word, or the code point as a decimal number.
std::string to_string(Primaries);
std::string to_string(Transfer);
std::string to_string(MatrixCoefficients);
std::string to_string(ColourRange);
std::string to_string(ChromaSiting);
std::string to_string(AlphaMode);
/// Whether the code point has a word here, for each of them.
template <class E> bool has_word(E);
/// The reverse of to_string, for each of them.
template <class E> std::optional<E> parse_code_point(std::string_view);

/// A point of the CIE 1931 diagram, in units of 0.00002.
struct Chromaticity {
    std::uint16_t x = 0, y = 0;
    friend constexpr bool operator==(const Chromaticity&, const Chromaticity&) = default;
};
struct Gamut {
    Chromaticity red, green, blue, white;
    friend constexpr bool operator==(const Gamut&, const Gamut&) = default;
};
/// H.273 table 2. Nothing for unspecified and unknown ones.
std::optional<Gamut> gamut_of(Primaries);

/// The display on which the picture was graded (SMPTE ST 2086). All zero: not stated.
struct MasteringDisplay {
    Gamut gamut;
    std::uint32_t max_luminance = 0; ///< 0.0001 cd/m2
    std::uint32_t min_luminance = 0; ///< 0.0001 cd/m2
    friend constexpr bool operator==(const MasteringDisplay&, const MasteringDisplay&) = default;
};

/// The brightest pixel and the brightest average of a frame (CTA-861.3), cd/m2. 0: not stated.
struct ContentLight {
    std::uint16_t max_cll = 0;
    std::uint16_t max_fall = 0;
    friend constexpr bool operator==(const ContentLight&, const ContentLight&) = default;
};

/// Without initialisers it says nothing, which is right for every format.
struct Colour {
    Primaries primaries = Primaries::unspecified;
    Transfer transfer = Transfer::unspecified;
    MatrixCoefficients matrix = MatrixCoefficients::unspecified; ///< RGB: identity
    ColourRange range = ColourRange::full;                       ///< RGB: full
    ChromaSiting siting = ChromaSiting::left;                    ///< means something in subsampled formats only
    AlphaMode alpha = AlphaMode::straight;                       ///< means something in formats with alpha only
    MasteringDisplay mastering{};
    ContentLight light{};
    friend constexpr bool operator==(const Colour&, const Colour&) = default;
};

/// The matrix that goes with the primaries where nobody says which: BT.601, BT.709 or BT.2020.
MatrixCoefficients usual_matrix(Primaries);
/// rgb = matrix × (sample - offset): samples as a GPU reads them (0..1), in the order Y, Cb, Cr.
struct YuvToRgb {
    std::array<float, 9> matrix{}; ///< row-major
    std::array<float, 3> offset{};
};
/// The conversion for samples of `bits` significant bits (8, 10, 12, 16) that fill the top of each unit. The usual
/// matrix where it is unspecified. Nothing where no matrix makes R'G'B' of the samples: constant luminance and ICtCp
/// need the transfer function in between; and for unknown ones.
std::optional<YuvToRgb> yuv_to_rgb(const Colour&, unsigned bits);

} // namespace dmb
