// SPDX-License-Identifier: MIT
// A test's libpng calls may end the test by exception: nothing here is on a path that users take.
#include "tests/tools/png_fixture.hpp"

#include <cstdio>
#include <memory>
#include <png.h>
#include <random>
#include <stdexcept>

namespace dmb::test {
namespace {

using File = std::unique_ptr<FILE, int (*)(FILE*)>;

unsigned channels(int colour)
{
    switch (colour) {
    case PNG_COLOR_TYPE_GRAY_ALPHA: return 2;
    case PNG_COLOR_TYPE_RGB: return 3;
    case PNG_COLOR_TYPE_RGB_ALPHA: return 4;
    default: return 1;
    }
}

png_color palette_entry(unsigned i)
{
    return {static_cast<png_byte>(i * 7), static_cast<png_byte>(255 - i), static_cast<png_byte>(i * 31)};
}

std::size_t row_size(const PngFile& file)
{
    return (std::size_t{file.width} * channels(file.colour) * static_cast<unsigned>(file.bits) + 7) / 8;
}

std::vector<png_byte> pack_row(const PngFile& file, std::uint32_t y)
{
    const std::size_t count = std::size_t{file.width} * channels(file.colour);
    std::vector<png_byte> row(row_size(file));
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint16_t sample = file.samples[y * count + i];
        const std::size_t bit = i * static_cast<unsigned>(file.bits);
        if (file.bits == 16) {
            row[2 * i] = static_cast<png_byte>(sample >> 8);
            row[2 * i + 1] = static_cast<png_byte>(sample);
        } else row[bit / 8] = static_cast<png_byte>(row[bit / 8] | sample << (8 - static_cast<unsigned>(file.bits) - bit % 8));
    }
    return row;
}

void unpack_row(PngFile& file, const std::vector<png_byte>& row)
{
    const std::size_t count = std::size_t{file.width} * channels(file.colour);
    for (std::size_t i = 0; i < count; ++i)
        file.samples.push_back(file.bits == 16 ? static_cast<std::uint16_t>(row[2 * i] << 8 | row[2 * i + 1]) : row[i]);
}

/// PNG specification, annex D.
std::uint32_t checksum(const std::string& bytes)
{
    std::uint32_t crc = 0xffffffff;
    for (const char byte : bytes) {
        crc ^= static_cast<unsigned char>(byte);
        for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? 0xedb88320 ^ crc >> 1 : crc >> 1;
    }
    return ~crc;
}

std::string big_endian(std::uint32_t value)
{
    std::string out;
    for (unsigned shift = 32; shift > 0; shift -= 8) out.push_back(static_cast<char>(value >> (shift - 8)));
    return out;
}

constexpr std::size_t end_of_header = 8 + 12 + 13; // signature, IHDR

} // namespace

std::string with_chunks(const std::string& png, const std::vector<RawChunk>& chunks)
{
    std::string out = png.substr(0, end_of_header);
    for (const RawChunk& chunk : chunks)
        out += big_endian(static_cast<std::uint32_t>(chunk.data.size())) + chunk.name + chunk.data +
               big_endian(checksum(chunk.name + chunk.data));
    return out + png.substr(end_of_header);
}

std::vector<RawChunk> chunks_in(const std::string& png)
{
    std::vector<RawChunk> out;
    for (std::size_t at = 8; at < png.size();) {
        std::uint32_t size = 0;
        for (std::size_t i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(png.at(at + i));
        out.push_back({png.substr(at + 4, 4), png.substr(at + 8, size)});
        if (png.substr(at + 8 + size, 4) != big_endian(checksum(out.back().name + out.back().data)))
            throw std::runtime_error("wrong checksum in " + out.back().name);
        at += 12 + size;
    }
    return out;
}

std::vector<std::uint16_t> PngFile::rgba() const
{
    const unsigned n = channels(colour);
    const auto top = static_cast<std::uint16_t>(bits == 16 ? 65535 : 255);
    const unsigned widen = bits < 8 && colour == PNG_COLOR_TYPE_GRAY ? 255u / ((1u << bits) - 1) : 1;
    std::vector<std::uint16_t> out;
    for (std::size_t i = 0; i < samples.size(); i += n) {
        const std::uint16_t* s = &samples[i];
        if (colour == PNG_COLOR_TYPE_PALETTE) {
            const png_color c = palette_entry(*s);
            out.insert(out.end(), {c.red, c.green, c.blue, static_cast<std::uint16_t>(transparent && *s == 1 ? 77 : 255)});
            continue;
        }
        const bool grey = n < 3;
        for (unsigned k = 0; k < 3; ++k) out.push_back(static_cast<std::uint16_t>(s[grey ? 0 : k] * widen));
        const bool clear = transparent && s[0] == 1 && (grey || (s[1] == 1 && s[2] == 1));
        out.push_back(n % 2 == 0 ? s[n - 1] : clear ? std::uint16_t{0} : top);
    }
    return out;
}

PngFile random_png(std::uint32_t width, std::uint32_t height, int colour, int bits, std::uint32_t seed)
{
    PngFile file{width, height, bits, colour};
    std::mt19937 random(seed);
    file.samples.resize(std::size_t{width} * height * channels(colour));
    for (auto& sample : file.samples) sample = static_cast<std::uint16_t>(random() & ((1u << bits) - 1));
    return file;
}

void write_png(const std::string& path, const PngFile& file, void (*more)(png_structp, png_infop))
{
    const File out(std::fopen(path.c_str(), "wb"), std::fclose);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    if (!out || setjmp(png_jmpbuf(png))) throw std::runtime_error("cannot write " + path);
    png_init_io(png, out.get());
    png_set_compression_level(png, 1);
    png_set_IHDR(png, info, file.width, file.height, file.bits, file.colour,
                 file.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
    png_color palette[256];
    for (unsigned i = 0; i < 256; ++i) palette[i] = palette_entry(i);
    if (file.colour == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 1 << file.bits);
    const png_byte alpha[] = {255, 77};
    const png_color_16 key{0, 1, 1, 1, 1};
    if (file.transparent) png_set_tRNS(png, info, alpha, 2, &key);
    if (more) more(png, info);
    png_write_info(png, info);
    for (int pass = png_set_interlace_handling(png); pass > 0; --pass)
        for (std::uint32_t y = 0; y < file.height; ++y) png_write_row(png, pack_row(file, y).data());
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
}

PngFile read_png(const std::string& path)
{
    const File in(std::fopen(path.c_str(), "rb"), std::fclose);
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    if (!in || setjmp(png_jmpbuf(png))) throw std::runtime_error("cannot read " + path);
    png_init_io(png, in.get());
    png_read_info(png, info);
    PngFile file{png_get_image_width(png, info), png_get_image_height(png, info), png_get_bit_depth(png, info),
                 png_get_color_type(png, info)};
    std::vector<png_byte> row(row_size(file));
    for (std::uint32_t y = 0; y < file.height; ++y) {
        png_read_row(png, row.data(), nullptr);
        unpack_row(file, row);
    }
    png_read_end(png, info);
    png_destroy_read_struct(&png, &info, nullptr);
    return file;
}

} // namespace dmb::test
