// SPDX-License-Identifier: MIT
// The equations of ITU-T H.273 for MatrixCoefficients, solved for R'G'B'; a pure function. First the signals (Y' 0 to
// 1, chroma -0.5 to 0.5) in double precision, then what a GPU reads: P010 as value / 65535 with its 10 bits on top, 8
// bits as value / 255. Where no matrix makes R'G'B' there is no result, never an approximation.
#include "proto/image/colour.hpp"

namespace dmb {
namespace {

using Matrix = std::array<double, 9>;

struct Weights {
    double red, blue;
};

/// H.273: KR and KB of MatrixCoefficients 12, from the chromaticities.
std::optional<Weights> weights_of(const Gamut& g)
{
    struct Point {
        double x, y, z;
    };
    const auto point = [](Chromaticity c) { return Point{c.x / 50000.0, c.y / 50000.0, 1 - (c.x + c.y) / 50000.0}; };
    const auto r = point(g.red), gr = point(g.green), b = point(g.blue), w = point(g.white);
    const auto cross = [](const Point& p, const Point& q) {
        return Point{p.y * q.z - q.y * p.z, q.x * p.z - p.x * q.z, p.x * q.y - q.x * p.y};
    };
    const auto dot = [](const Point& p, const Point& q) { return p.x * q.x + p.y * q.y + p.z * q.z; };
    const double volume = w.y * dot(r, cross(gr, b));
    if (volume == 0) return std::nullopt;
    return Weights{r.y * dot(w, cross(gr, b)) / volume, b.y * dot(w, cross(r, gr)) / volume};
}

Matrix luma_and_differences(Weights k)
{
    const double red = 2 * (1 - k.red), blue = 2 * (1 - k.blue), green = 1 - k.red - k.blue;
    return {1, 0, red, 1, -blue * k.blue / green, -red * k.red / green, 1, blue, 0};
}

/// The matrix for signals; nothing where none converts them.
std::optional<Matrix> matrix_of(MatrixCoefficients matrix, Primaries primaries)
{
    switch (matrix) {
    case MatrixCoefficients::identity: return Matrix{0, 0, 1, 1, 0, 0, 0, 1, 0};
    case MatrixCoefficients::bt709: return luma_and_differences({0.2126, 0.0722});
    case MatrixCoefficients::unspecified: return matrix_of(usual_matrix(primaries), primaries);
    case MatrixCoefficients::fcc: return luma_and_differences({0.30, 0.11});
    case MatrixCoefficients::bt470bg:
    case MatrixCoefficients::smpte170m: return luma_and_differences({0.299, 0.114});
    case MatrixCoefficients::smpte240m: return luma_and_differences({0.212, 0.087});
    case MatrixCoefficients::ycgco: return Matrix{1, -1, 1, 1, 1, 0, 1, -1, -1};
    case MatrixCoefficients::bt2020_ncl: return luma_and_differences({0.2627, 0.0593});
    case MatrixCoefficients::smpte2085: return Matrix{0.991902, 0, 2, 1, 0, 0, 1 / 0.986566, 2 / 0.986566, 0};
    case MatrixCoefficients::chroma_ncl:
        if (const auto gamut = gamut_of(primaries))
            if (const auto weights = weights_of(*gamut)) return luma_and_differences(*weights);
        return std::nullopt;
    case MatrixCoefficients::bt2020_cl:
    case MatrixCoefficients::chroma_cl:
    case MatrixCoefficients::ictcp: break;
    }
    return std::nullopt;
}

/// These are made of R'G'B' that is quantised already: all three signals have the scale of luma.
bool is_made_of_samples(MatrixCoefficients matrix)
{
    return matrix == MatrixCoefficients::identity || matrix == MatrixCoefficients::ycgco;
}

} // namespace

std::optional<YuvToRgb> yuv_to_rgb(const Colour& colour, unsigned bits)
{
    const auto matrix = matrix_of(colour.matrix, colour.primaries);
    if (!matrix) return std::nullopt;
    const double top = bits > 8 ? 65535 : 255, unit = (bits > 8 ? 256 : 1) / top; // one 8-bit step
    const double maximum = bits > 8 ? (((1u << bits) - 1u) << (16u - bits)) / top : 1;
    const bool limited = colour.range == ColourRange::limited;
    const double luma = 1 / (limited ? 219 * unit : maximum), black = limited ? 16 * unit : 0;
    const double chroma = limited && !is_made_of_samples(colour.matrix) ? 1 / (224 * unit) : luma;
    const double middle = colour.matrix == MatrixCoefficients::identity ? black : 128 * unit;
    YuvToRgb out;
    for (std::size_t i = 0; i < 9; ++i) out.matrix[i] = static_cast<float>((*matrix)[i] * (i % 3 == 0 ? luma : chroma));
    out.offset = {static_cast<float>(black), static_cast<float>(middle), static_cast<float>(middle)};
    return out;
}

} // namespace dmb
