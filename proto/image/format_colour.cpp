// SPDX-License-Identifier: MIT
// Colours and formats together: what a format has by default, what becomes of colours in another format, what a request
// may not ask for. RGB is full range and has no matrix, YUV has one, a buffer has no colour. Code points without a word
// are refused only where they change what a reader does (range, siting, alpha). Pure functions, used by the library and
// again by the broker.
#include "proto/image/format_colour.hpp"

#include "proto/image/format_table.hpp"

#include <algorithm>

namespace dmb {
namespace {

bool is_subsampled(const FormatInfo& format)
{
    return format.planes[0].block_width > 1 ||
           std::ranges::any_of(format.planes, [](const PlaneFormat& p) { return p.horizontal > 1 || p.vertical > 1; });
}

Result<> check_model(const Colour& colour, const FormatInfo& format)
{
    const bool unspecified = colour.matrix == MatrixCoefficients::unspecified;
    const bool identity = colour.matrix == MatrixCoefficients::identity;
    if (format.model == ColourModel::rgb && colour.range != ColourRange::full)
        return fail(Errc::invalid_argument,
                    "{} is RGB, which is full range everywhere; convert limited range when you write it", format.name);
    if (format.model == ColourModel::rgb && !identity && !unspecified)
        return fail(Errc::invalid_argument, "{} is RGB and has the matrix identity, not {}", format.name,
                    to_string(colour.matrix));
    if (format.model == ColourModel::yuv && identity && is_subsampled(format))
        return fail(Errc::invalid_argument, "{} has fewer chroma samples; the matrix identity needs all", format.name);
    return {};
}

} // namespace

Colour default_colour(FourCC code)
{
    const FormatInfo* format = find_format(code);
    if (!format || format->fourcc == buffer_format) return {};
    if (format->model == ColourModel::rgb) return {Primaries::bt709, Transfer::srgb, MatrixCoefficients::identity};
    return {Primaries::bt709, Transfer::bt709, MatrixCoefficients::bt709, ColourRange::limited};
}

Colour adapted(Colour colour, FourCC from, FourCC to)
{
    const FormatInfo *before = find_format(from), *after = find_format(to);
    if (!before || !after || (before->model == after->model && check_model(colour, *after))) return colour;
    colour.matrix = after->model == ColourModel::rgb ? MatrixCoefficients::identity : usual_matrix(colour.primaries);
    colour.range = after->model == ColourModel::rgb ? ColourRange::full : ColourRange::limited;
    return colour;
}

Result<> check_colour(const Colour& colour, FourCC code)
{
    if (!has_word(colour.range) || !has_word(colour.siting) || !has_word(colour.alpha))
        return fail(Errc::unsupported, "range {}, siting {}, alpha {}: one of them is not known here", to_string(colour.range),
                    to_string(colour.siting), to_string(colour.alpha));
    if (code == buffer_format && colour != Colour{}) return fail(Errc::invalid_argument, "a buffer has no colour");
    const FormatInfo* format = find_format(code);
    return format ? check_model(colour, *format) : Result<>();
}

} // namespace dmb
