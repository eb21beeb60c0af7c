// SPDX-License-Identifier: MIT
// Colour between dmabroker.h, proto's values and the words of the command line; pure functions. The header writes the
// code point 0 as 256, because its own 0 is "the default"; nothing else differs. Texts that do not fit their form, or
// whose numbers are out of range, are no colour at all.
#include "tools/dmabrokerctl/colour.hpp"

#include <regex>
#include <vector>

namespace dmb::ctl {
namespace {

template <class E> E code_point(std::uint16_t number) { return static_cast<E>(number % DMABROKER_CODE_POINT_0); }

dmabroker_chromaticity point_to_c(Chromaticity c) { return {c.x, c.y}; }
Chromaticity point_from_c(dmabroker_chromaticity c) { return {c.x, c.y}; }

/// The numbers of a text of this form, none above its limit.
std::optional<std::vector<std::uint32_t>> numbers(const std::string& text, const char* form,
                                                  std::initializer_list<std::uint32_t> limits)
{
    std::smatch match;
    if (!std::regex_match(text, match, std::regex(form))) return std::nullopt;
    std::vector<std::uint32_t> out;
    for (const std::uint32_t limit : limits) {
        const std::uint64_t number = std::stoull(match[out.size() + 1].str());
        if (number > limit) return std::nullopt;
        out.push_back(static_cast<std::uint32_t>(number));
    }
    return out;
}

} // namespace

dmabroker_colour to_c(const Colour& c)
{
    const Gamut& g = c.mastering.gamut;
    return {to_c(c.primaries),
            to_c(c.transfer),
            to_c(c.matrix),
            to_c(c.range),
            to_c(c.siting),
            to_c(c.alpha),
            {point_to_c(g.red), point_to_c(g.green), point_to_c(g.blue), point_to_c(g.white), c.mastering.max_luminance,
             c.mastering.min_luminance},
            {c.light.max_cll, c.light.max_fall}};
}

Colour from_c(const dmabroker_colour& c)
{
    const dmabroker_mastering_display& m = c.mastering;
    return {code_point<Primaries>(c.primaries),
            code_point<Transfer>(c.transfer),
            code_point<MatrixCoefficients>(c.matrix),
            code_point<ColourRange>(c.range),
            code_point<ChromaSiting>(c.siting),
            code_point<AlphaMode>(c.alpha),
            {{point_from_c(m.red), point_from_c(m.green), point_from_c(m.blue), point_from_c(m.white)},
             m.max_luminance,
             m.min_luminance},
            {c.light.max_cll, c.light.max_fall}};
}

dmabroker_colour combine(const dmabroker_colour& stated, const dmabroker_colour& otherwise)
{
    dmabroker_colour out = otherwise;
    for (auto member : {&dmabroker_colour::primaries, &dmabroker_colour::transfer, &dmabroker_colour::matrix,
                        &dmabroker_colour::range, &dmabroker_colour::siting, &dmabroker_colour::alpha})
        if (stated.*member != 0) out.*member = stated.*member;
    if (stated.mastering.max_luminance != 0) out.mastering = stated.mastering;
    if (stated.light.max_cll != 0) out.light = stated.light;
    return out;
}

std::optional<dmabroker_mastering_display> parse_mastering(const std::string& text)
{
    constexpr const char* form = R"(G\((\d{1,5}),(\d{1,5})\)B\((\d{1,5}),(\d{1,5})\)R\((\d{1,5}),(\d{1,5})\))"
                                 R"(WP\((\d{1,5}),(\d{1,5})\)L\((\d{1,10}),(\d{1,10})\))";
    constexpr std::uint32_t one = 50000; // 1.0 in units of 0.00002
    const auto n = numbers(text, form, {one, one, one, one, one, one, one, one, UINT32_MAX, UINT32_MAX});
    if (!n || n->at(8) <= n->at(9)) return std::nullopt;
    const auto point = [&](std::size_t i) {
        return dmabroker_chromaticity{static_cast<std::uint16_t>((*n)[i]), static_cast<std::uint16_t>((*n)[i + 1])};
    };
    return dmabroker_mastering_display{point(4), point(0), point(2), point(6), (*n)[8], (*n)[9]};
}

std::optional<dmabroker_content_light> parse_content_light(const std::string& text)
{
    const auto n = numbers(text, R"((\d{1,5}),(\d{1,5}))", {UINT16_MAX, UINT16_MAX});
    if (!n || n->at(0) == 0) return std::nullopt;
    return dmabroker_content_light{static_cast<std::uint16_t>((*n)[0]), static_cast<std::uint16_t>((*n)[1])};
}

} // namespace dmb::ctl
