// SPDX-License-Identifier: MIT
// Colours in PNG chunks; pure functions of the chunks that png_file.cpp reads and writes. Chunks are read and written
// here byte by byte: Debian 12's libpng does not know the newer ones, and judges the older ones by rules of its own. A
// chunk of the wrong length says nothing, which is noted, as is everything that an image cannot carry.
#include "tools/dmabrokerctl/png_colour.hpp"

#include <algorithm>
#include <cstdlib>
#include <fmt/core.h>

namespace dmb::ctl {
namespace {

constexpr std::uint32_t gamma_of_22 = 45455; ///< 1 / 2.2 in units of 0.00001; also the nearest to sRGB

struct Gamma {
    std::uint32_t number;
    Transfer transfer;
};
constexpr Gamma gammas[] = {
    {gamma_of_22, Transfer::gamma22}, {35714, Transfer::gamma28}, {100000, Transfer::linear}, {gamma_of_22, Transfer::srgb}};

std::uint32_t number(const std::vector<std::uint8_t>& data, std::size_t at, std::size_t bytes)
{
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | data[at + i];
    return value;
}

class Writer {
public:
    explicit Writer(const char* name) : chunk_{name, {}} {}
    Writer& put(std::uint32_t value, std::size_t bytes)
    {
        for (std::size_t i = bytes; i-- > 0;) chunk_.data.push_back(static_cast<std::uint8_t>(value >> 8 * i));
        return *this;
    }
    Writer& put(Chromaticity c, std::uint32_t factor, std::size_t bytes)
    {
        return put(c.x * factor, bytes).put(c.y * factor, bytes);
    }
    PngChunk take() { return std::move(chunk_); }

private:
    PngChunk chunk_;
};

/// The steps of cHRM are half as large as those of Gamut. Programs round before they write: 0.0002 is no difference.
bool is_near(Chromaticity a, const std::vector<std::uint8_t>& data, std::size_t at)
{
    const auto near = [](std::uint32_t ours, std::uint32_t theirs) {
        return std::llabs(2LL * ours - static_cast<long long>(theirs)) <= 20;
    };
    return near(a.x, number(data, at, 4)) && near(a.y, number(data, at + 4, 4));
}

std::optional<Primaries> primaries_of(const std::vector<std::uint8_t>& chrm)
{
    for (unsigned code = 1; code < 256; ++code) {
        const auto gamut = gamut_of(Primaries{static_cast<std::uint8_t>(code)});
        if (gamut && is_near(gamut->white, chrm, 0) && is_near(gamut->red, chrm, 8) && is_near(gamut->green, chrm, 16) &&
            is_near(gamut->blue, chrm, 24))
            return Primaries{static_cast<std::uint8_t>(code)};
    }
    return std::nullopt;
}

/// Latin-1 as ASCII.
std::string profile_name(const std::vector<std::uint8_t>& iccp)
{
    const auto end = std::find(iccp.begin(), iccp.end(), 0);
    std::string name(iccp.begin(), end);
    std::ranges::replace_if(name, [](char c) { return c < ' ' || c > '~'; }, '?');
    return name;
}

class Reader {
public:
    explicit Reader(std::span<const PngChunk> chunks) : chunks_(chunks) {}

    PngMeaning run()
    {
        out_.colour = {Primaries::bt709, Transfer::srgb, MatrixCoefficients::identity};
        if (!read_cicp() && !read_iccp() && !read_srgb()) read_gama_and_chrm();
        read_mastering();
        read_light();
        return std::move(out_);
    }

private:
    void note(std::string sentence) { out_.notes.push_back(std::move(sentence)); }

    const std::vector<std::uint8_t>* find(std::string_view name, std::size_t size = 0)
    {
        const auto found = std::ranges::find(chunks_, name, &PngChunk::name);
        if (found == chunks_.end()) return nullptr;
        if (size == 0 || found->data.size() == size) return &found->data;
        note(fmt::format("its chunk {} has {} bytes instead of {} and says nothing", name, found->data.size(), size));
        return nullptr;
    }

    bool read_cicp()
    {
        const auto* data = find("cICP", 4);
        if (!data) return false;
        const auto& d = *data;
        if (d[2] != 0 || d[3] > 1) {
            note(fmt::format("its chunk cICP has matrix {} and range {}, which PNG does not allow, and says nothing", d[2],
                             d[3]));
            return false;
        }
        out_.colour.primaries = Primaries{d[0]};
        out_.colour.transfer = Transfer{d[1]};
        out_.limited_range = d[3] == 0;
        return true;
    }

    bool read_iccp()
    {
        const auto* data = find("iCCP");
        if (!data) return false;
        out_.profile = profile_name(*data);
        out_.colour.primaries = Primaries::unspecified;
        out_.colour.transfer = Transfer::unspecified;
        note(fmt::format("its ICC profile \"{}\" is not carried; primaries and transfer are unspecified", out_.profile));
        return true;
    }

    bool read_srgb()
    {
        const auto* data = find("sRGB", 1);
        if (!data) return false;
        if (data->at(0) != 0) note(fmt::format("its rendering intent {} is not carried", data->at(0)));
        return true;
    }

    void read_gama_and_chrm()
    {
        if (const auto* data = find("gAMA", 4)) read_gamma(number(*data, 0, 4));
        const auto* data = find("cHRM", 32);
        if (!data) return;
        const auto primaries = primaries_of(*data);
        out_.colour.primaries = primaries.value_or(Primaries::unspecified);
        if (!primaries) note("its chunk cHRM has chromaticities that H.273 does not list; primaries are unspecified");
    }

    void read_gamma(std::uint32_t wanted)
    {
        const auto found = std::ranges::find_if(
            gammas, [&](const Gamma& g) { return std::llabs(static_cast<long long>(g.number) - wanted) <= 5; });
        const bool known = found != std::end(gammas);
        out_.colour.transfer = known ? found->transfer : Transfer::unspecified;
        if (!known) note(fmt::format("its gamma {} / 100000 is none that H.273 lists; transfer is unspecified", wanted));
    }

    /// Drafts of the specification called it mDCv.
    void read_mastering()
    {
        const auto* data = find("mDCV", 24);
        if (!data) data = find("mDCv", 24);
        if (!data) return;
        const auto point = [&](std::size_t at) {
            return Chromaticity{static_cast<std::uint16_t>(number(*data, at, 2)),
                                static_cast<std::uint16_t>(number(*data, at + 2, 2))};
        };
        out_.colour.mastering = {{point(0), point(4), point(8), point(12)}, number(*data, 16, 4), number(*data, 20, 4)};
    }

    void read_light()
    {
        const auto* data = find("cLLI", 8);
        if (!data) data = find("cLLi", 8);
        if (data) out_.colour.light = {light(number(*data, 0, 4)), light(number(*data, 4, 4))};
    }

    /// From 0.0001 cd/m2 to whole ones.
    std::uint16_t light(std::uint32_t value)
    {
        const std::uint32_t whole = std::min<std::uint32_t>(value / 10000 + (value % 10000 >= 5000), UINT16_MAX);
        if (value != whole * 10000ULL)
            note(fmt::format("its content light of {} / 10000 cd/m2 is rounded to {}", value, whole));
        return static_cast<std::uint16_t>(whole);
    }

    std::span<const PngChunk> chunks_;
    PngMeaning out_;
};

PngChunk mastering_chunk(const MasteringDisplay& m)
{
    Writer out("mDCV");
    for (const Chromaticity c : {m.gamut.red, m.gamut.green, m.gamut.blue, m.gamut.white}) out.put(c, 1, 2);
    return out.put(m.max_luminance, 4).put(m.min_luminance, 4).take();
}

PngChunk light_chunk(const ContentLight& light)
{
    return Writer("cLLI").put(light.max_cll * 10000u, 4).put(light.max_fall * 10000u, 4).take();
}

void add_fallback(std::vector<PngChunk>& out, const Colour& colour)
{
    const auto gamma = std::ranges::find(gammas, colour.transfer, &Gamma::transfer);
    const auto gamut = gamut_of(colour.primaries);
    if (gamma == std::end(gammas) || !gamut) return;
    out.push_back(Writer("gAMA").put(gamma->number, 4).take());
    Writer chrm("cHRM");
    for (const Chromaticity c : {gamut->white, gamut->red, gamut->green, gamut->blue}) chrm.put(c, 2, 4);
    out.push_back(chrm.take());
}

} // namespace

PngMeaning meaning_of(std::span<const PngChunk> chunks) { return Reader(chunks).run(); }

std::vector<PngChunk> chunks_of(const Colour& colour)
{
    std::vector<PngChunk> out;
    const bool mastered = colour.mastering != MasteringDisplay{}, lit = colour.light != ContentLight{};
    const bool srgb = colour.primaries == Primaries::bt709 && colour.transfer == Transfer::srgb;
    // mDCV and cLLI are said to mean something beside cICP only.
    if (mastered || lit || !srgb)
        out.push_back(Writer("cICP")
                          .put(static_cast<std::uint8_t>(colour.primaries), 1)
                          .put(static_cast<std::uint8_t>(colour.transfer), 1)
                          .put(0, 1)
                          .put(1, 1)
                          .take());
    if (srgb) out.push_back(Writer("sRGB").put(0, 1).take());
    if (mastered) out.push_back(mastering_chunk(colour.mastering));
    if (lit) out.push_back(light_chunk(colour.light));
    add_fallback(out, colour);
    return out;
}

} // namespace dmb::ctl
