// SPDX-License-Identifier: MIT
// The largest picture: 8192 x 8192 pixels of 16 bits, half a gigabyte, made and compared row by row.
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"
#include "tests/tools/run_tool.hpp"

#include <cstdio>
#include <memory>
#include <png.h>

namespace dmb::test {
namespace {

constexpr std::uint32_t size = 8192;
using File = std::unique_ptr<FILE, int (*)(FILE*)>;
using Row = std::vector<png_byte>;

/// Big-endian samples, as the file has them. Smooth, so that compressing them is quick, yet no two rows alike.
void make_row(std::uint32_t y, Row& row)
{
    for (std::uint32_t i = 0; i < size * 4; ++i) {
        const std::uint32_t sample = i / 4 * (7 + i % 4) + y * 31 + (y * y >> 5);
        row[2 * i] = static_cast<png_byte>(sample >> 8);
        row[2 * i + 1] = static_cast<png_byte>(sample);
    }
}

void write_file(const std::string& path)
{
    const File out(std::fopen(path.c_str(), "wb"), std::fclose);
    ASSERT_TRUE(out);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, out.get());
    png_set_compression_level(png, 1);
    png_set_filter(png, 0, PNG_FILTER_SUB);
    png_set_IHDR(png, info, size, size, 16, PNG_COLOR_TYPE_RGB_ALPHA, PNG_INTERLACE_NONE, 0, 0);
    png_write_info(png, info);
    Row row(size * 8);
    for (std::uint32_t y = 0; y < size; ++y) {
        make_row(y, row);
        png_write_row(png, row.data());
    }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
}

std::uint32_t count_wrong_rows(const std::string& path)
{
    const File in(std::fopen(path.c_str(), "rb"), std::fclose);
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, in.get());
    png_read_info(png, info);
    EXPECT_EQ(png_get_rowbytes(png, info), size * 8);
    Row row(size * 8), expected(size * 8);
    std::uint32_t wrong = 0;
    for (std::uint32_t y = 0; y < size; ++y) {
        png_read_row(png, row.data(), nullptr);
        make_row(y, expected);
        wrong += row != expected;
    }
    png_destroy_read_struct(&png, &info, nullptr);
    return wrong;
}

TEST(LargeImage, half_a_gigabyte_comes_back_the_same)
{
    BrokerProcess broker;
    const std::string in = broker.folder() + "/in.png", out = broker.folder() + "/out.png";
    write_file(in);
    const ToolResult put = run_tool({"--socket", broker.socket(), "put", in});
    ASSERT_EQ(put.status, 0) << put.err;
    const ToolResult get = run_tool({"--socket", broker.socket(), "get", put.last_word(), out});
    ASSERT_EQ(get.status, 0) << get.err;
    EXPECT_EQ(count_wrong_rows(out), 0u);
}

} // namespace
} // namespace dmb::test
